"""Digits in Haiku: AGR on the weights, named so, and LGA's loss."""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import agr, agr_coefficients, lga

BATCH, EPOCHS = 128, 8


def network(x, is_training):
    x = hk.Linear(128)(x)
    x = hk.BatchNorm(True, True, 0.9)(x, is_training)
    return hk.Linear(10)(jax.nn.relu(x))


def weights_only(tree):
    """Axes of AGR: a batch norm's scale is [1, n], and would be a matrix."""
    return hk.data_structures.map(
        lambda module, name, leaf: tuple(range(leaf.ndim)) * (name == "w"), tree
    )


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(images, labels, random_state=0)
    epoch = len(x) // BATCH
    model = hk.without_apply_rng(hk.transform_with_state(network))
    params, stats = model.init(jax.random.key(0), x[:BATCH], True)
    tx = optax.chain(
        lga(1e-6, status_every=epoch),
        agr(reduction_axes=weights_only),
        optax.adamw(3e-3),
    )
    state = tx.init(params)

    @jax.jit
    def train_step(params, stats, state, x, y):
        def objective(params):
            logits, changed = model.apply(params, stats, x, True)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            return losses.mean(), changed

        grad_fn = jax.value_and_grad(objective, has_aux=True)
        (loss, stats), grads = grad_fn(params)
        updates, state = tx.update(grads, state, params, value=loss)
        return optax.apply_updates(params, updates), stats, state, loss

    for number in range(EPOCHS):
        order = jax.random.permutation(jax.random.key(number), len(x))
        for batch in order[: epoch * BATCH].reshape(epoch, BATCH):
            params, stats, state, loss = train_step(
                params, stats, state, x[batch], y[batch]
            )
    for axes in None, weights_only:
        seen: Any = agr_coefficients(params, reduction_axes=axes)
        names = [
            f"{module}/{name}"
            for module, name, alpha in hk.data_structures.traverse(seen)
            if alpha.any()
        ]
        print("AGR sees", ", ".join(names))
    logits, _ = model.apply(params, stats, x_test, False)
    print(f"loss of the last batch {loss:.3f}")
    accuracy = jnp.mean(logits.argmax(axis=-1) == y_test)
    print(f"accuracy on held-out digits {accuracy:.3f}")


if __name__ == "__main__":
    main()
