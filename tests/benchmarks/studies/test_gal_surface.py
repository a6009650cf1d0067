"""The settings of the study of GAL's 3D example."""

from benchmarks.studies import gal_surface
from benchmarks.training import surface


def test_curves_end_where_the_runs_end():
    for settings in gal_surface.VARIANTS.values():
        assert settings["steps"] % surface.POINTS == 0


def test_settings_are_those_beside_the_paper():
    rows = gal_surface.STUDY.paper.rows
    assert len(rows) == len(gal_surface.VARIANTS)
    for row, settings in zip(rows, gal_surface.VARIANTS.values(), strict=True):
        numbers = [float(text) for text in row[1:5]]
        names = ("learning_rate", "steps", "magnitude", "beta")
        assert numbers == [settings[name] for name in names]
