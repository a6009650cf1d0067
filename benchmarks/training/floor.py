"""What LGA's push does to gradients that are zero but for rounding."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.contenders import lga
from benchmarks.data import Examples
from benchmarks.models import described
from benchmarks.models.still import (
    WITHOUT_GRADIENT,
    Normalized,
    RowAttention,
    Sigmoids,
)
from benchmarks.study import Curve, Job, Metric, Outcome
from benchmarks.training import loop

MODELS: Mapping[str, nn.Module] = {
    "normalized": Normalized(),
    "normalized in bfloat16": Normalized(dtype="bfloat16"),
    "row attention": RowAttention(),
    "sigmoids": Sigmoids(),
}
DESCRIBED = {name: described(model) for name, model in MODELS.items()}
FLOORS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


METRICS = (
    Metric("train_loss", "training loss", False, 1.0, 4),
    # Parameters on which the loss does not depend.
    Metric("drift", "farthest drift, 1e-6", False, 1e6, 3),
    Metric(
        "rounding", "their largest gradient, 1e-9", False, 1e9, 1, tested=False
    ),
    *[
        Metric(
            f"below {floor:.0e}",
            f"other gradients below {floor:.0e}, %",
            False,
            100.0,
            3,
            tested=False,
        )
        for floor in FLOORS
    ],
)
CURVES = (
    Curve("train_loss", "training loss", log=True),
    Curve("drift", "farthest drift"),
)


def run(job: Job) -> Sequence[Outcome]:
    """Trains, and looks at gradients and drift after each epoch.

    A seed's ``rounding`` is the largest of all looks, what is below a floor the
    mean of all, without entries that are exactly 0.
    """
    settings = job.settings
    model = MODELS[settings["model"]]
    steps = len(job.data.labels) // settings["batch_size"]
    curves = loop.looks(
        job,
        model,
        lga.maker("sgd", settings["gamma"], steps, **job.arguments),
        lambda runs, start, batches: _look(model, runs, start.params, batches),
        vmapped=True,
    )
    return [_outcome(curves, row) for row in range(len(job.seeds))]


def _outcome(curves: Mapping[str, np.ndarray], row: int) -> Outcome:
    mine = {name: np.asarray(c[row], float) for name, c in curves.items()}
    final = {
        "train_loss": mine["train_loss"][-1],
        "drift": mine["drift"][-1],
        "rounding": mine["rounding"].max(),
    } | {
        name: curve.mean()
        for name, curve in mine.items()
        if name.startswith("below")
    }
    return Outcome(
        curves={curve.key: mine[curve.key].tolist() for curve in CURVES},
        final={name: float(number) for name, number in final.items()},
    )


@functools.partial(jax.jit, static_argnames="model")
def _look(
    model: nn.Module, runs: loop.Run, starts: Any, batches: Examples
) -> dict[str, jax.Array]:
    """Each seed's loss, drift, and sizes of gradients, over the batches."""

    def of_batch(run: loop.Run, batch: Examples) -> dict[str, jax.Array]:
        def loss_fn(params: Any) -> jax.Array:
            # As in training, where a normalization depends on the batch.
            logits, _ = model.apply(
                {"params": params, **run.statistics},
                batch.images,
                train=True,
                mutable=list(run.statistics),
            )
            return optax.softmax_cross_entropy_with_integer_labels(
                logits, batch.labels
            ).mean()

        loss, gradient = jax.value_and_grad(loss_fn)(run.params)
        rounding, others = _parts(gradient)
        sizes = jnp.abs(jnp.concatenate(others))
        shares = {
            f"below {floor:.0e}": jnp.mean((sizes > 0) & (sizes < floor))
            for floor in FLOORS
        }
        return {"train_loss": loss, "rounding": _largest(rounding), **shares}

    def of_seed(run: loop.Run, start: Any) -> dict[str, jax.Array]:
        looks = jax.lax.map(lambda batch: of_batch(run, batch), batches)
        largest = looks.pop("rounding").max()
        means = jax.tree.map(lambda x: x.mean(axis=0), looks)
        moved, _ = _parts(jax.tree.map(jnp.subtract, run.params, start))
        return {**means, "rounding": largest, "drift": _largest(moved)}

    return jax.vmap(of_seed)(runs, starts)


def _parts(tree: Any) -> tuple[list[jax.Array], list[jax.Array]]:
    """Flat leaves: those on which the loss does not depend, and the others."""
    still, others = [], []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        part = still if name.endswith(WITHOUT_GRADIENT) else others
        part.append(leaf.ravel())
    return still, others


def _largest(leaves: Sequence[jax.Array]) -> jax.Array:
    """Returns the largest size of an entry, 0 where there is none."""
    sizes = [jnp.abs(leaf).max() for leaf in leaves]
    return jnp.max(jnp.stack(sizes)) if sizes else jnp.zeros([])
