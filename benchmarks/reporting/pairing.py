"""What pairing over seeds buys: how much smaller it makes standard errors."""

from collections.abc import Iterable, Mapping, Sequence
import math
from typing import NamedTuple

import numpy as np

from benchmarks.reporting import paired, repeats, tables, verdicts
from benchmarks.study import Metric, Result, Study

# What is equal but for rounding has no spread to compare.
ROUNDING = paired.ROUNDING


class Gain(NamedTuple):
    """A method beside its baseline in one metric."""

    pairs: int
    # The standard error of a difference of means without pairs, in that of the
    # mean of the paired differences; nan where these have no spread.
    ratio: float


def gain(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Gain | None:
    """Compares both standard errors, of the seeds that both have.

    None where there are fewer than two pairs or a value is not finite.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    both = np.array([[x[seed] for seed in seeds] for x in (ours, theirs)])
    if len(seeds) < 2 or not np.isfinite(both).all():
        return None
    differences = both[0] - both[1]
    if np.ptp(differences) <= ROUNDING * np.abs(both).max():
        return Gain(len(seeds), math.nan)
    apart = math.sqrt(both.var(axis=1, ddof=1).sum())
    return Gain(len(seeds), apart / float(differences.std(ddof=1)))


def gains(study: Study, result: Result, metric: Metric) -> list[Gain]:
    """Returns those of all methods that have a baseline, where both ran."""
    places = dict(verdicts.by_place(result))
    chosen = verdicts.choices(study, result)
    places |= {tuned: places[place] for tuned, place in chosen.items()}
    found = []
    for (variant, name), runs in places.items():
        baseline = verdicts.method(study, name).baseline
        others = places.get((variant, baseline or ""), {})
        each = gain(
            verdicts.values(runs, metric.key),
            verdicts.values(others, metric.key),
        )
        if each:
            found.append(each)
    return found


def section(
    studies: Mapping[str, Study],
    results: Mapping[str, Sequence[Result]],
    found: Result | None,
) -> list[str]:
    """Returns a part of the A/A study's page: the gain, page by page.

    Args:
        studies: All of them, by their names; the A/A study may be one.
        results: What was run of each.
        found: That of the A/A study; None where nothing was run of it.
    """
    rows = []
    for name, study in studies.items():
        for result in results.get(name, []):
            if name != repeats.NAME and result.preset != "smoke":
                rows += _rows(name, study, result, studies, found)
    if not rows:
        return []
    header = [
        *("page", "metric", "comparisons", "pairs", "unpaired / paired"),
        *("smallest", "largest", "seeds without pairs", "against itself"),
    ]
    return [
        "## What pairing buys",
        "Methods are compared with their baselines seed by seed, with the same"
        " initial weights and batches. The standard error that the difference"
        " of their means would have were the seeds of both drawn apart, in that"
        " of the mean of the paired differences: the median over a page's"
        " comparisons, the smallest and the largest. Below 1 pairing loses."
        " A comparison without pairs needs as many times the seeds as this is"
        " squared to be as exact: so many of the method and as many of the"
        " baseline, by the median. In the last column it is that of the A/A"
        " study's two runs, which differ by rounding alone: the most that"
        " pairing can buy where training is as chaotic. Comparisons whose"
        " differences are equal but for rounding have no ratio; where there are"
        " such, both counts are told.",
        tables.markdown(header, rows, range(2, len(header))),
    ]


def _rows(
    name: str,
    study: Study,
    result: Result,
    studies: Mapping[str, Study],
    found: Result | None,
) -> Iterable[list[str]]:
    for place, metric in enumerate(study.tested):
        mine = gains(study, result, metric)
        ratios = [each.ratio for each in mine if math.isfinite(each.ratio)]
        if not ratios:
            continue
        median = float(np.median(ratios))
        pairs = float(np.median([each.pairs for each in mine]))
        whole = len(ratios) == len(mine)
        yield [
            name,
            metric.label,
            str(len(mine)) if whole else f"{len(ratios)} of {len(mine)}",
            f"{pairs:g}",
            *(f"{x:.2f}" for x in (median, min(ratios), max(ratios))),
            f"{pairs * median**2:.0f}",
            _itself(name, place, studies, found),
        ]


def _itself(
    name: str,
    place: int,
    studies: Mapping[str, Study],
    found: Result | None,
) -> str:
    """Returns the median ratio of a page's baselines beside themselves."""
    if found is None or place >= len(repeats.PLACES):
        return tables.NONE
    settings = studies[repeats.NAME].variants
    of_page = [
        cell
        for cell in found.cells
        if settings.get(cell.variant, {}).get("page") == name
    ]
    key = repeats.PLACES[place]
    metric = Metric(key, key, True)
    mine = gains(studies[repeats.NAME], found._replace(cells=of_page), metric)
    ratios = [each.ratio for each in mine if math.isfinite(each.ratio)]
    if ratios:
        return f"{np.median(ratios):.2f}"
    return "the same" if mine else tables.NONE
