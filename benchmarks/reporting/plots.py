"""Pictures of a run: its curves, and its effects with their intervals."""

from collections.abc import Mapping, Sequence
import io
import math
import textwrap
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
import numpy as np

from benchmarks.reporting import verdicts
from benchmarks.reporting.verdicts import Comparison, Row
from benchmarks.study import Curve, Result, Study

DOTS_PER_INCH = 110
PANELS_IN_A_ROW = 3
SMALL = 8  # Points of a font.
FEW_POINTS = 6
HIDDEN = 20  # So much smaller an interval is hidden by its marker.
# The colours of Okabe and Ito that stand out from white, without black. With
# four kinds of line no pair comes twice among twelve methods.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class Style(NamedTuple):
    """How a method's line looks, in Matplotlib's words."""

    color: str
    linestyle: Any
    marker: str


BASELINES = (
    Style("#000000", "-", "."),
    Style("#8A8A8A", "-", "."),
    Style("#000000", (0, (5, 2)), "."),
    Style("#8A8A8A", (0, (5, 2)), "."),
)
GONE = Style("#B0B0B0", ":", "x")  # Of a method that the study no longer has.


def to_png(figure: Figure) -> bytes:
    """Returns a figure's PNG."""
    # A canvas of its own leaves pyplot's global figures and backend alone.
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.print_figure(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def styles(study: Study) -> dict[str, Style]:
    """Returns each method's look, the same in all pictures of a study."""
    used = {method.baseline for method in study.methods.values()}
    looks, baselines, others = {}, 0, 0
    for name in study.methods:
        if name in used:
            looks[name] = BASELINES[baselines % len(BASELINES)]
            baselines += 1
        else:
            looks[name] = Style(
                COLORS[others % len(COLORS)],
                LINES[others % len(LINES)],
                MARKERS[others % len(MARKERS)],
            )
            others += 1
    return looks


def curves(study: Study, result: Result) -> bytes:
    """Draws each curve's mean over the seeds, a row of panels a variant.

    Of a grid it is those that were chosen.
    """
    if verdicts.is_grid(study):
        study, result = verdicts.only_chosen(study, result)
    places = verdicts.by_place(result)
    variants = list(dict.fromkeys(variant for variant, _ in places))
    variants = [v for v in verdicts.variants(study, result) if v in variants]
    names = [
        name
        for name in verdicts.methods(study, result)
        if any(method == name for _, method in places)
    ]
    panels = [
        (variant, curve) for variant in variants for curve in study.curves
    ]
    columns = len(study.curves)
    if columns == 1:
        columns = min(PANELS_IN_A_ROW, len(variants))
    rows = -(-len(panels) // columns)
    height = max(2.5 * rows + 0.9, 0.22 * len(names) + 1.2)
    figure = Figure(figsize=(3.5 * columns + 1.8, height), layout=_layout())
    # Beside a longer one a short variant would be squeezed into a corner.
    share = "all" if len(_lengths(result)) == 1 else "none"
    grid = figure.subplots(rows, columns, sharex=share, squeeze=False)
    looks = _looks(study, names)
    for axes, (variant, curve) in zip(grid.flat, panels, strict=False):
        runs = {name: places.get((variant, name), {}) for name in names}
        _draw_curve(axes, curve, runs, looks)
        axes.set_title(variant, loc="left", fontsize=9, fontweight="bold")
    _finish_grid(grid, len(panels), study.x_label)
    handles = [
        Line2D([], [], label=name, **looks[name]._asdict()) for name in names
    ]
    figure.legend(
        handles=handles,
        loc="outside right center",
        handlelength=4,
        frameon=False,
        fontsize=SMALL,
    )
    figure.suptitle(f"{study.title}\n{_spread(places)}", fontsize=11)
    note = _left_out(places)
    if note:
        figure.supxlabel(textwrap.fill(note, 35 * columns), fontsize=SMALL)
    return to_png(figure)


def effects(study: Study, result: Result) -> bytes | None:
    """Draws each method's effects; None where none has a baseline.

    A row of panels is a variant, and a column is a metric.
    """
    rows = [
        row
        for row in verdicts.rows(study, result)
        if row.comparisons and row.seeds
    ]
    if not any(
        math.isfinite(comparison.effect.mean)
        for row in rows
        for comparison in row.comparisons
    ):
        return None
    variants = list(dict.fromkeys(row.variant for row in rows))
    names = list(dict.fromkeys(row.method for row in rows))
    shape = len(variants), len(study.tested)
    figure = Figure(
        figsize=(
            2.7 * shape[1] + 2.6,
            (0.27 * len(names) + 0.7) * shape[0] + 1.3,
        ),
        layout=_layout(),
    )
    grid = figure.subplots(*shape, sharey=True, squeeze=False)
    looks = _looks(study, names)
    for line, variant in zip(grid, variants, strict=True):
        here = {row.method: row for row in rows if row.variant == variant}
        for index, axes in enumerate(line):
            _draw_effects(axes, study, index, names, here, looks)
        line[0].set_title(variant, loc="left", fontsize=9, fontweight="bold")
    for axes, metric in zip(grid[-1], study.tested, strict=True):
        side = "right" if metric.larger_is_better else "left"
        axes.set_xlabel(f"{metric.label}\n({side} is better)", fontsize=9)
    figure.suptitle(
        f"{study.title}\nmethod minus baseline, mean over seeds and its 95 %"
        f" interval,\nfilled where p < {verdicts.SIGNIFICANT:g} after Holm",
        fontsize=11,
    )
    return to_png(figure)


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)  # In inches.


def _looks(study: Study, names: Sequence[str]) -> dict[str, Style]:
    return dict.fromkeys(names, GONE) | styles(study)


def _draw_curve(
    axes: Axes,
    curve: Curve,
    runs: Mapping[str, verdicts.Cells],
    looks: Mapping[str, Style],
) -> None:
    drawn = []
    for index, (name, by_seed) in enumerate(runs.items()):
        values = _finite(by_seed, curve.key)
        if not values.size:
            continue
        drawn.append(values)
        points = np.arange(values.shape[1])
        look = looks[name]
        # Markers that take turns along the axis do not hide each other; a few
        # points have all of theirs. Widths that fall keep the lower of two
        # equal curves visible.
        stride = (
            max(len(runs), len(points) // 5) if len(points) > FEW_POINTS else 1
        )
        axes.plot(
            points,
            values.mean(axis=0),
            linewidth=max(1.2, 3.0 - 0.25 * index),
            markersize=4.5,
            markevery=(index * stride // len(runs), stride),
            **look._asdict(),
        )
        axes.fill_between(
            points,
            values.min(axis=0),
            values.max(axis=0),
            color=look.color,
            alpha=0.12,
            linewidth=0,
        )
    _scale(axes, curve, drawn)
    axes.set_ylabel(curve.label, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _lengths(result: Result) -> set[int]:
    return {
        len(points) for cell in result.cells for points in cell.curves.values()
    }


def _finite(by_seed: verdicts.Cells, key: str) -> np.ndarray:
    """Returns [seeds, points] of the seeds that did not diverge."""
    kept = [
        cell.curves[key]
        for cell in by_seed.values()
        if not cell.diverged and key in cell.curves
    ]
    shortest = min(map(len, kept), default=0)
    return np.array([values[:shortest] for values in kept], np.float64)


def _scale(axes: Axes, curve: Curve, drawn: Sequence[np.ndarray]) -> None:
    if not drawn:
        axes.text(
            0.5,
            0.5,
            "nothing to draw",
            ha="center",
            transform=axes.transAxes,
            fontsize=SMALL,
        )
        return
    numbers = np.concatenate([values.ravel() for values in drawn])
    positive = numbers[numbers > 0]
    if not curve.log or not positive.size:
        _show_the_end(axes, drawn)
        return
    axes.set_yscale("log")
    ratio = positive.max() / positive.min()
    if ratio < 4:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    else:
        subs = (1.0, 2.0, 5.0) if ratio < 200 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _show_the_end(axes: Axes, drawn: Sequence[np.ndarray]) -> None:
    """Fits a linear axis to the last three quarters of the curves.

    Else the point before training and the first steps, which are large, leave
    no room for the others.
    """
    if max(values.shape[1] for values in drawn) <= 2:
        return
    parts = []
    for values in drawn:
        points = values.shape[1]
        first = max(1, points // 4) if points > 1 else 0
        parts.append(values[:, first:])
    low = min(part.min() for part in parts)
    high = max(part.max() for part in parts)
    margin = 0.05 * (high - low)
    if margin > 0:
        axes.set_ylim(low - margin, high + margin)


def _finish_grid(grid: np.ndarray, used: int, x_label: str) -> None:
    """Labels the lowest panel of each column and hides those not used."""
    for axes in grid.flat[used:]:
        axes.set_visible(False)
    columns = grid.shape[1]
    for axes in grid.flat[max(0, used - columns) : used]:
        axes.set_xlabel(x_label, fontsize=9)
        axes.tick_params(labelbottom=True)


def _spread(places: Mapping[tuple[str, str], verdicts.Cells]) -> str:
    counts = sorted({len(by_seed) for by_seed in places.values()})
    if counts == [1]:
        return "one seed"
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    return f"mean over {seeds} seeds, band from lowest to highest"


def _left_out(places: Mapping[tuple[str, str], verdicts.Cells]) -> str:
    notes = [
        f"{' '.join(filter(None, place))} {verdicts.diverged(by_seed)} of"
        f" {len(by_seed)}"
        for place, by_seed in places.items()
        if verdicts.diverged(by_seed)
    ]
    return f"Diverged and left out: {', '.join(notes)}." if notes else ""


def _draw_effects(
    axes: Axes,
    study: Study,
    index: int,
    names: Sequence[str],
    rows: Mapping[str, Row],
    looks: Mapping[str, Style],
) -> None:
    """Draws the comparisons of a variant's rows in one metric."""
    axes.axvline(0, color="black", linewidth=0.8)
    for place, name in enumerate(names):
        comparison = rows[name].comparisons[index] if name in rows else None
        if comparison and math.isfinite(comparison.effect.mean):
            _draw_effect(axes, place, comparison, looks[name].color)
            continue
        axes.annotate(
            # A contender is compared where it is tuned and nowhere else.
            comparison.verdict
            if comparison
            else ("" if study.tuning else "not run"),
            (0.5, place),
            xycoords=axes.get_yaxis_transform(),
            ha="center",
            va="center",
            fontsize=SMALL,
            color="#555555",
            backgroundcolor="white",
        )
    baselines = [verdicts.method(study, name).baseline for name in names]
    axes.set_yticks(
        range(len(names)),
        [
            f"{name} vs. {baseline}"
            for name, baseline in zip(names, baselines, strict=True)
        ],
        fontsize=SMALL,
    )
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.1)
    here = [row.comparisons[index] for row in rows.values()]
    _scale_effects(axes, [c for c in here if math.isfinite(c.effect.mean)])
    axes.tick_params(labelsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_effect(
    axes: Axes, place: int, comparison: Comparison, color: str
) -> None:
    factor, effect = comparison.metric.factor, comparison.effect
    if math.isfinite(effect.low):
        ends = [factor * effect.low, factor * effect.high]
        axes.plot(ends, [place, place], color=color, linewidth=1.8)
    axes.plot(
        factor * effect.mean,
        place,
        marker="o",
        markersize=6,
        color=color,
        markerfacecolor=color if comparison.is_found else "white",
    )


def _scale_effects(axes: Axes, drawn: Sequence[Comparison]) -> None:
    """Makes the axis logarithmic where a linear one would hide the most."""
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(axis="x", scilimits=(-4, 4))
    axes.xaxis.get_offset_text().set_fontsize(SMALL)
    sizes = [
        metric.factor
        * np.nanmax(np.abs([effect.mean, effect.low, effect.high]))
        for metric, effect, *_ in drawn
    ]
    sizes = sorted(size for size in sizes if size > 0)
    if not sizes:
        return
    usual = sizes[(len(sizes) - 1) // 2]
    if sizes[-1] < HIDDEN * usual:
        return
    linear = 10.0 ** math.ceil(math.log10(usual))
    axes.set_xscale("symlog", linthresh=linear)
    locator: Any = axes.xaxis.get_major_locator()
    locator.set_params(numticks=6)
