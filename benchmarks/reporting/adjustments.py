"""What GAL's adjustments do over training, as a table and as a picture."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from benchmarks.reporting import paired, plots, tables, verdicts
from benchmarks.study import Result, Study

SHOWN = {
    "acceptance": "accepted, share",
    "remainder": "remainder |r|",
    "cosine": "cosine of v and the gradient",
    "wins": "wins, share",
}


def _runs(result: Result, variant: str, name: str, key: str) -> np.ndarray:
    """Returns [seeds, points] of the seeds that have a curve."""
    runs = verdicts.by_place(result).get((variant, name), {})
    curves = [
        cell.curves[key]
        for cell in runs.values()
        if key in cell.curves and not cell.diverged
    ]
    return np.asarray(curves, np.float64)


def section(study: Study, result: Result) -> list[str]:
    """Returns a part of a page: what the adjustments did, at both ends."""
    rows = []
    for variant in verdicts.variants(study, result):
        for name in verdicts.methods(study, result):
            ends = [_ends(_runs(result, variant, name, key)) for key in SHOWN]
            if any(end != tables.NONE for end in ends):
                rows.append([variant or tables.NONE, name, *ends])
    if not rows:
        return []
    return [
        "## What the adjustments did",
        "On the first training examples, before training and at its end, the"
        " mean over the seeds: the share of adjustments accepted, the mean of"
        " |r|, the cosine between v and the gradient, and the share of examples"
        " whose loss a tentative step along g lowers more than one along the"
        " plain gradient.",
        tables.markdown(
            ["setting", "method", *SHOWN.values()], rows, (2, 3, 4, 5)
        ),
    ]


def _ends(curves: np.ndarray) -> str:
    if not curves.size:
        return tables.NONE
    mean = curves.mean(axis=0)
    return f"{mean[0]:.3g} to {mean[-1]:.3g}"


def pictures(
    study: Study,
    result: Result,
    *,
    groups: Mapping[str, Mapping[str, str]],
    followed: Mapping[str, str],
    plain: str,
) -> dict[str, bytes]:
    """Draws the paper's Fig. 7 and 8a, and below them Fig. 6 and 8b.

    Args:
        study: The study; its first metric is what is compared.
        result: Its cells.
        groups: What is varied, and the methods by their labels.
        followed: The methods whose curves are drawn, and their labels.
        plain: The method without GAL.
    """
    variant = verdicts.variants(study, result)[0]
    metric = study.metrics[0]
    places = verdicts.by_place(result)
    columns = max(len(groups), len(SHOWN))
    figure = Figure(figsize=(2.6 * columns, 6.2), layout="constrained")
    grid = figure.subplots(2, columns, squeeze=False)
    for axes in grid[0, 1:]:
        axes.sharey(grid[0, 0])
    for axes in grid.flat:
        axes.tick_params(labelsize=plots.SMALL)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)

    def ends(name: str) -> list[float]:
        runs = places.get((variant, name), {})
        return [
            metric.factor * cell.final[metric.key]
            for cell in runs.values()
            if not cell.diverged
        ]

    for axes, (title, labels) in zip(grid[0], groups.items(), strict=False):
        found = {label: ends(name) for label, name in labels.items()}
        _draw_group(axes, title, found, ends(plain))
    looks = plots.styles(study)
    for axes, (key, label) in zip(grid[1], SHOWN.items(), strict=False):
        for name, title in followed.items():
            curves = _runs(result, variant, name, key)
            if curves.size:
                look = looks[name]._replace(marker="")
                axes.plot(curves.mean(axis=0), label=title, **look._asdict())
        axes.set_title(label, fontsize=9)
        axes.set_xlabel(study.x_label, fontsize=9)
    for row, used in zip(grid, (len(groups), len(SHOWN)), strict=True):
        for axes in row[used:]:
            axes.set_visible(False)
    handles, labels = grid[1, 0].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=len(labels),
            frameon=False,
            fontsize=plots.SMALL,
        )
    grid[0, 0].set_ylabel(metric.label, fontsize=9)
    figure.suptitle(
        f"{study.title}\nabove: mean and standard error over the seeds, line:"
        f" {plain} alone (Fig. 7, 8a); below: means (Fig. 6, 8b)",
        fontsize=11,
    )
    return {"parts": plots.to_png(figure)}


def _draw_group(
    axes: Axes,
    title: str,
    found: Mapping[str, Sequence[float]],
    plain: Sequence[float],
) -> None:
    for place, values in enumerate(found.values()):
        if not values:
            continue
        summary = paired.summarize(values)
        half = summary.std / len(values) ** 0.5 if len(values) > 1 else 0
        axes.errorbar(place, summary.mean, half, fmt="o", color=plots.COLORS[0])
    if plain:
        axes.axhline(float(np.mean(plain)), color="black", linewidth=0.8)
    axes.set_xticks(
        range(len(found)), list(found), rotation=30, ha="right", fontsize=7
    )
    axes.set_title(title, fontsize=9)
