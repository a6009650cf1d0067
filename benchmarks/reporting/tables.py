"""The tables of a run's page, as Markdown."""

from collections.abc import Collection, Mapping, Sequence
import math
from typing import Any

from benchmarks.reporting import verdicts
from benchmarks.reporting.paired import Effect, Summary
from benchmarks.reporting.verdicts import Comparison, Row
from benchmarks.study import Metric, Result, Study

NONE = "-"
MINUS = "minus baseline [95 % interval]"


def of_run(study: Study, result: Result) -> list[str]:
    """Returns the tables of all variants, with their headings."""
    rows = verdicts.rows(study, result)
    chosen = verdicts.choices(study, result)
    parts, is_grid = [], verdicts.is_grid(study)
    tuned = study.tuning.variants if study.tuning else {}
    for variant in dict.fromkeys(row.variant for row in rows):
        if is_grid and variant not in tuned:
            continue
        if variant:
            settings = listed(study.variants.get(variant, {}))
            parts.append(f"### {variant}" + f" ({settings})" * bool(settings))
        here = [row for row in rows if row.variant == variant]
        choices = [
            f"`{name}` is {_named(study, place)}"
            for (tuned, name), place in chosen.items()
            if tuned == variant
        ]
        if choices:
            parts.append(f"Validation chose: {'; '.join(choices)}.")
        # Where nothing is compared, a word is left only for what was not run.
        judged = any(row.verdict != verdicts.ALONE for row in rows)
        compared = verdicts.is_compared(rows)
        parts += _first_table(study, here, compared, judged)
        parts += _other_metrics(study, here)
    if is_grid:
        parts += _grids(study, rows)
    return parts + _best_settings(study, rows)


def _named(study: Study, place: verdicts.Place) -> str:
    variant, method = place
    of_one = len(study.variants) == 1 or variant == ""
    return f"`{method}`" + ("" if of_one else f" at {variant}")


def means(study: Study, row: Row) -> list[str]:
    """Returns a row's metrics, as mean ± deviation."""
    return [
        _mean(metric, summary)
        for metric, summary in zip(study.metrics, row.summaries, strict=True)
    ]


def markdown(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[int] = (),
) -> str:
    """Returns a table some of whose columns are set right."""
    rules = [
        "---:" if column in right else "---" for column in range(len(header))
    ]
    return "\n".join(
        f"| {' | '.join(_cell(text) for text in row)} |"
        for row in [header, rules, *rows]
    )


def listed(settings: Mapping[str, Any]) -> str:
    """Returns settings in one line, and of those that have more, these."""
    return ", ".join(
        listed(value)
        if isinstance(value, Mapping)
        else f"{key.replace('_', ' ')} {'all' if value is None else value}"
        for key, value in settings.items()
    )


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _first_table(
    study: Study, rows: Sequence[Row], compared: bool, judged: bool
) -> list[str]:
    """Returns what was measured, and the comparisons in the first metric.

    What is the same for all that was run is a line before the table.
    """
    labels = [metric.label for metric in study.metrics]
    run = [row for row in rows if row.seeds]
    same_seeds = len({row.seeds for row in run}) == 1
    diverged = any(row.diverged for row in run)
    header = ["method"] + ["verdict"] * judged
    first_number = len(header)
    header += ["seeds"] * (not same_seeds) + labels + ["diverged"] * diverged
    if compared:
        header += [f"{labels[0]}: {MINUS}", "p", "p (Holm)"]
    lines = []
    for row in rows:
        line = [row.method] + [_marked(row, 0)] * judged
        line += [str(row.seeds)] * (not same_seeds) + means(study, row)
        line += [str(row.diverged)] * diverged
        if row.comparisons:
            line += _compared(row, row.comparisons[0])
        elif compared:
            line += [NONE] * 3
        lines.append(line)
    notes = [f"{count(run[0].seeds, 'seed')} each"] if same_seeds else []
    notes += ["none diverged"] if run and not diverged else []
    table = markdown(header, lines, range(first_number, len(header)))
    note = ", ".join(notes)
    return [f"{note[0].upper()}{note[1:]}.", table] if note else [table]


