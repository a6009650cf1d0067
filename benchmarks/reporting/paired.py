"""Mean, spread, and paired tests with Holm's correction."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

# Shares of correct answers, such as 97/100 and 96/100, differ by the same in
# exact numbers, but not in float32. Without this such pairs had tiny p-values.
ROUNDING = 1e-6  # Of the larger value.


class Summary(NamedTuple):
    """Some seeds' values of one metric."""

    count: int
    mean: float
    std: float  # Sample standard deviation; nan for one value.


class Effect(NamedTuple):
    """A method minus its baseline, seed by seed."""

    pairs: int
    mean: float
    low: float  # Of the 95 % interval of the mean.
    high: float
    p: float  # Two-sided, of the paired t-test; not corrected.


def summarize(values: Sequence[float]) -> Summary:
    """Returns mean and deviation; nan where a value is not finite."""
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        return Summary(len(array), math.nan, math.nan)
    spread = float(array.std(ddof=1)) if len(array) > 1 else math.nan
    return Summary(len(array), float(array.mean()), spread)


def compare(ours: Mapping[int, float], baseline: Mapping[int, float]) -> Effect:
    """Compares the values of the seeds that both have, with a paired t-test.

    Differences that are all the same, to the rounding of what was measured,
    have no spread to test against: p is 1 where they are all 0, else nan.
    """
    seeds = sorted(set(ours) & set(baseline))
    differences = np.array(
        [ours[seed] - baseline[seed] for seed in seeds], np.float64
    )
    count = len(differences)
    if count == 0 or not np.isfinite(differences).all():
        return Effect(count, *[math.nan] * 4)
    mean = float(differences.mean())
    if np.all(differences == 0) and count > 1:
        return Effect(count, 0.0, 0.0, 0.0, 1.0)
    size = max(abs(x) for s in seeds for x in (ours[s], baseline[s]))
    if count < 2 or np.ptp(differences) <= ROUNDING * size:
        return Effect(count, mean, math.nan, math.nan, math.nan)
    test: Any = stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(0.95)
    return Effect(
        count,
        mean,
        float(interval.low),
        float(interval.high),
        float(test.pvalue),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p-values; nan stays nan and is no test."""
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, math.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    # The k-th smallest of m is multiplied by m - k + 1, and none falls below
    # one that is smaller.
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return adjusted.tolist()
