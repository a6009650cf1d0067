"""Averaged SGD against its formula."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.contenders.averaged_sgd import averaged_params, averaged_sgd
import optaxmods
from tests.helpers.baseline_runs import problem, steps_of
from tests.oracles.baselines import asgd


@pytest.mark.parametrize("rate", [0.1, 3.0])
@pytest.mark.parametrize("begin", [0, 5, 1e6])
def test_averaged_sgd_follows_its_formula(rate, begin):
    settings = {"decay": 0.01, "power": 0.6, "start": begin}
    start, gradients = problem(30)
    iterates, averages = asgd(start, gradients, rate, **settings)
    optimizer = averaged_sgd(rate, **settings)
    for step, (params, state) in enumerate(
        steps_of(optimizer, start, gradients)
    ):
        average = averaged_params(state, params)
        close = functools.partial(
            np.testing.assert_allclose, rtol=1e-4, atol=1e-4
        )
        close(params, iterates[step])
        close(average, averages[step])
        if step < begin + 2:
            np.testing.assert_allclose(average, params, rtol=1e-6, atol=1e-6)
    assert (np.abs(averages[-1] - iterates[-1]).max() > 0.1) == (begin < 30)


def test_averaged_sgd_averages_what_lga_has_moved():
    start, gradients = problem(12)
    optimizer = optaxmods.with_lga(
        averaged_sgd(0.1, start=0), 0.01, status_every=5
    )
    iterates = []
    for params, state in steps_of(optimizer, start, gradients):
        iterates.append(params)
        average = averaged_params(state.inner_state, params)
    # The first one is averaged over at the second step.
    np.testing.assert_allclose(average, np.mean(iterates[1:], 0), rtol=1e-4)


def test_averaged_sgd_needs_params():
    optimizer = averaged_sgd(0.1)
    ones = jnp.ones(2)
    with pytest.raises(ValueError, match="needs the params"):
        optimizer.update(ones, optimizer.init(ones))
