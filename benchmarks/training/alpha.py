"""The distribution of AGR's coefficients in a network's layers."""

from collections.abc import Mapping, Sequence
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from benchmarks import agr_methods, plots, train
from benchmarks.classification import usual_optimizer
from benchmarks.data import Examples
from benchmarks.study import Curve, Job, Method, Metric, Outcome
import optaxmods

QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "largest": 1.0}
REMOVED = "removed"
SIZE = "entries"

METHODS = {
    "adamw": Method("AdamW; alpha is only looked at"),
    "agr+adamw": Method(
        "chain(agr(), adamw): alpha is at work, too", arguments=agr_methods.AGR
    ),
}
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
    settings = job.settings
    points = []
    runs = train.epochs_of(
        model,
        usual_optimizer(job),
        job.data,
        learning_rate=settings["learning_rate"],
        seeds=job.seeds,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
    )
    size = settings["batch_size"]
    looks = min(settings["looks"], len(job.data.labels) // size)
    looked_at = jax.tree.map(
        lambda x: x[: looks * size].reshape(looks, size, *x.shape[1:]),
        job.data,
    )
    for epoch, run in enumerate(runs):
        points.append(jax.device_get(_look(model, run, looked_at)))
        if epoch:
            job.on_progress()
    curves = jax.tree.map(lambda *x: np.stack(x, axis=-1), *points)
    return [_outcome(curves, row) for row in range(len(job.seeds))]


def _outcome(curves: Mapping[str, np.ndarray], row: int) -> Outcome:
    mine = {name: curve[row].tolist() for name, curve in curves.items()}
    final = {name: mine[name][-1] for name in ("train_loss", *_OVERALL)}
    return Outcome(curves=mine, final=final)


_OVERALL = ("largest", "removed")


@functools.partial(jax.jit, static_argnames="model")
def _look(
    model: nn.Module, runs: train.Run, batches: Examples
) -> dict[str, jax.Array]:
    """Means over batches: the loss, and each layer's quantiles of alpha."""

    def look_at(run: train.Run, batch: Examples) -> dict[str, jax.Array]:
        def loss_fn(params: Any) -> jax.Array:
            logits: Any = model.apply(
                {"params": params, **run.statistics}, batch.images, train=False
            )
            return optax.softmax_cross_entropy_with_integer_labels(
                logits, batch.labels
            ).mean()

        loss, gradient = jax.value_and_grad(loss_fn)(run.params)
        return {"train_loss": loss, **distribution(gradient)}

    def mean(run: train.Run) -> dict[str, jax.Array]:
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


def pictures(result: Mapping[str, Any]) -> dict[str, bytes]:
    """Draws one panel a layer: quantiles of alpha over training."""
    cells = [c for c in result["cells"] if c["method"] == "adamw"]
    if not cells:
        return {}
    marker = f": {SIZE}"
    layers = [
        name.removesuffix(marker)
        for name in cells[0]["curves"]
        if name.endswith(marker)
    ]
    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    figure = Figure(
        figsize=(3.2 * columns, 2.9 * rows + 1), layout="constrained"
    )
    panels = figure.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False
    )
    for panel in panels.flat[len(layers) :]:
        panel.set_visible(False)
    for panel, layer in zip(panels.flat, layers, strict=False):
        _draw(panel, layer, cells)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
    )
    figure.suptitle(
        "alpha in each layer's gradient, AdamW without AGR, mean over "
        f"{len(cells)} seeds"
    )
    for panel in panels[:, 0]:
        panel.set_ylabel("alpha")
    return {"alpha": plots.to_png(figure)}


def _draw(panel: Any, layer: str, cells: Sequence[Mapping[str, Any]]) -> None:
    def mean(name: str) -> np.ndarray:
        curves = [cell["curves"][f"{layer}: {name}"] for cell in cells]
        return np.mean(np.asarray(curves, np.float64), axis=0)

    size = round(mean(SIZE)[0])
    colors = ("#56B4E9", "#009E73", "#E69F00", "#B22222")
    for name, color in zip(QUANTILES, colors, strict=True):
        panel.plot(mean(name), color=color, label=name, marker=".")
    panel.axhline(
        1 / size, color="black", linestyle=":", label="1 / entries, the mean"
    )
    panel.set_yscale("log")
    panel.set_xlabel("epoch")
    panel.set_title(f"{layer}\n{size:,} entries", fontsize=9)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
