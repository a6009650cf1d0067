"""Runs of one seed each on the surface of GAL's 3D example."""

from benchmarks.contenders.surface import METHODS
from benchmarks.studies import gal_surface
from benchmarks.study import Job
from benchmarks.training import surface

GD = gal_surface.VARIANTS["GD"] | gal_surface.COMMON


def outcomes(method, **settings):
    """Returns what three seeds gave, by the seed."""
    seeds, calls = [0, 1, 2], []
    job = Job(
        method,
        GD | settings,
        seeds,
        surface.START,
        lambda: calls.append(0),
        METHODS[method].arguments,
    )
    found = surface.run(job)
    assert len(calls) == gal_surface.STUDY.steps(job.settings)
    return dict(zip(seeds, found, strict=True))
