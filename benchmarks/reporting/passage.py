"""In what share of the epochs a method comes where its baseline ends."""

from collections.abc import Sequence
import math

import numpy as np

from benchmarks.reporting import tables, verdicts
from benchmarks.study import Metric, Result, Study

WINDOW = 3  # Epochs that the smoothed curve is a mean of.


def share(curve: Sequence[float], goal: float, larger_is_better: bool) -> float:
    """Returns the first epoch that is no worse, in those of the run.

    The point before training counts as none. It is nan where there is no such
    epoch.

    Args:
        curve: A point before training, and one after each epoch.
        goal: What is to be reached.
        larger_is_better: Which way is better.
    """
    sign = 1 if larger_is_better else -1
    points = sign * np.asarray(curve, np.float64)[1:]
    reached = np.flatnonzero(points >= sign * goal)
    return float(reached[0] + 1) / len(points) if len(reached) else math.nan


def smoothed(curve: Sequence[float], window: int = WINDOW) -> list[float]:
    """Returns each epoch's mean with those before it, ``window`` in all.

    The point before training stays as it is, and is in no mean.
    """
    start, *points = np.asarray(curve, np.float64)
    return [
        float(start),
        *(
            float(np.mean(points[max(0, end - window) : end]))
            for end in range(1, len(points) + 1)
        ),
    ]


def section(study: Study, result: Result, metric: Metric) -> list[str]:
    """Returns a part of a page: the ratio of epochs, seed by seed.

    Args:
        study: The study.
        result: Its run, whose curves are called as the metric's key is.
        metric: The one that has to be reached.
    """
    places, rows = verdicts.by_place(result), []
    for (variant, name), runs in places.items():
        baseline = verdicts.method(study, name).baseline
        others = places.get((variant, baseline or ""), {})
        pairs = [
            (runs[seed].curves[metric.key], others[seed].curves[metric.key])
            for seed in sorted(runs.keys() & others.keys())
            if not (runs[seed].diverged or others[seed].diverged)
        ]
        if pairs:
            ratios = [_shown(pairs, metric, f) for f in (list, smoothed)]
            rows.append([variant or tables.NONE, name, *ratios])
    if not rows:
        return []
    return [
        "## Epochs to match",
        f"After which share of the epochs a method's {metric.label} is first no"
        " worse than its baseline's at the end, the mean over the seeds that"
        " come there, and how many do: by first passage, which noise makes"
        f" early, and with both curves smoothed over {WINDOW} epochs. A method"
        " that does nothing has a ratio of 1 or, where the baseline was there"
        " before its end, less.",
        tables.markdown(
            ["setting", "method", "first passage", "smoothed"], rows, (2, 3)
        ),
    ]


def _shown(pairs: Sequence[tuple], metric: Metric, change) -> str:
    shares = [
        share(change(ours), change(theirs)[-1], metric.larger_is_better)
        for ours, theirs in pairs
    ]
    there = [each for each in shares if math.isfinite(each)]
    mean = f"{np.mean(there):.2f}, " if there else ""
    return f"{mean}{len(there)} of {len(pairs)}"
