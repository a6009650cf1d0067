"""The picture of the descents' paths; how it looks is for eyes."""

import math

import pytest

from benchmarks.studies import gal_surface
from tests.helpers.made_up import PNG, result_of
from tests.helpers.surface_runs import outcomes


@pytest.mark.parametrize("methods", [("plain", "gal"), ("gal",), ("plain",)])
def test_picture_of_what_there_is(methods):
    blank = result_of({"plain": [0.5]})
    cells = [
        blank.cells[0]._replace(
            variant="GD",
            method=method,
            seed=seed,
            diverged=seed == 2,
            curves={**curves, "x": [math.nan]} if seed == 2 else curves,
        )
        for method in methods
        for seed, (curves, _) in outcomes(method).items()
    ]
    pictures = gal_surface.STUDY.pictures
    assert pictures is not None
    drawn = pictures(gal_surface.STUDY, blank._replace(cells=cells))
    assert list(drawn) == ([] if methods == ("plain",) else ["paths"])
    assert all(png.startswith(PNG) for png in drawn.values())
    assert pictures(gal_surface.STUDY, blank._replace(cells=[])) == {}