def _grids(study: Study, rows: Sequence[Row]) -> list[str]:
    """Returns a table of all settings and methods for each choice."""
    metric = study.metrics[0]
    known = {(row.variant, row.method): row for row in rows if row.seeds}
    parts = []
    for name, settings in (
        study.tuning.variants if study.tuning else {}
    ).items():
        here = [s for s in settings if any(s == v for v, _ in known)]
        lines = [
            [
                method,
                *(
                    _mean(metric, known[setting, method].summaries[0])
                    if (setting, method) in known
                    else NONE
                    for setting in here
                ),
            ]
            for method in study.methods
            if any((setting, method) in known for setting in here)
        ]
        if lines:
            parts += [
                f"### All of the grid: {name}",
                f"The mean {metric.label}, - where a seed diverged or none was"
                " run.",
                markdown(["method", *here], lines, range(1, 1 + len(here))),
            ]
    return parts


def _other_metrics(study: Study, rows: Sequence[Row]) -> list[str]:
    """Returns a table of comparisons for each metric but the first."""
    tables = []
    for index, metric in enumerate(study.tested):
        lines = [
            [
                row.method,
                _marked(row, index),
                *_compared(row, row.comparisons[index]),
            ]
            for row in rows
            if index > 0 and row.comparisons and row.seeds
        ]
        if lines:
            header = [metric.label, "verdict", MINUS, "p", "p (Holm)"]
            tables.append(markdown(header, lines, right=(2, 3, 4)))
    return tables


def _best_settings(study: Study, rows: Sequence[Row]) -> list[str]:
    labels = [metric.label for metric in study.metrics]
    best = verdicts.best_rows(study, rows)
    if not best:
        return []
    lines = [[row.method, row.variant, *means(study, row)] for row in best]
    return [
        "### Best setting of each method",
        f"That of the best mean in the first metric, {labels[0]}. It was chosen"
        " on the same data that it is shown for, which flatters every method a"
        " little.",
        markdown(
            ["method", "setting", *labels], lines, range(2, 2 + len(labels))
        ),
    ]


def _compared(row: Row, comparison: Comparison) -> list[str]:
    metric, effect, p = comparison[:3]
    corrected = f"{_p(p)}, not corrected" if comparison.is_primary else _p(p)
    return [_difference(metric, effect, row.seeds), _p(effect.p), corrected]


def _marked(row: Row, index: int) -> str:
    """Returns a verdict, bold where there is a difference."""
    if not row.comparisons:
        return row.state
    comparison = row.comparisons[index]
    mark = "**" if comparison.is_found else ""
    return f"{mark}{comparison.verdict}{mark}"


def _difference(metric: Metric, effect: Effect, seeds: int) -> str:
    if not math.isfinite(effect.mean):
        return NONE
    digits = metric.digits
    text = f"{metric.factor * effect.mean:+z.{digits}f}"
    if math.isfinite(effect.low):
        low, high = metric.factor * effect.low, metric.factor * effect.high
        text += f" [{low:+z.{digits}f}, {high:+z.{digits}f}]"
    if effect.pairs != seeds:
        text += f", {count(effect.pairs, 'pair')}"
    return text


def _p(p: float) -> str:
    if not math.isfinite(p):
        return NONE
    return f"{p:.0e}" if p < 0.001 else f"{p:.3f}"


def _mean(metric: Metric, summary: Summary) -> str:
    if not math.isfinite(summary.mean):
        return NONE
    mean = f"{metric.factor * summary.mean:.{metric.digits}f}"
    if not math.isfinite(summary.std):
        return mean
    return f"{mean} ± {metric.factor * summary.std:.{metric.digits}f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
