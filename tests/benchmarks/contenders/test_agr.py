"""The contenders of AGR are what their descriptions say."""

import functools

import jax
import numpy as np
import optax
import pytest

from benchmarks.contenders import agr
from benchmarks.training import noise
from tests.helpers.agr_runs import (
    COMPOSED,
    DECAY,
    RATE,
    assert_close,
    updates_of,
)


def maker(name, weight_decay=DECAY, **others):
    arguments = agr.METHODS[name].arguments
    return agr.maker(name, weight_decay, **arguments, **others)


@pytest.mark.parametrize("name", agr.METHODS)
def test_method_is_what_its_description_says(name):
    made = updates_of(maker(name)(RATE))
    assert_close(made, updates_of(COMPOSED[name]()))


def test_methods_differ():
    kernels = [
        tuple(np.ravel(updates_of(COMPOSED[name]())[-1]["kernel"]).tolist())
        for name in agr.METHODS
        if name not in ("agr-all+adamw",)  # Differs in the bias alone.
    ]
    assert len(set(kernels)) == len(kernels)
    biases = [
        np.asarray(updates_of(COMPOSED[name]())[-1]["bias"])
        for name in ("agr+adamw", "agr-all+adamw")
    ]
    assert np.any(biases[0] != biases[1])


def test_a_method_is_one_object_and_names_a_baseline():
    for name, method in agr.METHODS.items():
        made = maker(name)
        assert made is maker(name)
        assert made is not maker(name, 2 * DECAY)
        assert method.baseline is None or method.baseline in agr.METHODS
        assert not (method.claimed and method.baseline is None)


def test_noise_stands_in_front_of_every_method():
    key = jax.random.key(3)
    first = functools.partial(noise.student_t_noise, 0.5, 2.0)
    made = maker("agr+adamw", first=first)(RATE)
    expected = optax.chain(first(), COMPOSED["agr+adamw"]())
    noisy = updates_of(made, key=key, value=1.0)
    assert_close(noisy, updates_of(expected, key=key, value=1.0))
    plain = updates_of(COMPOSED["agr+adamw"]())
    assert np.any(np.asarray(noisy[1]["kernel"] != plain[1]["kernel"]))
