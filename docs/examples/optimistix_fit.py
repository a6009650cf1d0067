"""Logistic regression on digits with Optimistix: AGR, and LGA's loss."""

import jax.numpy as jnp
import optax
import optimistix as optx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import agr, with_lga

# AGR sees matrices, so the parameters are a tree and no flat vector.
START = {"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}


def logits_of(params, x):
    return x @ params["w"] + params["b"]


def loss_fn(params, batch):
    x, y = batch
    logits = logits_of(params, x)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return losses.mean() + 1e-3 * optax.tree.norm(params, squared=True)


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_test, y, y_test = map(
        jnp.asarray, train_test_split(images, labels, random_state=0)
    )
    adam = optax.adam(3e-2)
    solvers = {
        "Adam": adam,
        "AGR and Adam": optax.chain(agr(), adam),
        # OptaxMinimiser passes the loss on as value.
        "LGA around Adam": with_lga(adam, 1e-5, status_every=10),
    }
    for name, tx in solvers.items():
        found = optx.minimise(
            loss_fn,
            optx.OptaxMinimiser(tx, rtol=1e-3, atol=1e-3),
            START,
            args=(x, y),
            max_steps=2_000,
            throw=False,
        )
        loss = loss_fn(found.value, (x, y))
        steps = found.stats["num_steps"]
        reached = found.result == optx.RESULTS.successful
        print(f"{name}: loss {loss:.4f}, {steps} steps, converged {reached}")
    accuracy = jnp.mean(logits_of(found.value, x_test).argmax(-1) == y_test)
    print(f"accuracy on held-out digits {accuracy:.3f}")


if __name__ == "__main__":
    main()
