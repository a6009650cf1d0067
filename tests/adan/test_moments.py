"""Published Adan and Algorithm 1 against the oracle, with every option."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
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

SETTINGS = {
    "defaults": {},
    "rates": {"b1": 0.5, "b2": 0.8, "b3": 0.6, "eps": 1e-2, "eps_root": 0.1},
    "proximal decay": {"weight_decay": 0.5},
    "decoupled decay": {"weight_decay": 0.5, "proximal": False},
    "scheduled decay": {"weight_decay": lambda step: 0.1 * step},
    "scheduled decoupled decay": {
        "weight_decay": lambda step: 0.1 * step,
        "proximal": False,
    },
    "restart": {"restart": 3},
    "restart predicate": {"restart": lambda count: (count == 2) | (count == 5)},
}


def for_oracle(arguments):
    period = arguments.get("restart")
    if isinstance(period, int):
        return {**arguments, "restart": lambda count: count % period == 0}
    return arguments


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "with_agr",
    [
        None,  # Plain Adan.
        {},
        {"strength": 0.3},
        {"max_alpha": 0.25},
        {"difference": "printed"},
        {"difference": "printed", "strength": 0.3, "max_alpha": 0.25},
    ],
    ids=str,
)
def test_algorithm_1(setting, with_agr):
    theta, gradients = make_theta(), make_gradients(8)
    arguments = SETTINGS[setting]
    if with_agr is None:
        tx = optaxmods.adan(0.1, **arguments)
        oracle = oracles.adan.adan
    else:
        tx = optaxmods.adan_agr(0.1, **arguments, **with_agr)
        oracle = functools.partial(oracles.agr.adan_agr, **with_agr)
    want = oracle(theta, gradients, 0.1, **for_oracle(arguments))
    assert_same(run(tx, theta, gradients), want)


@pytest.mark.usefixtures("x64")
def test_schedules_run_on_over_restarts():
    def rate(step):
        return 0.1 / (1 + step)

    theta, gradients = make_theta(), make_gradients(7)
    arguments = {"weight_decay": 0.5, "strength": lambda step: step / 10}
    tx = optaxmods.adan_agr(rate, **arguments, restart=3)
    want = oracles.agr.adan_agr(
        theta, gradients, rate, **arguments, restart=lambda k: k % 3 == 0
    )
    # An int32 step divided is a float32 strength.
    assert_same(run(tx, theta, gradients), want, 1e-7)


@pytest.mark.usefixtures("x64")
def test_vectors_see_plain_adan():
    theta, gradients = make_theta((5,)), make_gradients(5, (5,))
    want = oracles.adan.adan(theta, gradients, 0.1)
    assert_same(run(optaxmods.adan_agr(0.1), theta, gradients), want)


@pytest.mark.usefixtures("x64")
def test_chain_of_agr_and_adan_regularizes_everything():
    theta, gradients = make_theta(), make_gradients(6)
    regularized = [oracles.agr.psi(g) for g in gradients]
    chained = optax.chain(optaxmods.agr(), optaxmods.adan(0.1))
    want = oracles.adan.adan(theta, regularized, 0.1)
    assert_same(run(chained, theta, gradients), want)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("restart", [None, 2])
@pytest.mark.parametrize("difference", ["regularized", "printed"])
def test_strength_0_is_adan_to_the_bit(dtype, restart, difference):
    params = {"w": jnp.ones((3, 4), dtype), "b": jnp.ones(3, dtype)}
    gradients = [make_updates(params, seed) for seed in range(4)]
    arguments = {"weight_decay": 0.1, "restart": restart}
    number = optaxmods.adan_agr(
        1e-2, strength=0, difference=difference, **arguments
    )
    adan = optaxmods.adan(1e-2, **arguments)
    states = [tx.init(params) for tx in (number, adan)]
    for gradient in gradients:
        results = [
            jax.jit(tx.update)(gradient, state, params)
            for tx, state in zip((number, adan), states, strict=True)
        ]
        states = [state for _, state in results]
        chex.assert_trees_all_equal(*results)


def test_a_schedule_at_0_is_adan_to_rounding():
    # It keeps the operator in the program.
    off = optaxmods.adan_agr(1e-2, strength=lambda step: 0.0 * step)
    gradients = [jnp.asarray(g, jnp.float32) for g in make_gradients(4)]
    theta = make_theta()
    assert_same(
        run(off, theta, gradients, "float32"),
        run(optaxmods.adan(1e-2), theta, gradients, "float32"),
        1e-5,
    )


@pytest.mark.usefixtures("x64")
def test_complex_gradients():
    theta, gradients = make_theta() * (1 - 2j), make_complex_gradients(6)
    tx = optaxmods.adan_agr(0.1, weight_decay=0.5)
    want = oracles.agr.adan_agr(theta, gradients, 0.1, weight_decay=0.5)
    assert_same(run(tx, theta, gradients, "complex128"), want)


def test_saturated_counts_stay_saturated():
    tx = optaxmods.scale_by_agr_adan()
    gradient = jnp.ones((2, 2))
    largest = jnp.int32(jnp.iinfo(jnp.int32).max)
    state = tx.init(gradient)._replace(count=largest, since_restart=largest)
    updates, after = tx.update(gradient, state)
    assert (after.count, after.since_restart) == (largest, largest)
    # 1 - b**k is 1 by now; the difference is that from a zero gradient.
    m, v = 0.02 * 0.75, 0.08 * 0.75
    n = 0.01 * 1.92**2
    want = (m + 0.92 * v) / np.sqrt(n)
    np.testing.assert_allclose(updates, want, rtol=1e-5)


def test_the_difference_is_weighted_by_b2_unlike_in_optax():
    # Two steps, from the published formula by hand; g = 1, then 2.
    tx = optaxmods.scale_by_adan(b1=0.0, b2=0.5, b3=0.0)
    state = tx.init(jnp.zeros(1))
    _, state = tx.update(jnp.array([1.0]), state)
    update, _ = tx.update(jnp.array([2.0]), state)
    v_hat = 0.5 * 1 / (1 - 0.5**2)
    np.testing.assert_allclose(
        update, (2 + 0.5 * v_hat) / (2 + 0.5 * 1), rtol=1e-6
    )
    default = optaxmods.scale_by_adan(b2=0.92), optax.scale_by_adan(b2=0.92)
    gradients = [jnp.array([1.0]), jnp.array([2.0])]
    ours, theirs = (two_updates(tx, gradients) for tx in default)
    assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() > 0.03


def two_updates(tx, gradients):
    state = tx.init(gradients[0])
    _, state = tx.update(gradients[0], state)
    return tx.update(gradients[1], state)[0]


def test_a_restart_forgets_everything_but_the_count():
    tx = optaxmods.scale_by_agr_adan(restart=2)
    gradients = [jnp.asarray(g, jnp.float32) for g in make_gradients(3)]
    state = tx.init(gradients[0])
    for gradient in gradients[:2]:
        _, state = tx.update(gradient, state)
    for moment in (state.m, state.v, state.n):
        np.testing.assert_array_equal(moment, 0.0)
    assert (state.count, state.since_restart) == (2, 0)
    restarted, _ = tx.update(gradients[2], state)
    fresh, _ = tx.update(gradients[2], tx.init(gradients[2]))
    np.testing.assert_array_equal(restarted, fresh)


@pytest.mark.parametrize(
    "restart",
    [0, -3, np.int64(0), True, 2.5, np.float32(2.5), "often", [1, 2]],
)
@pytest.mark.parametrize(
    "factory",
    [optaxmods.scale_by_adan, functools.partial(optaxmods.adan, 1e-3)],
)
def test_a_restart_that_is_no_period(factory, restart):
    with pytest.raises(ValueError, match="restart must be a period"):
        factory(restart=restart)


@pytest.mark.usefixtures("x64")
def test_a_numpy_period():
    theta, gradients = make_theta(), make_gradients(5)
    got = run(optaxmods.adan(0.1, restart=np.int64(2)), theta, gradients)
    want = run(optaxmods.adan(0.1, restart=2), theta, gradients)
    assert_same(got, want, 0)


@pytest.mark.parametrize("returned", [jnp.array([True, False]), None])
def test_a_predicate_that_returns_no_boolean(returned):
    tx = optaxmods.adan(1e-3, restart=lambda count: returned)
    with pytest.raises(ValueError, match="restart is a predicate that must"):
        tx.update(jnp.ones((2, 2)), tx.init(jnp.ones((2, 2))))


def test_leaves_that_are_python_numbers():
    params = {"kernel": jnp.ones((2, 2)), "scale": 2.0}
    tx = optaxmods.adan_agr(0.1, weight_decay=0.5)
    updates, _ = tx.update(params, tx.init(params), params)
    want = oracles.agr.adan_agr(
        2.0, [2.0], 0.1, weight_decay=0.5, is_matrix=False
    )
    np.testing.assert_allclose(updates["scale"], want[0] - 2.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_without_parameters_no_small_step_is_lost(dtype):
    tx = optaxmods.adan(1e-9)
    gradient = jnp.ones((2, 3), dtype)
    updates, _ = tx.update(gradient, tx.init(jnp.ones((2, 3))))
    np.testing.assert_allclose(updates, -1e-9, rtol=0.2)


def test_a_predicate_taken_for_a_schedule():
    def predicate(count):
        return count == 3

    wrong = optax.inject_hyperparams(optaxmods.adan)
    right = optax.inject_hyperparams(optaxmods.adan, static_args="restart")
    params = jnp.ones((2, 2))
    tx = wrong(1e-3, restart=predicate)
    with pytest.raises(ValueError, match="static_args"):
        tx.update(params, tx.init(params), params)
    tx = right(1e-3, restart=predicate)
    tx.update(params, tx.init(params), params)


@pytest.mark.parametrize(
    ("dtype", "rtol"), [("bfloat16", 0.01), ("float32", 1e-5)]
)
def test_the_proximal_step_keeps_its_digits(dtype, rtol):
    # As a difference of old and new theta it has none left in bfloat16 and
    # is off by 2 % in float32.
    theta, gradient = np.full((2, 2), 1.5), np.full((2, 2), 0.25)
    lr, wd = 1e-6, 0.5
    tx = optaxmods.adan(lr, weight_decay=wd)
    params = jnp.asarray(theta, dtype)
    updates, _ = tx.update(
        jnp.asarray(gradient, dtype), tx.init(params), params
    )
    moved = oracles.adan.adan(theta, [gradient], lr, weight_decay=wd)
    np.testing.assert_allclose(
        np.asarray(updates, np.float64), moved[0] - theta, rtol=rtol
    )


def test_decay_is_formed_in_the_wider_dtype():
    # In bfloat16, 0.3 * 1.0078125 would be rounded by 0.4 %.
    params = jnp.full((2, 2), 1.0078125, jnp.bfloat16)
    tx = optaxmods.adan(1.0, weight_decay=0.3)
    zero = jnp.zeros((2, 2), jnp.float32)
    updates, _ = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(updates, -0.3 * 1.0078125 / 1.3, rtol=1e-6)


def test_the_mask_names_what_decays():
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    mask = {"w": True, "b": False}
    for form in (mask, lambda params: mask):
        for proximal, want in ((True, -0.05 / 1.05), (False, -0.05)):
            tx = optaxmods.adan(
                0.1, weight_decay=0.5, mask=form, proximal=proximal
            )
            updates, _ = tx.update(zeros, tx.init(params), params)
            np.testing.assert_allclose(updates["w"], want, rtol=1e-6)
            np.testing.assert_array_equal(updates["b"], 0.0)


def test_decay_needs_the_parameters():
    tx = optaxmods.adan(0.1, weight_decay=0.5)
    gradient = jnp.ones((2, 2))
    with pytest.raises(ValueError, match=r"tx.update\(grads, state, params\)"):
        tx.update(gradient, tx.init(gradient))


def test_rates_and_decay_schedules_count_updates():
    tx = optaxmods.adan(0.1, weight_decay=lambda step: 0.1 * step)
    params = jnp.ones((2, 2))
    state = tx.init(params)
    for _ in range(3):
        _, state = tx.update(params, state, params)
    assert isinstance(state[1], optaxmods.ProximalDecayState)
    assert state[1].count == 3


def test_a_decay_that_begins_in_a_resumed_run():
    # The rate's count runs on while there is no decay.
    gradients, theta = make_updates({"w": jnp.ones((2, 3))}), jnp.ones((2, 3))

    def rate(count):
        return 0.1 / (1 + count)

    def run(solver, theta, state, steps):
        for _ in range(steps):
            updates, state = solver.update(gradients["w"], state, theta)
            theta = optax.apply_updates(theta, updates)
        return theta, state

    before = optaxmods.adan(rate, weight_decay=0.0)
    after = optaxmods.adan(rate, weight_decay=0.5)
    theta, state = run(before, theta, before.init(theta), 3)
    got, _ = run(after, theta, state, 1)
    step, _ = run(before, theta, state, 1)  # Without decay.
    np.testing.assert_allclose(got, step / (1 + rate(3) * 0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("b1", "b2", "is_positive"),
    [(0.98, 0.92, True), (0.98, 0.8, False), (0.9, 0.98, False)],
)
def test_the_weights_of_past_gradients(b1, b2, is_positive):
    # An impulse in each step: what a gradient that keeps its sign can add up to
    # is downhill where all their weights are positive.
    solver = optaxmods.scale_by_adan(b1=b1, b2=b2)
    impulses = jnp.eye(200)
    _, updates = jax.lax.scan(
        lambda state, gradient: solver.update(gradient, state)[::-1],
        solver.init(impulses[0]),
        impulses,
    )
    # Of each impulse, as shares of the step at which it comes.
    shares = np.asarray(updates) / np.diagonal(updates)
    assert (shares.min() >= 0) == is_positive
    assert is_positive or shares.min() < -0.01
