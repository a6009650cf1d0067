"""Pictures of made-up results; how they look is for eyes."""

import math

from made_up import STUDY, result_of
import pytest

from benchmarks import plots
from benchmarks.study import Metric

NAN = math.nan
PNG = b"\x89PNG\r\n\x1a\n"
PLAIN = [0.50, 0.60, 0.70]
BETTER = [0.61, 0.71, 0.82]
ONE = STUDY._replace(variants={"": {}})


PLOTTED = {
    "one epoch": {"plain": PLAIN, "claimed": BETTER},
    "one seed": {"plain": [0.5], "claimed": [0.6]},
    "diverged": {"plain": PLAIN, "claimed": [NAN] * 3, "control": [NAN] * 2},
    "gone": {"plain": PLAIN, "of old": PLAIN},
    "zeros": {"plain": [0.0, 0.0]},
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
    assert len({(x["color"], x["linestyle"]) for x in looks.values()}) == 12
    assert looks["plain"]["color"] == "#000000"
