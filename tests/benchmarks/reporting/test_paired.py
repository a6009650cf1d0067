"""Statistics against numbers worked out by hand and against SciPy."""

import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from scipy import stats

from benchmarks.reporting import paired

P_VALUES = st.lists(
    st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=1, max_size=12
)


def by_seed(values):
    return dict(enumerate(values))


def test_summary_of_known_values():
    assert paired.summarize([1.0, 2.0, 3.0]) == (3, 2.0, 1.0)
    count, mean, std = paired.summarize([4.0])
    assert (count, mean) == (1, 4.0)
    assert math.isnan(std)


def test_summary_of_a_divergence_is_no_number():
    for value in math.nan, math.inf:
        count, mean, std = paired.summarize([1.0, value])
        assert count == 2
        assert math.isnan(mean)
        assert math.isnan(std)


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 and 0.04 x 1, which is less than
    # the one before and so becomes the same.
    assert paired.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx(
        [0.06, 0.04, 0.06, 0.06]
    )
    assert paired.holm([0.005, 0.5, 0.9]) == pytest.approx([0.015, 1, 1])
    assert paired.holm([]) == []


def test_holm_counts_only_tests():
    first, none, second = paired.holm([0.03, math.nan, 0.04])
    assert (first, second) == pytest.approx((0.06, 0.06))
    assert math.isnan(none)


@given(P_VALUES)
def test_holm_keeps_the_order_and_lowers_nothing(p_values):
    adjusted = np.array(paired.holm(p_values))
    p = np.array(p_values)
    tested = np.isfinite(p)
    np.testing.assert_array_equal(np.isfinite(adjusted), tested)
    p, adjusted = p[tested], adjusted[tested]
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= np.minimum(1, p * len(p)))
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_compare_is_the_paired_t_test(count):
    rng = np.random.default_rng(count)
    ours, baseline = rng.normal(size=(2, count))
    effect = paired.compare(by_seed(ours), by_seed(baseline))
    expected = stats.ttest_rel(ours, baseline)
    interval = expected.confidence_interval(0.95)
    assert effect.pairs == count
    assert effect[1:] == pytest.approx(
        (
            np.mean(ours - baseline),
            interval.low,
            interval.high,
            expected.pvalue,
        )
    )


def test_compare_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, and t = 2 sqrt(3). With two
    # degrees of freedom p = 1 - t / sqrt(2 + t^2), and the 97.5 % point is
    # 4.302653.
    effect = paired.compare({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0})
    t = 2 * 3**0.5
    half = 4.302653 / 3**0.5
    assert effect == pytest.approx(
        (3, 2.0, 2 - half, 2 + half, 1 - t / (2 + t * t) ** 0.5), rel=1e-6
    )


def test_compare_takes_only_common_seeds():
    ours = {0: 9.0, 1: 1.0, 2: 2.0}
    effect = paired.compare(ours, {2: 0.0, 1: 0.0, 5: 7.0})
    assert effect.pairs == 2
    assert effect.mean == 1.5


DEGENERATE = {
    "no pair": ({0: 1.0}, {1: 1.0}, (0, None, None)),
    "one pair": ({0: 3.0}, {0: 1.0}, (1, 2.0, None)),
    "one equal pair": ({0: 3.0}, {0: 3.0}, (1, 0.0, None)),
    "equal": ({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}, (2, 0.0, 1.0)),
    "no spread": ({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}, (2, 1.0, None)),
    "diverged": ({0: math.nan, 1: 3.0}, {0: 1.0, 1: 2.0}, (2, None, None)),
    "infinite": ({0: 1.0, 1: 3.0}, {0: math.inf, 1: 2.0}, (2, None, None)),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_compare_where_there_is_nothing_to_test(case):
    ours, baseline, (pairs, mean, p) = DEGENERATE[case]
    effect = paired.compare(ours, baseline)
    assert effect.pairs == pairs
    for actual, expected in (effect.mean, mean), (effect.p, p):
        if expected is None:
            assert math.isnan(actual)
        else:
            assert actual == expected


def test_shares_of_answers_have_no_spread_of_rounding():
    # One answer of 360 more in each pair: in exact numbers the differences
    # are the same, in float32 they are not.
    def shares(counts):
        return by_seed((np.float32(counts) / np.float32(360)).tolist())

    ours, baseline = shares([347, 341, 350]), shares([346, 340, 349])
    assert len({ours[seed] - baseline[seed] for seed in ours}) > 1
    effect = paired.compare(ours, baseline)
    assert effect.mean == pytest.approx(1 / 360, rel=1e-4)
    assert math.isnan(effect.p)
