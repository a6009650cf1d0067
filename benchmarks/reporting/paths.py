"""A picture of the paths of descents on a surface."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import numpy as np

from benchmarks.reporting import plots
from benchmarks.study import Result, Study

PANEL = 2.3  # Inches of the picture's width.
Curves = Mapping[str, Sequence[float]]  # x and y of a path.


def pictures(
    study: Study,
    result: Result,
    *,
    surface: Callable[[np.ndarray], Any],
    start: tuple[float, float],
) -> dict[str, bytes]:
    """Draws the paths: a column an optimizer, a row a method beside plain.

    Args:
        study: The study.
        result: Its cells, whose curves are x and y of a path.
        surface: The heights at points of shape [..., 2].
        start: Where all paths begin.
    """
    places: dict[tuple[str, str], list[Curves]] = {}
    for cell in result.cells:
        if not cell.diverged:
            place = places.setdefault((cell.variant, cell.method), [])
            place.append(cell.curves)
    baselines = {
        name: method.baseline
        for name, method in study.methods.items()
        if method.baseline and any(other == name for _, other in places)
    }
    rows = list(baselines)
    columns = [
        name
        for name in study.variants
        if any(other == name for other, _ in places)
    ]
    if not rows or not columns:
        return {}
    looks = plots.styles(study)
    box = _box([curves for runs in places.values() for curves in runs])
    width, height = (high - low for low, high in box)
    figure = Figure(
        figsize=(
            PANEL * len(columns) + 0.6,
            (PANEL * height / width + 0.1) * len(rows) + 1.4,
        ),
        layout="constrained",
    )
    grid = figure.subplots(
        len(rows), len(columns), sharex=True, sharey=True, squeeze=False
    )
    for panels, method in zip(grid, rows, strict=True):
        for panel, variant in zip(panels, columns, strict=True):
            _draw_surface(panel, box, surface)
            for curves in places.get((variant, method), []):
                _draw_path(panel, curves, looks[method].color, 0.35)
            baseline = baselines[method]
            # The plain runs are all the same.
            for curves in places.get((variant, baseline), [])[:1]:
                _draw_path(panel, curves, looks[baseline].color, 1.0)
            panel.plot(*start, "o", color="black", markersize=4)
        panels[0].set_ylabel(f"{method}\ny", fontsize=9)
    for panel, variant in zip(grid[0], columns, strict=True):
        panel.set_title(variant, fontsize=10, fontweight="bold")
    for panel in grid[-1]:
        panel.set_xlabel("x", fontsize=9)
    names = dict.fromkeys([*baselines.values(), *rows])
    figure.legend(
        handles=[
            Line2D([], [], color=looks[name].color, label=name)
            for name in names
        ],
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
    )
    figure.suptitle(
        f"Paths from ({start[0]:g}, {start[1]:g}), one a seed, on the contours"
        " of f (dark is low);\na cross marks each end",
        fontsize=11,
    )
    return {"paths": plots.to_png(figure)}


def _box(paths: Sequence[Curves]) -> list[tuple[float, float]]:
    """Returns what of x and of y the picture shows: all paths, and a margin."""
    margin = 0.2
    numbers = [np.concatenate([path[name] for path in paths]) for name in "xy"]
    return [(n.min() - margin, n.max() + margin) for n in numbers]


def _draw_surface(
    panel: Axes,
    box: Sequence[tuple[float, float]],
    surface: Callable[[np.ndarray], Any],
) -> None:
    x, y = np.meshgrid(*(np.linspace(low, high, 121) for low, high in box))
    heights = np.asarray(surface(np.stack([x, y], axis=-1)))
    # The lighter half of the greys, so that black stands out.
    darkest = 2 * heights.min() - heights.max()
    panel.contourf(x, y, heights, 24, cmap="Greys_r", vmin=darkest)
    panel.contour(x, y, heights, 12, colors="white", linewidths=0.5)
    panel.set_aspect("equal")
    panel.tick_params(labelsize=plots.SMALL)


def _draw_path(panel: Axes, curves: Curves, color: str, alpha: float) -> None:
    panel.plot(
        curves["x"], curves["y"], color=color, alpha=alpha, linewidth=1.2
    )
    panel.plot(curves["x"][-1], curves["y"][-1], "x", color=color, markersize=5)
