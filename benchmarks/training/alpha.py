"""The distribution of AGR's coefficients in a network's layers."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.contenders.agr import usual_optimizer
from benchmarks.data import Examples
from benchmarks.study import Curve, Job, Metric, Outcome
from benchmarks.training import loop
import optaxmods

QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "largest": 1.0}
SIZE = "entries"

METRICS = (
    Metric("largest", "largest alpha of all layers", False, 1.0, 4),
    Metric(
        "removed", "norm that AGR removes from the gradient, %", False, 100.0, 3
    ),
)
CURVES = (
    Curve("train_loss", "training loss on the batches looked at", log=True),
    Curve("largest", "largest alpha of all layers", log=True),
    Curve("removed", "share of the gradient's norm removed", log=True),
)


def run(model: nn.Module, job: Job) -> Sequence[Outcome]:
    """Trains, and looks at alpha on the same batches after each epoch."""
    curves = loop.looks(
        job,
        model,
        usual_optimizer(job),
        lambda runs, start, batches: _look(model, runs, batches),
    )
    return [_outcome(curves, row) for row in range(len(job.seeds))]


def _outcome(curves: Mapping[str, np.ndarray], row: int) -> Outcome:
    mine = {name: curve[row].tolist() for name, curve in curves.items()}
    final = {name: mine[name][-1] for name in ("train_loss", *_OVERALL)}
    return Outcome(curves=mine, final=final)


_OVERALL = ("largest", "removed")


@functools.partial(jax.jit, static_argnames="model")
def _look(
    model: nn.Module, runs: loop.Run, batches: Examples
) -> dict[str, jax.Array]:
    """Means over batches: the loss, and each layer's quantiles of alpha."""

    def look_at(run: loop.Run, batch: Examples) -> dict[str, jax.Array]:
        def loss_fn(params: Any) -> jax.Array:
            logits: Any = model.apply(
                {"params": params, **run.statistics}, batch.images, train=False
            )
            return optax.softmax_cross_entropy_with_integer_labels(
                logits, batch.labels
            ).mean()

        loss, gradient = jax.value_and_grad(loss_fn)(run.params)
        return {"train_loss": loss, **distribution(gradient)}

    def mean(run: loop.Run) -> dict[str, jax.Array]:
        looks = jax.lax.map(lambda batch: look_at(run, batch), batches)
        return jax.tree.map(lambda x: x.mean(axis=0), looks)

    return jax.vmap(mean)(runs)


def distribution(gradient: Any) -> dict[str, jax.Array]:
    """Returns the quantiles of alpha in each layer, and what AGR removes."""
    coefficients = optaxmods.agr_coefficients(gradient)
    measured, removed = {}, jnp.zeros([])
    for (path, alpha), leaf in zip(
        jax.tree_util.tree_leaves_with_path(coefficients),
        jax.tree.leaves(gradient),
        strict=True,
    ):
        if alpha.ndim < 2:
            continue
        layer = jax.tree_util.keystr(path, simple=True, separator="/")
        levels = jnp.quantile(alpha, jnp.array(list(QUANTILES.values())))
        for name, level in zip(QUANTILES, levels, strict=True):
            measured[f"{layer}: {name}"] = level
        measured[f"{layer}: {SIZE}"] = jnp.asarray(alpha.size, jnp.float32)
        removed += jnp.sum((alpha * leaf) ** 2)
    largest = [v for k, v in measured.items() if k.endswith(": largest")]
    return {
        **measured,
        "largest": jnp.max(jnp.stack(largest)),
        "removed": jnp.sqrt(removed) / optax.tree.norm(gradient),
    }
