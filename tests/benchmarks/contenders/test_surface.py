"""The contenders on the surface: optimizers and noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.contenders import surface
from benchmarks.studies import gal_surface
from tests.helpers.baseline_runs import iterates, problem_of_sizes
from tests.oracles.baselines import adam, around_sgd, bounded, rmsprop, sgd

ORACLES = {
    "gd": sgd,
    "rmsprop": functools.partial(rmsprop, eps=0.1),
    "adam": functools.partial(adam, b1=0.8, eps=0.1),
    "lookahead": around_sgd,
    "adabound": bounded,
}


def test_the_optimizers_are_those_of_the_oracles():
    assert set(ORACLES) == set(surface.OPTIMIZERS)


@pytest.mark.parametrize("name", ORACLES)
def test_optimizer_follows_its_formula(name, x64):
    start, gradients = problem_of_sizes(23)
    (arguments,) = [
        settings.get("arguments", {})
        for settings in gal_surface.VARIANTS.values()
        if settings["optimizer"] == name
    ]
    optimizer = surface.optimizer(name, **arguments)(0.3)
    actual = list(iterates(optimizer, start, gradients))
    expected = list(ORACLES[name](start, gradients, 0.3))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_noise_is_of_table_vi():
    networks = [
        surface.noise_network(**surface.METHODS[name].arguments)
        for name in ("uniform", "normal")
    ]
    uniform, normal = (
        np.asarray(draw({}, jnp.zeros(4000), jax.random.key(0)))
        for _, draw in networks
    )
    assert -1 <= uniform.min() < -0.99 < 0.99 < uniform.max() <= 1
    np.testing.assert_allclose(
        [uniform.mean(), normal.mean(), normal.std()], [0, 0, 1], atol=0.05
    )
