"""Digits in one compiled program: jax.lax.scan over steps and epochs."""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import adamw_agr, with_lga

BATCH, EPOCHS = 128, 10


def logits_of(params, x):
    return jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"]


def loss_fn(params, x, y):
    logits = logits_of(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_test, y, y_test = map(
        jnp.asarray, train_test_split(images, labels, random_state=0)
    )
    epoch = len(x) // BATCH
    tx = with_lga(adamw_agr(3e-3), 1e-6, status_every=epoch)

    def step(carry, batch):
        params, state = carry
        loss, grads = jax.value_and_grad(loss_fn)(params, x[batch], y[batch])
        updates, state = tx.update(grads, state, params, value=loss)
        return (optax.apply_updates(params, updates), state), loss

    def run_epoch(carry, key):
        order = jax.random.permutation(key, len(x))[: epoch * BATCH]
        carry, losses = jax.lax.scan(step, carry, order.reshape(epoch, BATCH))
        params, state = carry
        shown = {
            "loss": losses.mean(),
            "omega": optax.tree.get(state, "lga_omega"),
            "accuracy": jnp.mean(
                logits_of(params, x_test).argmax(-1) == y_test
            ),
        }
        return carry, shown

    @jax.jit
    def train(params, key):
        carry = params, tx.init(params)
        return jax.lax.scan(run_epoch, carry, jax.random.split(key, EPOCHS))

    one, two, key = jax.random.split(jax.random.key(0), 3)
    he = jax.nn.initializers.he_normal()
    params = {
        "w1": he(one, (64, 128)),
        "b1": jnp.zeros(128),
        "w2": he(two, (128, 10)),
    }
    _, history = train(params, key)
    for number in range(EPOCHS):
        print(
            f"epoch {number}:",
            *(f"{name} {seen[number]:.3f}" for name, seen in history.items()),
        )
    print(f"accuracy on held-out digits {history['accuracy'][-1]:.3f}")


if __name__ == "__main__":
    main()
