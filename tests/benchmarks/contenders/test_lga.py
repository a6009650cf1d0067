"""The contenders of LGA: the optimizers and their wrapping."""

import functools
import math

import numpy as np
import pytest

from benchmarks.contenders import lga
import optaxmods
from tests.helpers.baseline_runs import STEPS, problem, steps_of, trajectory
from tests.oracles.baselines import (
    adadelta,
    adam,
    adamax,
    asgd,
    rmsprop,
    sgd,
)

RATE, GAMMA = 0.01, 1e-3


# PyTorch's, in NumPy: iterates from start, gradients and rate.
ORACLES = {
    "sgd": sgd,
    "momentum": functools.partial(sgd, momentum=0.9),
    "asgd": lambda x, gradients, rate: asgd(x, gradients, rate)[0],
    "rmsprop": rmsprop,
    "adam": adam,
    "adamax": adamax,
    "adadelta": adadelta,
}


def maker(name):
    arguments = lga.METHODS[name].arguments
    return lga.maker(name, GAMMA, STEPS, **arguments)


@pytest.mark.parametrize("name", lga.OPTIMIZERS)
def test_optimizer_is_pytorchs(name):
    start, gradients = problem(20)
    made = maker(name)(RATE)
    actual = [x for x, _ in steps_of(made, start, gradients)]
    expected = list(ORACLES[name](start, gradients, RATE))
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6)


# Each reading's arguments, written out.
READINGS = {
    "lga": {"status_every": STEPS},
    "lga-log": {"status_every": STEPS, "log_base": math.e},
    "lga-first-value": {"status_every": STEPS, "upper_bound": "first_value"},
    "lga-per-step": {
        "status_every": 1,
        "log_base": math.e,
        "upper_bound": "first_value",
    },
    "lga-per-step-log10": {"status_every": 1, "upper_bound": "first_value"},
    "lga-ceiling": {
        "status_every": STEPS,
        "lower_bound": 0.0,
        "upper_bound": None,
        "decay_factor": 1.0,
    },
}


@pytest.mark.parametrize("name", [name for name in lga.METHODS if "+" in name])
def test_method_is_its_reading_around_its_optimizer(name):
    reading, last = name.split("+")
    plain = maker(last)(RATE)
    expected = optaxmods.with_lga(plain, GAMMA, **READINGS[reading])
    actual = trajectory(maker(name)(RATE))
    np.testing.assert_array_equal(actual, trajectory(expected))
    assert np.any(actual != trajectory(plain))


def test_readings_differ():
    ends = [
        trajectory(maker(f"{reading}+sgd")(RATE))[-1] for reading in READINGS
    ]
    assert len({tuple(end.tolist()) for end in ends}) == len(READINGS)


def test_methods_name_their_baselines_and_claims():
    methods = lga.METHODS
    # SGD alone has the readings beside the first.
    assert len(methods) == 2 * 7 + len(READINGS) - 1
    for name, method in methods.items():
        *prefix, last = name.split("+")
        assert method.baseline == (last if prefix else None)
        assert method.claimed == (
            bool(prefix) and last != "adam" and prefix != ["lga-ceiling"]
        )
