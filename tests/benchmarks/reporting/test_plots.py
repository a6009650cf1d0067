"""Pictures of made-up results; how they look is for eyes."""

import numpy as np
import pytest

from benchmarks.reporting import plots
from benchmarks.study import Metric
from tests.helpers.made_up import (
    BETTER,
    NAN,
    ONE,
    PLAIN,
    PNG,
    STUDY,
    joined,
    result_of,
)

PLOTTED = {
    "one epoch": {"plain": PLAIN, "claimed": BETTER},
    "one seed": {"plain": [0.5], "claimed": [0.6]},
    "diverged": {"plain": PLAIN, "claimed": [NAN] * 3, "control": [NAN] * 2},
    "gone": {"plain": PLAIN, "of old": PLAIN},
    "zeros": {"plain": [0.0, 0.0]},
    "nothing changed": {"plain": PLAIN, "claimed": PLAIN},
}


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("case", PLOTTED)
def test_anything_can_be_plotted(case, log):
    (curve,) = STUDY.curves
    changed = ONE._replace(curves=[curve._replace(log=log)])
    result = result_of(PLOTTED[case])
    assert plots.curves(changed, result).startswith(PNG)
    unmeasured = Metric("loss", "loss", False)
    changed = changed._replace(metrics=[*STUDY.metrics, unmeasured])
    effects = plots.effects(changed, result)
    assert effects is None or effects.startswith(PNG)
    assert (effects is None) == (case in ("gone", "zeros", "diverged"))


def test_twelve_methods_look_different():
    methods = STUDY.methods | {
        f"method {number}": STUDY.methods["control"] for number in range(9)
    }
    looks = plots.styles(STUDY._replace(methods=methods))
    assert len(looks) == 12
    assert len({(x.color, x.linestyle) for x in looks.values()}) == 12
    assert looks["plain"].color == "#000000"


@pytest.fixture
def figures(monkeypatch):
    """Has plots return figures instead of PNG."""
    monkeypatch.setattr(plots, "to_png", lambda figure: figure)


@pytest.mark.parametrize("points", [3, 4, 6, 7, 20])
def test_the_accuracy_before_training_leaves_room_for_the_others(
    points, figures
):
    result = result_of({"plain": PLAIN})
    curves = {"score": [0.1, *np.linspace(0.96, 0.98, points - 1)]}
    cells = [cell._replace(curves=curves) for cell in result.cells]
    (axes,) = plots.curves(ONE, result._replace(cells=cells)).axes
    low, high = axes.get_ylim()
    assert 0.95 < low < 0.98 <= high < 0.99


def test_two_points_are_both_shown(figures):
    (axes,) = plots.curves(ONE, result_of({"plain": [0.9]})).axes
    low, high = axes.get_ylim()
    assert low <= 0.5
    assert high >= 0.9


@pytest.mark.parametrize(
    ("other", "scale"), [(BETTER, "linear"), ([50.0, 50.1, 50.3], "symlog")]
)
def test_small_effects_are_seen_beside_large_ones(other, scale, figures):
    scores = {"plain": PLAIN, "claimed": BETTER, "control": other}
    (axes,) = plots.effects(ONE, result_of(scores)).axes
    assert axes.get_xscale() == scale
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "claimed vs. plain",
        "control vs. plain",
    ]


def test_every_metric_and_variant_has_a_panel(figures):
    metrics = [STUDY.metrics[0], Metric("loss", "loss", False)]
    result = result_of({"plain": PLAIN, "claimed": BETTER}, variant="slow")
    more = result_of({"plain": PLAIN, "claimed": PLAIN}, variant="fast")
    changed = STUDY._replace(metrics=metrics)
    figure = plots.effects(changed, joined(result, more))
    assert len(figure.axes) == 4
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == [
        "score, %\n(right is better)",
        "loss\n(left is better)",
    ]
