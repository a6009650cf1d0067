"""Lookahead against its formula."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.contenders.lookahead import lookahead
from tests.helpers.baseline_runs import iterates, problem_of_sizes
from tests.oracles.baselines import around_sgd


@pytest.mark.parametrize(("period", "part"), [(1, 0.3), (3, 0.8), (4, 1.0)])
def test_lookahead_follows_its_formula(period, part, x64):
    start, gradients = problem_of_sizes(13)
    optimizer = lookahead(optax.sgd(0.1), period, part)
    actual = list(iterates(optimizer, start, gradients))
    expected = list(around_sgd(start, gradients, 0.1, period, part))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_lookahead_needs_params():
    optimizer = lookahead(optax.sgd(0.1))
    with pytest.raises(ValueError, match="needs the params"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
