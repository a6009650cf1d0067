"""Sign descent on top of an optimizer."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.contenders import lga
from benchmarks.contenders.sign_descent import with_sign_descent

GRADIENT = np.array([3.0, -1e-9, 0.0, -0.5])


def moves(optimizer, count):
    """Returns the updates of steps that all have the same gradient."""
    gradient = {"x": jnp.asarray(GRADIENT, jnp.float32)}
    state, seen = optimizer.init(gradient), []
    for _ in range(count):
        updates, state = optimizer.update(gradient, state, gradient, value=1.0)
        seen.append(np.asarray(updates["x"]))
    return seen


@pytest.mark.parametrize("steps", [None, 4])
def test_entries_move_by_the_size_on_top_of_the_optimizers_step(steps):
    sizes = [0.2] * 5 if steps is None else [0.2, 0.15, 0.1, 0.05, 0.0]
    found = moves(with_sign_descent(optax.sgd(0.1), 0.2, steps), 5)
    for moved, size in zip(found, sizes, strict=True):
        expected = -0.1 * GRADIENT - size * np.sign(GRADIENT)
        np.testing.assert_allclose(moved, expected, rtol=1e-5, atol=1e-7)


def test_past_its_end_it_is_the_optimizer_alone():
    last = moves(with_sign_descent(optax.sgd(0.1), 0.2, 2), 4)[-1]
    np.testing.assert_allclose(last, -0.1 * GRADIENT, rtol=1e-6)


@pytest.mark.parametrize("falls", [True, False])
def test_the_rate_s_factors_are_not_its(falls):
    def none():
        return optax.scale(0.0)

    make = lga.maker(
        "sign-0.2+sgd",
        0.0,
        3,
        factors=none,
        sign={"size": 0.2, "falls": falls},
        steps=4,
    )
    second = moves(make(0.1), 2)[-1]
    size = 0.15 if falls else 0.2
    np.testing.assert_allclose(second, -size * np.sign(GRADIENT), rtol=1e-5)
