"""AdaBound against its formula."""

import numpy as np
import pytest

from benchmarks.contenders.adabound import adabound
from tests.helpers.baseline_runs import iterates, problem_of_sizes
from tests.oracles.baselines import bounded


@pytest.mark.parametrize(
    ("rate", "final", "gamma"), [(1e-3, 0.1, 1e-3), (0.01, 0.02, 0.3)]
)
def test_adabound_follows_its_formula(rate, final, gamma, x64):
    start, gradients = problem_of_sizes(40)
    clipped = []
    expected = list(bounded(start, gradients, rate, final, gamma, clipped))
    optimizer = adabound(rate, final, gamma)
    actual = list(iterates(optimizer, start, gradients))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
    if gamma > 0.1:  # Else the bounds are still far apart.
        assert set(np.ravel(clipped)) == {-1, 0, 1}
