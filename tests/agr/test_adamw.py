"""Algorithm 2 against the oracle, and against optax where they must agree."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest

import optaxmods
from tests import oracles
from tests.helpers.trajectories import (
    assert_same,
    make_complex_gradients,
    make_gradients,
    make_theta,
    run,
)
from tests.helpers.transformations import make_updates

pytestmark = pytest.mark.usual_compilation


def half_then_off(step):
    return jnp.where(step < 3, 0.5, 0.0)


SETTINGS = {
    "defaults": {},
    "large decay": {"weight_decay": 0.3},
    "betas": {"b1": 0.5, "b2": 0.7, "eps": 1e-3},
    "eps_root": {"eps_root": 1e-2},
    "nesterov": {"nesterov": True},
    "half strength": {"strength": 0.5},
    "no strength": {"strength": 0.0},
    "scheduled strength": {"strength": half_then_off},
    "capped": {"max_alpha": 0.25},
    "capped, half strength": {"max_alpha": 0.25, "strength": 0.5},
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("setting", SETTINGS)
def test_algorithm_2(setting):
    theta, gradients = make_theta(), make_gradients(8)
    arguments = SETTINGS[setting]
    tx = optaxmods.adamw_agr(0.1, **arguments)
    want = oracles.agr.adamw_agr(theta, gradients, 0.1, **arguments)
    assert_same(run(tx, theta, gradients), want)


@pytest.mark.usefixtures("x64")
def test_learning_rate_schedule_and_vectors():
    schedule = optax.linear_schedule(0.1, 0.0, 5)
    theta, gradients = make_theta((5,)), make_gradients(6, (5,))
    want = oracles.agr.adamw_agr(theta, gradients, schedule, is_matrix=False)
    got = run(optaxmods.adamw_agr(schedule), theta, gradients)
    assert_same(got, want, 1e-6)


@pytest.mark.usefixtures("x64")
def test_the_chain_feeds_both_moments():
    theta, gradients = make_theta(), make_gradients(6)
    regularized = [oracles.agr.psi(g) for g in gradients]
    chained = optax.chain(optaxmods.agr(), optax.adamw(0.1))
    want = oracles.agr.adamw_agr(theta, regularized, 0.1, strength=0.0)
    assert_same(run(chained, theta, gradients), want)
    # Which is not Algorithm 2.
    algorithm_2 = run(optaxmods.adamw_agr(0.1), theta, gradients)
    assert np.abs(algorithm_2[-1] - want[-1]).max() > 1e-3


@pytest.mark.parametrize("nesterov", [False, True])
def test_strength_0_is_optax_adamw_to_the_bit(nesterov):
    ours = optaxmods.adamw_agr(1e-2, strength=0, nesterov=nesterov)
    theirs = optax.adamw(1e-2, nesterov=nesterov)
    params = {"w": jnp.ones((3, 4)), "b": jnp.ones(3)}
    states = ours.init(params), theirs.init(params)
    chex.assert_trees_all_equal(*states)
    for seed in range(3):
        updates = make_updates(params, seed)
        a, state_a = ours.update(updates, states[0], params)
        b, state_b = theirs.update(updates, states[1], params)
        chex.assert_trees_all_equal(a, b)
        chex.assert_trees_all_equal(state_a, state_b)
        states = state_a, state_b


@pytest.mark.parametrize(
    ("dtype", "params_dtype", "kept"),
    [
        ("float16", "float16", {}),
        ("bfloat16", "bfloat16", {}),
        ("bfloat16", "float32", {}),
        ("float32", "bfloat16", {}),
        ("float32", "float32", {"mu_dtype": "bfloat16"}),
        ("float16", "float32", {"mu_dtype": "float16", "nu_dtype": "bfloat16"}),
        ("bfloat16", "bfloat16", {"mu_dtype": "float32"}),
    ],
)
@pytest.mark.parametrize("nesterov", [False, True])
def test_narrow_moments_are_optax_s_in_float32(
    dtype, params_dtype, kept, nesterov
):
    # Rounded once, to the dtype in which they are kept. Vectors see plain
    # Adam, in a program that holds the operator.
    ours = optaxmods.scale_by_agr_adam(nesterov=nesterov, **kept)
    theirs = optax.scale_by_adam(nesterov=nesterov)
    params = optax.tree.cast({"w": jnp.ones((3, 4)), "b": jnp.ones(50)}, dtype)
    state = ours.init(optax.tree.cast(params, params_dtype))
    for seed in range(3):
        updates = make_updates(params, seed)
        wide = optax.tree.cast((updates, state), jnp.float32)
        got, after = ours.update(updates, state)
        want, wanted = theirs.update(wide[0], wide[1]._replace(count=state[0]))
        chex.assert_trees_all_equal_dtypes((got, after), (updates, state))
        for mine, optax_s in ((got, want), (after.mu, wanted.mu)):
            np.testing.assert_array_equal(
                mine["b"], optax_s["b"].astype(mine["b"].dtype)
            )
        nu = jax.tree.map(
            lambda n, kept: n.astype(kept.dtype), wanted.nu, after.nu
        )
        chex.assert_trees_all_equal(after.nu, nu)
        state = after


def test_a_checkpoint_of_adamw_goes_on_with_agr_and_back():
    params = {"w": jnp.ones((3, 4))}
    plain, ours = optax.adamw(1e-2), optaxmods.adamw_agr(1e-2)
    _, state = plain.update(params, plain.init(params), params)
    _, resumed = ours.update(params, state, params)
    _, back = plain.update(params, resumed, params)
    for after in (resumed, back):
        chex.assert_trees_all_equal_structs(state, after)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


@pytest.mark.usefixtures("x64")
def test_complex_gradients():
    theta, gradients = make_theta() * (1 - 2j), make_complex_gradients(6)
    want = oracles.agr.adamw_agr(theta, gradients, 0.1)
    got = run(optaxmods.adamw_agr(0.1), theta, gradients, "complex128")
    assert_same(got, want)


def test_psi_enters_the_moment_in_float32():
    # Rounded to bfloat16 first, 1 - 1 / 600 would be 1.
    gradient = jnp.ones((20, 30), jnp.bfloat16)
    tx = optaxmods.scale_by_agr_adam(b1=0.0, mu_dtype=jnp.float32)
    _, state = tx.update(gradient, tx.init(gradient))
    np.testing.assert_allclose(state.mu, 1 - 1 / 600, rtol=1e-6)


def test_mu_dtype_and_state_dtypes_are_kept():
    params = {"w": jnp.ones((3, 4), jnp.bfloat16), "b": jnp.ones(3)}
    tx = optaxmods.scale_by_agr_adam(mu_dtype="float16", nu_dtype="bfloat16")
    state = tx.init(params)
    _, after = tx.update(params, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert {leaf.dtype for leaf in after.mu.values()} == {jnp.float16.dtype}
    assert {leaf.dtype for leaf in after.nu.values()} == {jnp.bfloat16.dtype}


def test_a_saturated_count_stays_saturated():
    tx = optaxmods.scale_by_agr_adam(nesterov=True)
    gradient = jnp.ones((2, 2))
    largest = jnp.iinfo(jnp.int32).max
    state = tx.init(gradient)._replace(count=jnp.int32(largest))
    updates, after = tx.update(gradient, state)
    assert after.count == largest
    # 1 - b1**t is 1 by now; one step further the count would be negative and
    # the correction infinite.
    psi = 0.75
    want = (0.9 * 0.1 * psi + 0.1 * psi) / np.sqrt(0.001)
    np.testing.assert_allclose(updates, want, rtol=1e-5)
