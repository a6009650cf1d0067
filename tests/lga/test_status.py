"""LGA's status where a run was resumed with other windows, or losses are huge.

A float64 oracle keeps the windows as whole lists.
"""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax.tree
import pytest

import optaxmods
from tests import oracles
from tests.helpers.lga_runs import SCALARS

LARGEST = float(np.finfo(np.float32).max)
LOWER_BOUNDS = ("ema", "average", "momentum", 0.5, -3e38, 3e38)
UPPER_BOUNDS = ("first_window", "first_value", None)
every_lower_bound = pytest.mark.parametrize("lower_bound", LOWER_BOUNDS)
every_upper_bound = pytest.mark.parametrize("upper_bound", UPPER_BOUNDS)
GRADIENT = np.array([0.3, 0.0, -2.0], np.float32)


def advance(tx, state, losses):
    """The state after the losses, and the scalars and updates of each step."""

    def step(state, loss):
        updates, state = tx.update(jnp.asarray(GRADIENT), state, value=loss)
        seen = [optax.tree.get(state, name) for name in SCALARS]
        return state, (jnp.stack(seen), updates)

    return jax.lax.scan(step, state, losses)


def oracle(losses, status_every, **arguments):
    terms = oracles.lga.terms(
        [np.ones(1)] * len(losses), losses, 0.7, status_every, **arguments
    )
    return np.array([scalars for _, *scalars in terms])


def restored(state):
    """As a checkpoint gives it back."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), state)


@pytest.mark.parametrize(
    ("every", "then", "at"),
    [
        (100, 40, 150),  # 50 losses are more than a window of 40.
        (100, 50, 150),  # Just as many.
        (100, 51, 150),  # One is missing.
        (100, 1, 199),
        (7, 3, 6),  # No window was complete.
        (40, 100, 150),
        (40, 100, 160),  # None is open.
        (1, 60, 20),
    ],
)
@every_lower_bound
def test_resumed_with_other_windows(every, then, at, lower_bound):
    steps = at + 250
    noise = np.random.default_rng(0).normal(0, 0.2, steps)
    losses = np.float32(3 * 0.99 ** np.arange(steps) + noise)
    arguments = {"lower_bound": lower_bound}
    want = oracle(losses, lambda t: every if t < at else then, **arguments)
    before, after = (
        optaxmods.lga(0.7, status_every=size, **arguments)
        for size in (every, then)
    )
    state, (first, _) = advance(before, before.init(GRADIENT), losses[:at])
    state, (second, _) = advance(after, restored(state), losses[at:])
    got = np.concatenate([first, second])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert state.lga_window_size < then


def test_a_window_past_its_size_waits_for_a_loss_that_is_finite():
    before, after = (optaxmods.lga(0.7, status_every=n) for n in (9, 2))
    losses = np.array([5.0, 4.0, 3.0, np.nan, 2.0], np.float32)
    state, _ = advance(before, before.init(GRADIENT), losses[:3])
    state, _ = advance(after, state, losses[3:4])
    assert (state.lga_windows, state.lga_window_size) == (0, 3)
    state, _ = advance(after, state, losses[4:])
    assert (state.lga_windows, state.lga_window_size) == (1, 0)
    np.testing.assert_allclose(state.lga_last_mean, 3.5)


@pytest.mark.parametrize(
    ("before", "after"), list(itertools.permutations(UPPER_BOUNDS, 2))
)
def test_resumed_with_another_upper_bound(before, after):
    losses = np.array([5.0, 3.0, 4.0, 2.0, 3.0, 1.0], np.float32)
    first, second = (
        optaxmods.lga(0.7, status_every=2, upper_bound=bound)
        for bound in (before, after)
    )
    state, _ = advance(first, first.init(GRADIENT), losses[:4])
    known = {"first_window": 4.0, "first_value": 5.0, None: LARGEST}[before]
    assert state.lga_upper_bound == known
    state, _ = advance(second, restored(state), losses[4:])
    # A bound that is known stays, an unknown one is the next that comes.
    fresh = {"first_window": 2.0, "first_value": 3.0}
    want = LARGEST if after is None else fresh[after]
    if after is not None and before is not None:
        want = known
    assert state.lga_upper_bound == want


EXTREMES = (0.0, 1.0, -2.5, 1e-30, 1e30, 3e38, -3e38, LARGEST, -LARGEST)


@every_upper_bound
@every_lower_bound
@pytest.mark.parametrize(
    ("status_every", "omega_loss"), [(2, "step"), (3, "window")]
)
def test_any_finite_losses(status_every, lower_bound, upper_bound, omega_loss):
    arguments = {
        "lower_bound": lower_bound,
        "upper_bound": upper_bound,
        "omega_loss": omega_loss,
    }
    tx = optaxmods.lga(0.7, status_every=status_every, **arguments)
    pairs = np.array(list(itertools.product(EXTREMES, repeat=2)), np.float32)
    # Windows of two are equal, to the bit; those of three are not. Then quiet.
    quiet = np.full((len(pairs), 3), 1.5, np.float32)
    losses = np.concatenate([pairs, pairs, pairs, quiet], axis=1)
    run = functools.partial(advance, tx, tx.init(GRADIENT))
    state, (scalars, updates) = jax.jit(jax.vmap(run))(jnp.asarray(losses))
    chex.assert_tree_all_finite(state._replace(lga_upper_bound=0.0))
    assert not np.isnan(updates).any()
    np.testing.assert_array_equal(updates[..., 1], 0.0)
    for got, of_pair in zip(np.float64(scalars), losses, strict=True):
        want = oracle(np.float64(of_pair), status_every, **arguments)
        want[:, :3] = np.clip(want[:, :3], -LARGEST, LARGEST)
        size = np.abs(of_pair).max()
        if not isinstance(lower_bound, str):
            size = max(size, abs(lower_bound))
        np.testing.assert_allclose(got[:, 0], want[:, 0], rtol=1e-6)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * size)


@pytest.mark.usefixtures("x64")
@every_upper_bound
@pytest.mark.parametrize("lower_bound", LOWER_BOUNDS[:3])
def test_losses_beyond_float32_are_no_losses(lower_bound, upper_bound):
    arguments = {"lower_bound": lower_bound, "upper_bound": upper_bound}
    tx = optaxmods.lga(0.7, status_every=2, **arguments)
    losses = np.array([1e300, 3.0, -1e300, 2.0, 1e39, 1.0, 1.0, 2.5])
    state, (scalars, updates) = advance(tx, tx.init(GRADIENT), losses)
    chex.assert_tree_all_finite((state._replace(lga_upper_bound=0.0), updates))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {
        "float32",
        "int32",
    }
    bad = np.abs(losses) > LARGEST
    want = oracle(np.where(bad, np.nan, losses), 2, **arguments)
    np.testing.assert_allclose(scalars, want, rtol=1e-5)
    np.testing.assert_array_equal(updates[bad], [GRADIENT] * 3)
