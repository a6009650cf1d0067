"""Algorithm 2 against the oracle, and against optax where they must agree."""

import chex
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest
import reference
from trajectories import (
    assert_same,
    make_complex_gradients,
    make_gradients,
    make_theta,
    run,
)
from transformations import make_updates

import optaxmods

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
    want = reference.adamw_agr(theta, gradients, 0.1, **arguments)
    assert_same(run(tx, theta, gradients), want)


@pytest.mark.usefixtures("x64")
def test_learning_rate_schedule_and_vectors():
    schedule = optax.linear_schedule(0.1, 0.0, 5)
    theta, gradients = make_theta((5,)), make_gradients(6, (5,))
    want = reference.adamw_agr(theta, gradients, schedule, is_matrix=False)
    got = run(optaxmods.adamw_agr(schedule), theta, gradients)
    assert_same(got, want, 1e-6)


@pytest.mark.usefixtures("x64")
def test_the_chain_feeds_both_moments():
    theta, gradients = make_theta(), make_gradients(6)
    regularized = [reference.psi(g) for g in gradients]
    chained = optax.chain(optaxmods.agr(), optax.adamw(0.1))
    want = reference.adamw_agr(theta, regularized, 0.1, strength=0.0)
    assert_same(run(chained, theta, gradients), want)
    # Which is not Algorithm 2.
    algorithm_2 = run(optaxmods.adamw_agr(0.1), theta, gradients)
    assert np.abs(algorithm_2[-1] - want[-1]).max() > 1e-3


@pytest.mark.parametrize(
    ("dtype", "params_dtype", "mu_dtype"),
    [
        ("float16", "float16", None),
        ("bfloat16", "bfloat16", None),
        ("float32", "float32", None),
        ("float32", "float32", "bfloat16"),
        ("bfloat16", "float32", None),
        ("float16", "float32", None),
        ("float32", "bfloat16", None),
    ],
)
@pytest.mark.parametrize("nesterov", [False, True])
def test_strength_0_is_optax_adamw_to_the_bit(
    dtype, params_dtype, nesterov, mu_dtype
):
    arguments = {"nesterov": nesterov, "mu_dtype": mu_dtype}
    ours = optaxmods.adamw_agr(1e-2, strength=0, **arguments)
    theirs = optax.adamw(1e-2, **arguments)
    params = {"w": jnp.ones((3, 4)), "b": jnp.ones(3)}
    params = optax.tree.cast(params, params_dtype)
    states = ours.init(params), theirs.init(params)
    chex.assert_trees_all_equal(*states)
    for seed in range(3):
        updates = make_updates(optax.tree.cast(params, dtype), seed)
        a, state_a = ours.update(updates, states[0], params)
        b, state_b = theirs.update(updates, states[1], params)
        chex.assert_trees_all_equal(a, b)
        chex.assert_trees_all_equal_dtypes(a, b)
        # Optax's first moment takes the gradients' dtype where it is wider.
        chex.assert_trees_all_equal(
            state_a, optax.tree.cast_like(state_b, state_a)
        )
        states = state_a, optax.tree.cast_like(state_b, state_a)


def test_a_checkpoint_of_adamw_goes_on_with_agr():
    params = {"w": jnp.ones((3, 4))}
    state = optax.adamw(1e-2).init(params)
    _, state = optax.adamw(1e-2).update(params, state, params)
    _, resumed = optaxmods.adamw_agr(1e-2).update(params, state, params)
    chex.assert_trees_all_equal_structs(state, resumed)


@pytest.mark.usefixtures("x64")
def test_complex_gradients():
    theta, gradients = make_theta() * (1 - 2j), make_complex_gradients(6)
    want = reference.adamw_agr(theta, gradients, 0.1)
    got = run(optaxmods.adamw_agr(0.1), theta, gradients, "complex128")
    assert_same(got, want)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_moments_are_rounded_as_optax_rounds_them(dtype):
    # Vectors see plain AdamW, in a program that holds the operator.
    params = {"w": jnp.ones((3, 4), dtype), "b": jnp.ones(50, dtype)}
    updates = make_updates(params, 1)
    ours, theirs = optaxmods.adamw_agr(1e-2), optax.adamw(1e-2)
    states = ours.init(params), theirs.init(params)
    for _ in range(3):
        a, state_a = ours.update(updates, states[0], params)
        b, state_b = theirs.update(updates, states[1], params)
        chex.assert_trees_all_equal(a["b"], b["b"])
        chex.assert_trees_all_equal(state_a[0].mu["b"], state_b[0].mu["b"])
        states = state_a, state_b


def test_psi_enters_the_moment_in_float32():
    # Rounded to bfloat16 first, 1 - 1 / 600 would be 1.
    gradient = jnp.ones((20, 30), jnp.bfloat16)
    tx = optaxmods.scale_by_agr_adam(b1=0.0, mu_dtype=jnp.float32)
    _, state = tx.update(gradient, tx.init(gradient))
    np.testing.assert_allclose(state.mu, 1 - 1 / 600, rtol=1e-6)


def test_mu_dtype_and_state_dtypes_are_kept():
    params = {"w": jnp.ones((3, 4), jnp.bfloat16), "b": jnp.ones(3)}
    tx = optaxmods.scale_by_agr_adam(mu_dtype="float32")
    state = tx.init(params)
    _, after = tx.update(params, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert after.mu["w"].dtype == jnp.float32
    assert after.nu["w"].dtype == jnp.bfloat16


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
