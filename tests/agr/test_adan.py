"""Which difference Adan with AGR takes, and where a step climbs by it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests.helpers.trajectories import make_gradients

pytestmark = pytest.mark.usual_compilation


def run_away(alpha, steps=300, **arguments):
    """What a constant gradient with one coefficient has made of that entry."""
    # Two entries, of which the first holds alpha of the absolute sum.
    gradient = jnp.array([[alpha, 1 - alpha]])
    tx = optaxmods.adan_agr(0.01, **arguments)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = jnp.zeros((1, 2)), tx.init(gradient)
    (params, _), _ = jax.jit(
        lambda start: jax.lax.scan(step, start, None, steps)
    )(start)
    return float(params[0, 0])


@pytest.mark.parametrize("alpha", [0.5, 0.55, 0.9, 0.99])
def test_the_printed_difference_climbs_above_its_bound(alpha):
    # The gradient is positive: downhill is below 0. Adan's bias-corrected v of
    # a constant difference is that difference, but for the first step's 0.
    assert run_away(alpha) < 0
    is_uphill = run_away(alpha, difference="printed") > 0
    assert is_uphill == (alpha > 1 / (1 + 0.92))
    # Half the strength and half the coefficient hold it below the bound.
    assert run_away(alpha, difference="printed", strength=0.5) < 0
    assert run_away(alpha, difference="printed", max_alpha=0.5) < 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize(
    "strength", [1.0, lambda step: jnp.where(step < 50, 1, 0)]
)
def test_no_step_is_uphill_while_the_gradient_keeps_its_sign(
    seed, chained, strength
):
    # The numerator is a sum of the past Psi(g) with positive weights, whatever
    # the coefficients do in the meantime; the printed one is not.
    generator = np.random.default_rng(seed)
    gradients = jnp.asarray(generator.lognormal(0, 3, (200, 2, 2)), jnp.float32)

    def smallest(tx):
        def step(state, gradient):
            updates, state = tx.update(gradient, state)
            return state, jnp.min(updates)

        state = tx.init(gradients[0])
        return jax.jit(lambda s: jax.lax.scan(step, s, gradients)[1])(
            state
        ).min()

    tx = optaxmods.scale_by_agr_adan(strength=strength)
    if chained:
        tx = optax.chain(optaxmods.agr(strength), optaxmods.scale_by_adan())
    assert smallest(tx) >= -1e-6
    assert smallest(optaxmods.scale_by_agr_adan(difference="printed")) < -0.1


@pytest.mark.parametrize(
    ("difference", "size"),
    # Minus alpha g, 2 for the largest entry, in three of four steps.
    [("regularized", 0.0), ("printed", 2 * (1 - 0.92**3))],
)
def test_a_constant_gradient_has_no_difference(difference, size):
    tx = optaxmods.scale_by_agr_adan(difference=difference)
    gradient = jnp.array([[3.0, -1.0], [0.5, 0.0]])
    state = tx.init(gradient)
    for _ in range(4):
        _, state = jax.jit(tx.update)(gradient, state)
    largest = np.abs(np.asarray(state.v)).max()
    np.testing.assert_allclose(largest, size, rtol=1e-5, atol=1e-7)


def suspended(step):
    return jnp.where(step < 50, 1.0, 0.0)


@pytest.mark.parametrize(
    "tx",
    [
        optaxmods.scale_by_agr_adan(strength=suspended),
        optax.inject_hyperparams(optaxmods.scale_by_agr_adan)(
            strength=suspended
        ),
        optax.inject_hyperparams(optaxmods.scale_by_agr_adan)(
            max_alpha=suspended
        ),
    ],
    ids=["scheduled", "injected strength", "injected max_alpha"],
)
def test_no_step_is_uphill_where_agr_is_suspended(tx):
    # A lone entry; its gradient falls to a tenth where AGR ends.
    gradients = (
        jnp.zeros((100, 2, 2))
        .at[:, 0, 0]
        .set(jnp.where(jnp.arange(100) < 50, 10.0, 1.0))
    )

    def step(state, gradient):
        updates, state = tx.update(gradient, state)
        return state, updates[0, 0]

    state = tx.init(gradients[0])
    _, steps = jax.jit(lambda s: jax.lax.scan(step, s, gradients))(state)
    assert (steps[:50] == 0).all()
    assert (steps[50:] > 0).all()


@pytest.mark.parametrize("difference", ["regularized", "printed"])
def test_a_run_changes_between_the_differences(difference):
    # The state keeps the raw gradient for both.
    gradients = [jnp.asarray(g, jnp.float32) for g in make_gradients(3)]
    tx = optaxmods.scale_by_agr_adan(difference=difference)
    state = tx.init(gradients[0])
    for gradient in gradients:
        _, state = tx.update(gradient, state)
        np.testing.assert_array_equal(state.g, gradient)
