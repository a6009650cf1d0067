"""In what share of the epochs a method comes where its baseline ends."""

import math

import pytest

from benchmarks.reporting import pages, passage
from tests.helpers.made_up import ONE, joined, result_of, table_row

METRIC = ONE.metrics[0]


def test_the_first_epoch_that_is_no_worse_counts():
    rising = [0.9, 0.1, 0.5, 0.4, 0.8]  # Before training it is none.
    assert passage.share(rising, 0.5, True) == 0.5
    assert passage.share(rising, 0.8, True) == 1.0
    assert math.isnan(passage.share(rising, 0.81, True))
    assert passage.share([0.0, 3.0, 2.0, 1.0], 2.0, False) == pytest.approx(
        2 / 3
    )


def test_smoothing_leaves_out_the_point_before_training():
    assert passage.smoothed([100.0, 3.0, 6.0, 9.0, 0.0]) == [
        *(100.0, 3.0, 4.5, 6.0, 5.0)
    ]


def with_curves(name, curves):
    result = result_of({name: [0.5] * len(curves)})
    cells = [
        cell._replace(curves={"score": curve})
        for cell, curve in zip(result.cells, curves, strict=True)
    ]
    return result._replace(cells=cells)


def test_the_page_counts_the_seeds_that_come_there():
    plain = [[0.0, 0.2, 0.4, 0.4], [0.0, 0.2, 0.4, 0.6]]
    claimed = [[0.0, 0.4, 0.0, 0.0], [0.0, 0.5, 0.5, 0.5]]
    result = joined(
        with_curves("plain", plain), with_curves("claimed", claimed)
    )
    heading, _, table = passage.section(ONE, result, METRIC)
    # A lucky epoch passes first, but not in the mean of three.
    row = [x.strip() for x in table.splitlines()[-1].strip("|").split("|")]
    # Smoothed: .33 of .4, .2, .13, and .4 of .5, .5, .5.
    assert row == ["-", "claimed", "0.33, 1 of 2", "0.33, 2 of 2"]
    changed = ONE._replace(
        sections=lambda *of: passage.section(*of, metric=METRIC)
    )
    page = pages.page(changed, result, [])
    assert heading in page
    assert table_row(page, "-", "setting") == row
    assert passage.section(ONE, with_curves("plain", plain), METRIC) == []
