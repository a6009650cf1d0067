"""The table and the picture of GAL's adjustments."""

import functools

from benchmarks.reporting import adjustments, pages
from benchmarks.studies import gal_ablation
from tests.helpers.made_up import ONE, joined, result_of

CURVES = {
    "acceptance": [1.0, 0.5],
    "remainder": [0.25, 0.125],
    "cosine": [-0.5, 0.75],
    "wins": [0.1, 0.2],
}


def with_curves(name, curves):
    result = result_of({name: [0.5, 0.7]})
    cells = [cell._replace(curves=curves) for cell in result.cells]
    return result._replace(cells=cells)


RESULT = functools.reduce(
    joined,
    [
        with_curves("plain", {"score": [0.5, 0.6]}),
        with_curves("claimed", {**CURVES, "score": [0.5, 0.6]}),
        with_curves("control", {"acceptance": [1.0, 1.0], "score": [0.5, 0.6]}),
    ],
)


def test_the_page_tells_both_ends_of_what_is_adjusted():
    found = ONE._replace(sections=adjustments.section)
    page = pages.page(found, RESULT, [])
    table = page.partition("## What the adjustments did")[2]
    claimed, control = [
        [part.strip() for part in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| - |")
    ]
    assert claimed == [
        *("-", "claimed", "1 to 0.5", "0.25 to 0.125", "-0.5 to 0.75"),
        "0.1 to 0.2",
    ]
    assert control == ["-", "control", "1 to 1", "-", "-", "-"]
    plain = with_curves("plain", {"score": [0.5, 0.6]})
    assert adjustments.section(ONE, plain) == []


def test_the_picture_is_drawn_of_what_there_is():
    groups = {"alpha": {"0.1": "claimed", "1": "not run"}}
    found = adjustments.pictures(
        ONE,
        RESULT,
        groups=groups,
        followed={"claimed": "GAL", "control": "noise"},
        plain="plain",
    )
    assert found["parts"].startswith(b"\x89PNG")


def test_the_ablation_draws_methods_that_there_are():
    known = gal_ablation.OF_SGD
    drawn = [
        name for each in gal_ablation.GROUPS.values() for name in each.values()
    ]
    assert set(drawn) == set(known)
    for title, labels in gal_ablation.GROUPS.items():
        assert len(set(labels.values())) == len(labels) >= 4, title
