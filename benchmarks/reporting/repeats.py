"""How far a page's numbers repeat, from the A/A study."""

from collections.abc import Sequence
import math

from scipy import stats

from benchmarks.reporting import paired, tables, verdicts
from benchmarks.study import Result, Settings, Study

NAME = "aa"
POWER = 0.8
PLACES = ("first", "second", "third")
COMMAND = f".venv/bin/python -m benchmarks run {NAME}"


def smallest_seen(deviation: float, pairs: int) -> float:
    """Returns the mean difference that a paired t-test sees in 80 % of cases.

    Args:
        deviation: Of the differences.
        pairs: How many there are.
    """
    if pairs < 2 or not math.isfinite(deviation):
        return math.nan
    quantile = stats.t(pairs - 1).ppf
    sides = quantile(1 - verdicts.SIGNIFICANT / 2) + quantile(POWER)
    return float(sides * deviation / math.sqrt(pairs))


def section(
    study: Study, result: Result, aa: Study, found: Result | None
) -> list[str]:
    """Returns a part of a page: the deviations, and what they let it see.

    Args:
        study: That of the page.
        result: That of the page.
        aa: The A/A study.
        found: What was run of it; None where nothing was.
    """
    mine = {
        name: where
        for name, where in aa.variants.items()
        if where["page"] == result.study
    }
    heading = "## How far it repeats"
    if not verdicts.is_compared(verdicts.rows(study, result)):
        return []
    if not mine:
        return [
            heading,
            "Not known: the A/A study, each baseline against itself with noise"
            " of 1e-7 in its weights, leaves this page out.",
        ]
    cells = verdicts.by_place(found) if found else {}
    rows = []
    for name, where in mine.items():
        once, again = (cells.get((name, m), {}) for m in ("once", "again"))
        if len(once.keys() & again.keys()) > 1:
            rows.append(_row(study, result, where, once, again))
    if not rows:
        return [
            heading,
            "Not known: of the A/A study, each baseline against itself with"
            f" noise of 1e-7 in its weights, `{COMMAND}`, nothing of this page"
            " is here.",
        ]
    labels = [metric.label for metric in study.tested]
    return [
        heading,
        "Each baseline against itself with normal noise of 1e-7 in its initial"
        " weights: the standard deviation of the differences, seed by seed,"
        " and after the slash the smallest mean difference that this page's"
        " seeds would show in 80 % of cases, before any correction. Runs on"
        " another machine, which rounds otherwise, part about as far. A method"
        " that changes more than rounding has larger deviations, so that what"
        " the page can see of it is larger, too.",
        tables.markdown(
            ["setting", "baseline", "pairs", *labels],
            rows,
            range(2, 3 + len(labels)),
        ),
    ]


def _row(
    study: Study,
    result: Result,
    where: Settings,
    once: verdicts.Cells,
    again: verdicts.Cells,
) -> Sequence[str]:
    place = where["variant"], where["baseline"]
    seeds = len(verdicts.by_place(result).get(place, {}))
    shown, pairs = [], sorted(once.keys() & again.keys())
    for key, metric in zip(PLACES, study.tested, strict=False):
        differences = [
            again[seed].final.get(key, math.nan)
            - once[seed].final.get(key, math.nan)
            for seed in pairs
        ]
        deviation = paired.summarize(differences).std
        limit = smallest_seen(deviation, seeds)
        shown.append(
            " / ".join(
                f"{x:.{metric.digits}f}" if math.isfinite(x) else tables.NONE
                for x in (deviation, limit)
            )
        )
    return [where["variant"] or tables.NONE, place[1], str(len(pairs)), *shown]
