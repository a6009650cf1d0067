"""A sweep in one program: learning rates, AGR's strength and seeds by vmap."""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import agr

BATCH, EPOCHS, SEEDS = 128, 5, 4
RATES = jnp.array([3e-4, 3e-3, 3e-2])
STRENGTHS = jnp.array([0.0, 1.0])  # Without AGR, and with it.


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

    def train(rate, strength, seed):
        # The optimizer is made inside, of numbers that vmap traces.
        tx = optax.chain(agr(strength=strength), optax.adamw(rate))
        one, two, key = jax.random.split(jax.random.key(seed), 3)
        he = jax.nn.initializers.he_normal()
        params = {
            "w1": he(one, (64, 64)),
            "b1": jnp.zeros(64),
            "w2": he(two, (64, 10)),
        }

        def step(carry, batch):
            params, state = carry
            grads = jax.grad(loss_fn)(params, x[batch], y[batch])
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        def run_epoch(carry, key):
            order = jax.random.permutation(key, len(x))[: epoch * BATCH]
            return jax.lax.scan(step, carry, order.reshape(epoch, BATCH))

        (params, _), _ = jax.lax.scan(
            run_epoch, (params, tx.init(params)), jax.random.split(key, EPOCHS)
        )
        return jnp.mean(logits_of(params, x_test).argmax(-1) == y_test)

    over_seeds = jax.vmap(train, in_axes=(None, None, 0))
    over_strengths = jax.vmap(over_seeds, in_axes=(None, 0, None))
    over_all = jax.jit(jax.vmap(over_strengths, in_axes=(0, None, None)))
    accuracy = over_all(RATES, STRENGTHS, jnp.arange(SEEDS))
    for rate, of_rate in zip(RATES, accuracy, strict=True):
        for strength, of_seeds in zip(STRENGTHS, of_rate, strict=True):
            print(
                f"rate {rate:.4f}, strength {strength:.0f}: accuracy"
                f" {of_seeds.mean():.3f}, standard deviation"
                f" {of_seeds.std(ddof=1):.3f}"
            )
    differences = accuracy[:, 1] - accuracy[:, 0]  # Paired by seed.
    print("with AGR minus without, by rate", differences.mean(axis=-1).round(3))


if __name__ == "__main__":
    main()
