"""How far pages repeat."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import studies
from benchmarks.reporting import repeats
from benchmarks.study import Study
from tests.helpers.made_up import NAME, PLAIN, STUDY, joined, result_of


def test_the_smallest_difference_seen_has_its_power():
    pairs, deviation = 12, 0.7
    mean = repeats.smallest_seen(deviation, pairs)
    # The share of significant tests where the mean is as large, of the
    # noncentral t distribution; the two quantiles are nearly exact.
    shift = mean / deviation * math.sqrt(pairs)
    limit = stats.t(pairs - 1).ppf(0.975)
    seen = 1 - stats.nct(pairs - 1, shift).cdf(limit)
    assert seen == pytest.approx(0.8, abs=0.03)
    assert math.isnan(repeats.smallest_seen(deviation, 1))


def aa_study(*names) -> Study:
    where = {"page": NAME, "variant": "slow", "baseline": "plain"}
    return STUDY._replace(variants=dict.fromkeys(names, where))


def test_the_page_has_deviation_and_limit():
    page = result_of({"plain": PLAIN, "claimed": PLAIN}, variant="slow")
    found = joined(
        result_of({"once": [10.0, 20.0, 30.0]}, variant="x"),
        result_of({"again": [10.1, 20.2, 30.3]}, variant="x"),
    )
    cells = [
        cell._replace(final={"first": cell.final["score"]})
        for cell in found.cells
    ]
    found = found._replace(cells=cells)
    heading, _, table = repeats.section(STUDY, page, aa_study("x"), found)
    assert heading.startswith("## ")
    deviation = np.std([0.1, 0.2, 0.3], ddof=1)
    limit = repeats.smallest_seen(deviation, 3)
    assert f"| slow | plain | 3 | {deviation:.1f} / {limit:.1f} |" in table
    *_, text = repeats.section(STUDY, page, aa_study("y"), found)
    assert "nothing of this page is here" in text
    *_, text = repeats.section(STUDY, page, aa_study(), found)
    assert "leaves this page out" in text
    alone = STUDY._replace(methods={"plain": STUDY.methods["plain"]})
    page = result_of({"plain": PLAIN}, variant="slow")
    assert repeats.section(alone, page, aa_study("x"), found) == []


def test_places_are_those_of_the_study():
    aa = studies.find(repeats.NAME)
    assert [metric.key for metric in aa.metrics] == list(repeats.PLACES)
    for where in aa.variants.values():
        assert {"page", "variant", "baseline"} <= set(where)
