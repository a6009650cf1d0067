"""Digits in Flax NNX, logged to TensorBoard and to a CSV file."""

import csv
import pathlib
from typing import Any

from flax import nnx, traverse_util
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorboardX import SummaryWriter

from optaxmods import agr, agr_coefficients, lga

BATCH, EPOCHS, FOLDER = 128, 6, pathlib.Path("log")


class Network(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(64, 64, rngs=rngs)
        self.norm = nnx.LayerNorm(64, rngs=rngs)
        self.output = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.output(self.norm(nnx.relu(self.hidden(x))))


def by_name(state):
    """Arrays by names such as "hidden/kernel", out of NNX's boxes."""
    flat: Any = traverse_util.flatten_dict(nnx.to_pure_dict(state))
    return {"/".join(map(str, path)): leaf for path, leaf in flat.items()}


def coefficients(state, names):
    alpha = by_name(agr_coefficients(state))
    return {f"alpha/{name}": alpha[name].max() for name in names}


@nnx.jit(static_argnames="names")
def train_step(model, optimizer, x, y, names):
    def loss_fn(model):
        losses = optax.softmax_cross_entropy_with_integer_labels(model(x), y)
        return losses.mean()

    loss, grads = nnx.value_and_grad(loss_fn)(model)
    optimizer.update(model, grads, value=loss)
    status = {
        f"lga/{name}": optax.tree.get(optimizer.opt_state, f"lga_{name}")[...]
        for name in ("gamma", "omega", "lower_bound")
    }
    return {"loss": loss, **status, **coefficients(grads, names)}


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(images, labels, random_state=0)
    epoch = len(x) // BATCH
    model = Network(nnx.Rngs(0))
    tx = optax.chain(lga(1e-6, status_every=epoch), agr(), optax.adamw(3e-3))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    # Coefficients of ones are 0 where AGR leaves a leaf alone, and only there.
    params = nnx.state(model, nnx.Param)
    alike = by_name(agr_coefficients(jax.tree.map(jnp.ones_like, params)))
    names = tuple(name for name, alpha in alike.items() if alpha.any())
    FOLDER.mkdir(exist_ok=True)
    with (
        SummaryWriter(str(FOLDER)) as board,
        (FOLDER / "training.csv").open("w", newline="") as file,
    ):
        table = csv.writer(file)
        for step in range(EPOCHS * epoch):
            key = jax.random.key(step)
            batch = jax.random.choice(key, len(x), (BATCH,), replace=False)
            seen = train_step(model, optimizer, x[batch], y[batch], names)
            if step == 0:
                table.writerow(["step", *seen])
            table.writerow([step, *map(float, seen.values())])
            for name, value in seen.items():
                board.add_scalar(name, float(value), step)
    print("logged:", ", ".join(seen))
    print("left alone:", ", ".join(sorted(set(alike) - set(names))))
    accuracy = jnp.mean(model(x_test).argmax(axis=-1) == y_test)
    print(f"accuracy on held-out digits {accuracy:.3f}")


if __name__ == "__main__":
    main()
