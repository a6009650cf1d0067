"""When not to use LGA: where its own rule climbs, or does nothing.

Each test is a sentence of that section of docs/lga.rst.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest

from optaxmods import lga, with_lga

TARGET = jnp.array([[4.0, -3.0], [1.5, 2.0]])
RATE, EVERY = 1e-3, 100


def distance(params):
    return jnp.sum((params - TARGET) ** 2)


def descend(tx, objective=distance, steps=3000, start=None):
    """The losses, Omegas and gammas of all steps, and where they end."""
    start = jnp.zeros_like(TARGET) if start is None else start

    def step(carry, _):
        params, state = carry
        loss, grads = jax.value_and_grad(objective)(params)
        updates, state = tx.update(grads, state, params, value=loss)
        seen = [optax.tree.get(state, f"lga_{n}") for n in ("omega", "gamma")]
        carry = optax.apply_updates(params, updates), state
        return carry, (loss, *seen)

    carry = start, tx.init(start)
    (params, _), seen = jax.jit(
        lambda carry: jax.lax.scan(step, carry, length=steps)
    )(carry)
    return params, *map(np.asarray, seen)


FORMS = {
    "around sgd": functools.partial(with_lga, optax.sgd(RATE)),
    "around adamw": functools.partial(with_lga, optax.adamw(RATE)),
    "before sgd": lambda gamma, **others: optax.chain(
        lga(gamma / RATE, **others), optax.sgd(RATE)
    ),
    "before adamw": lambda gamma, **others: optax.chain(
        lga(gamma / RATE, **others), optax.adamw(RATE)
    ),
}
every_form = pytest.mark.parametrize("form", FORMS)


@every_form
def test_a_small_push_arrives(form):
    # gamma f_0 / xi is a ten-thousandth of the way in a step.
    tx = FORMS[form](1e-7, status_every=EVERY)
    _, losses, omegas, _ = descend(tx, steps=20_000)
    assert losses[-1] < 1e-3
    assert losses.max() == losses[0]
    assert omegas[0] == losses[0]
    assert omegas[-1] == 0


def test_a_push_that_is_longer_than_the_way_climbs():
    # One entry has arrived, the others are 5 away: gamma f_0 / xi is 75.
    start = TARGET + jnp.array([[5.0, 5.0], [5.0, 1e-4]])
    around = functools.partial(with_lga, optax.sgd(RATE), 1e-2)
    tx = around(status_every=EVERY)
    _, losses, omegas, _ = descend(tx, steps=2, start=start)
    assert losses[1] > 50 * losses[0]
    # Nothing bounds the first window, where Omega is the loss itself.
    np.testing.assert_array_equal(omegas, losses)
    # The printed bound lets no loss above the first one push.
    bounded = around(status_every=EVERY, upper_bound="first_value")
    _, losses, omegas, _ = descend(bounded, steps=2, start=start)
    assert losses[1] > 50 * losses[0]
    np.testing.assert_array_equal(omegas, [losses[0], 0.0])


@every_form
def test_a_negative_loss_is_never_pushed(form):
    # Such as a log-likelihood of densities; E starts at 0, above it.
    tx = FORMS[form](1e-5, status_every=EVERY)
    *_, omegas, _ = descend(tx, lambda params: distance(params) - 40)
    assert omegas.max() == 0
    known = FORMS[form](1e-5, status_every=EVERY, lower_bound=-40.0)
    *_, omegas, _ = descend(known, lambda params: distance(params) - 40)
    assert omegas.max() > 30


@every_form
def test_a_loss_within_eps_is_never_pushed(form):
    scaled = lambda params: distance(params) / 400  # noqa: E731
    tx = FORMS[form](1e-5, status_every=EVERY)
    _, losses, omegas, _ = descend(tx, scaled)
    assert losses[0] < 0.1
    assert omegas.max() == 0
    *_, omegas, _ = descend(
        FORMS[form](1e-5, status_every=EVERY, eps=0), scaled
    )
    assert omegas.max() > 0


def test_a_learning_rate_of_0_stops_the_push_before_but_not_around():
    gradient = jnp.ones(2)
    still = optax.sgd(0.0)
    around = with_lga(still, 1e-3, status_every=EVERY)
    updates, _ = around.update(gradient, around.init(gradient), value=2.0)
    np.testing.assert_allclose(updates, -2e-3 / 1.01, rtol=1e-5)
    before = optax.chain(lga(1e-3, status_every=EVERY), still)
    updates, _ = before.update(gradient, before.init(gradient), value=2.0)
    np.testing.assert_array_equal(updates, 0.0)


def test_around_an_ascent_it_descends():
    gradient = jnp.ones(2)
    ascent = optax.chain(optax.scale(-1.0), optax.sgd(RATE))
    around = with_lga(ascent, 1.0, status_every=EVERY)
    updates, _ = around.update(gradient, around.init(gradient), value=2.0)
    assert updates.max() < -1
    before = optax.chain(
        optax.scale(-1.0), lga(1.0, status_every=EVERY), optax.sgd(RATE)
    )
    updates, _ = before.update(gradient, before.init(gradient), value=2.0)
    assert updates.min() > RATE


def pushes_of(losses, **arguments):
    tx = lga(1.0, status_every=EVERY, **arguments)
    gradient = jnp.ones(1)

    def step(state, loss):
        _, state = tx.update(gradient, state, value=loss)
        return state, (state.lga_omega, state.lga_gamma)

    _, seen = jax.lax.scan(step, tx.init(gradient), jnp.asarray(losses))
    return map(np.asarray, seen)


def test_a_noisy_loss_is_pushed_where_it_can_fall_no_further():
    # A loss of 2 that is labels' noise: E has arrived, the batches go on.
    noise = np.random.default_rng(0).normal(0, 0.4, 60 * EVERY)
    losses = np.float32(2 + noise)
    omegas, _ = pushes_of(losses, upper_bound=None, decay_factor=1.0)
    late = omegas[-20 * EVERY :]
    assert 0.3 < np.mean(late > 0) < 0.5
    omegas, _ = pushes_of(
        losses, upper_bound=None, decay_factor=1.0, omega_loss="window"
    )
    assert np.mean(omegas[-20 * EVERY :] > 0) < 0.05


def test_a_loss_that_has_risen_switches_it_off_for_good():
    # Harder data after a while: a curriculum, a second task, a new policy.
    losses = np.repeat(np.float32([2.0, 1.5, 3.0, 2.9, 2.8, 2.5]), EVERY)
    omegas, gammas = pushes_of(losses)
    assert omegas[2 * EVERY :].max() == 0
    np.testing.assert_allclose(gammas[[0, 3 * EVERY]], [1.0, 0.1], rtol=1e-6)
    omegas, gammas = pushes_of(losses, upper_bound=None, gamma_min=0.5)
    assert omegas[2 * EVERY : 3 * EVERY].min() > 1
    assert gammas[-1] == 0.5
