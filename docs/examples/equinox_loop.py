"""Digits in Equinox: GAL, AGR and AdamW inside LGA."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import (
    GradientAdjuster,
    agr,
    gal,
    value_and_adjusted_grad,
    with_lga,
)

BATCH, EPOCHS = 128, 10

adjuster = GradientAdjuster(hidden_sizes=(16,))
losses_of = optax.softmax_cross_entropy_with_integer_labels


def make_step(tx):
    @eqx.filter_jit
    def train_step(model, state, x, y):
        # What is trained, and the rest: an activation is a function.
        params, rest = eqx.partition(model, eqx.is_inexact_array)

        def objective(params, theta):
            logits = jax.vmap(eqx.combine(params, rest))(x)
            return adjuster.loss(theta, logits, losses_of, targets=y)

        grad_fn = value_and_adjusted_grad(objective)
        (loss, metrics), grads, extra_args = grad_fn(params, state)
        updates, state = tx.update(
            grads, state, params, value=loss, **extra_args
        )
        return eqx.apply_updates(model, updates), state, loss, metrics

    return train_step


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_test, y, y_test = map(
        jnp.asarray, train_test_split(images, labels, random_state=0)
    )
    epoch = len(x) // BATCH
    inner = optax.chain(gal(adjuster, 10), agr(), optax.adamw(3e-3))
    tx = with_lga(inner, 1e-8, status_every=epoch)
    model = eqx.nn.MLP(64, 10, 128, 1, key=jax.random.key(0))
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    train_step = make_step(tx)
    for number in range(EPOCHS):
        order = jax.random.permutation(jax.random.key(number), len(x))
        for batch in order[: epoch * BATCH].reshape(epoch, BATCH):
            model, state, loss, metrics = train_step(
                model, state, x[batch], y[batch]
            )
    print(f"loss of the last batch {loss:.3f}")
    print(f"accepted adjustments {metrics['acceptance']:.3f}")
    accuracy = jnp.mean(jax.vmap(model)(x_test).argmax(axis=-1) == y_test)
    print(f"accuracy on held-out digits {accuracy:.3f}")


if __name__ == "__main__":
    main()
