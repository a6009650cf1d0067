"""A picture of AGR's coefficients, layer by layer."""

from collections.abc import Collection, Sequence
import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from benchmarks.reporting import plots
from benchmarks.study import Cell, Result, Study

COLORS = ("#56B4E9", "#009E73", "#E69F00", "#B22222")


def pictures(
    study: Study, result: Result, *, quantiles: Collection[str], size: str
) -> dict[str, bytes]:
    """Draws one panel a layer: quantiles of alpha over training.

    Args:
        study: The study.
        result: Its cells, whose curves are of ``layer: quantile``.
        quantiles: Their names.
        size: That of the curve that holds a layer's number of entries.
    """
    del study
    cells = [cell for cell in result.cells if cell.method == "adamw"]
    if not cells:
        return {}
    marker = f": {size}"
    layers = [
        name.removesuffix(marker)
        for name in cells[0].curves
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
        _draw(panel, layer, cells, quantiles, size)
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


def _draw(
    panel: Axes,
    layer: str,
    cells: Sequence[Cell],
    quantiles: Collection[str],
    size: str,
) -> None:
    def mean(name: str) -> np.ndarray:
        curves = [cell.curves[f"{layer}: {name}"] for cell in cells]
        return np.mean(np.asarray(curves, np.float64), axis=0)

    entries = round(mean(size)[0])
    for name, color in zip(quantiles, COLORS, strict=True):
        panel.plot(mean(name), color=color, label=name, marker=".")
    panel.axhline(
        1 / entries, color="black", linestyle=":", label="1 / entries, the mean"
    )
    panel.set_yscale("log")
    panel.set_xlabel("epoch")
    panel.set_title(f"{layer}\n{entries:,} entries", fontsize=9)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
