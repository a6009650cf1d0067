"""Loss over the learning rate: a picture, and how flat its lines are."""

from collections.abc import Callable, Mapping, Sequence
import math

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
import numpy as np

from benchmarks.reporting import paired, plots, tables, verdicts
from benchmarks.study import Metric, Result, Study

PANEL = 3.4  # Inches of the picture's width.
MISSING = math.nan
# The methods of each line of the picture, by its label, of each row; a line's
# first method has the settings' own rates.
Lines = Mapping[str, Sequence[str]]
Rows = Mapping[str, Lines]
RateOf = Callable[[Study, verdicts.Place], float]
Points = list[tuple[float, float]]  # Rate and mean, by rate.


def points(
    study: Study,
    result: Result,
    settings: Sequence[str],
    methods: Sequence[str],
    rate_of: RateOf,
    metric: Metric,
) -> Points:
    """Returns means over the seeds; nan where one diverged."""
    places, found = verdicts.by_place(result), []
    for setting in settings:
        for method in methods:
            if runs := places.get((setting, method)):
                values = [
                    MISSING if cell.diverged else cell.final[metric.key]
                    for cell in runs.values()
                ]
                mean = metric.factor * paired.summarize(values).mean
                found.append((rate_of(study, (setting, method)), mean))
    return sorted(found)


def pictures(
    study: Study,
    result: Result,
    *,
    rows: Rows,
    rate_of: RateOf,
    metric: Metric,
) -> dict[str, bytes]:
    """Draws a row of panels an optimizer, a column a tuning of the study."""
    columns = study.tuning.variants if study.tuning else {}
    drawn = {
        (row, column): {
            label: found
            for label, line in lines.items()
            if (found := points(study, result, settings, line, rate_of, metric))
        }
        for row, lines in rows.items()
        for column, settings in columns.items()
    }
    here = [row for row in rows if any(drawn[row, c] for c in columns)]
    there = [c for c in columns if any(drawn[row, c] for row in rows)]
    if not here or not there:
        return {}
    figure = Figure(
        figsize=(PANEL * len(there) + 1.6, 0.9 * PANEL * len(here) + 0.6),
        layout="constrained",
    )
    grid = figure.subplots(len(here), len(there), squeeze=False, sharey="row")
    for panels, row in zip(grid, here, strict=True):
        looks = _looks(list(rows[row]))
        for panel, column in zip(panels, there, strict=True):
            for label, found in drawn[row, column].items():
                _draw(panel, label, found, looks[label])
            panel.set_title(f"{row}: {column}", fontsize=9, loc="left")
            panel.set_xlabel("learning rate", fontsize=9)
            panel.tick_params(labelsize=plots.SMALL)
            panel.grid(alpha=0.3)
        panels[0].set_ylabel(metric.label, fontsize=9)
        handles = {}
        for panel in panels:
            found = panel.get_legend_handles_labels()
            handles |= dict(zip(*reversed(found), strict=True))
        panels[-1].legend(
            handles.values(),
            handles,
            fontsize=plots.SMALL,
            frameon=False,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
        )
    figure.suptitle(
        f"{study.title}\n{metric.label} over the learning rate, the mean over"
        " the seeds",
        fontsize=11,
    )
    return {"rates": plots.to_png(figure)}


def section(
    study: Study,
    result: Result,
    *,
    rows: Rows,
    rate_of: RateOf,
    metric: Metric,
) -> list[str]:
    """Returns a part of a page: how much a wrong rate costs, line by line."""
    shown = []
    columns = study.tuning.variants if study.tuning else {}
    for column, settings in columns.items():
        for row, lines in rows.items():
            for label, line in lines.items():
                found = points(
                    study, result, settings, line[:1], rate_of, metric
                )
                if found:
                    shown.append(
                        [column, row, label, *_flatness(found, metric)]
                    )
    if not shown:
        return []
    return [
        "## How flat the loss is over the rate",
        f"Of each line of the picture the best mean {metric.label} over the"
        " settings' own rates, and how many times as large it is at the others:"
        " the geometric mean over all of these rates, and the largest. 1 is"
        " flat. A rate at which a seed diverged is counted apart.",
        tables.markdown(
            [
                *("setting", "optimizer", "line", "best", "at the rate"),
                *("mean ratio", "largest", "diverged at"),
            ],
            shown,
            range(3, 8),
        ),
    ]


def _flatness(found: Points, metric: Metric) -> list[str]:
    known = [(mean, rate) for rate, mean in found if math.isfinite(mean)]
    diverged = f"{len(found) - len(known)} of {len(found)}"
    if not known:
        return [*[tables.NONE] * 4, diverged]
    best, rate = min(known)
    ratios = np.array([mean for mean, _ in known]) / best
    return [
        f"{best:.{metric.digits}f}",
        f"{rate:g}",
        f"{np.exp(np.mean(np.log(ratios))):.2f}",
        f"{ratios.max():.2f}",
        diverged,
    ]


def _looks(labels: Sequence[str]) -> dict[str, plots.Style]:
    """The first line is black, and those of one number go from dark to light.

    What a number is of, the label's first word, has its own kind of line.
    """
    first, *others = labels
    looks = {first: plots.BASELINES[0]}
    kinds = list(dict.fromkeys(label.split()[0] for label in others))
    maps = ("viridis", "autumn", "cool")
    for kind in kinds:
        index = kinds.index(kind)
        mine = [label for label in others if label.split()[0] == kind]
        colors = colormaps[maps[index % len(maps)]]
        for place, label in enumerate(mine):
            looks[label] = plots.Style(
                to_hex(colors(0.9 * place / len(mine))),
                plots.LINES[index % len(plots.LINES)],
                plots.MARKERS[place % len(plots.MARKERS)],
            )
    return looks


def _draw(panel: Axes, label: str, found: Points, look: plots.Style) -> None:
    rates, means = zip(*found, strict=True)
    panel.plot(
        rates, means, label=label, linewidth=1.3, markersize=4, **look._asdict()
    )
    panel.set_xscale("log")
    panel.set_yscale("log")
