"""Accumulated gradients: every method as if on the whole batch."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.microbatching import AccumulationType
import optax.tree
import pytest

import optaxmods
from tests.helpers import composed
from tests.helpers.composed import Batch, loss_and_gradients, make_batches
from tests.helpers.transformations import (
    TRANSFORMATIONS,
    make_params,
    make_updates,
)

PARTS = 4


def parts_of(batch):
    inputs, labels = (np.split(leaf, PARTS) for leaf in batch)
    return [Batch(*part) for part in zip(inputs, labels, strict=True)]


def microbatched(kind):
    """One step of optax.microbatch, losses and theta's gradients too."""
    accumulated = optax.microbatch(
        loss_and_gradients, argnums=2, microbatch_size=2, accumulator=kind
    )

    def step(solver, weights, state, batch):
        theta = optaxmods.adjuster_params(state)
        loss, (gradient, adjuster_grads) = accumulated(weights, theta, batch)
        updates, state = solver.update(
            gradient, state, weights, value=loss, adjuster_grads=adjuster_grads
        )
        return optax.apply_updates(weights, updates), state

    return step


def test_microbatch():
    batches = make_batches()
    step = microbatched(AccumulationType.MEAN)
    got = composed.train(composed.make_solver(), batches, step)
    composed.assert_trained(got, composed.oracle(batches))


def test_multi_steps_with_means_of_all_micro_batches():
    # Schedules count the steps that change the parameters.
    warm_up = optax.linear_schedule(0.0, 1.0, 4)
    numbers = {"strength": warm_up, "gamma": lambda t: 1e-3 * warm_up(t)}
    solver = optax.MultiSteps(composed.make_solver(**numbers), PARTS)

    def step(solver, weights, carried, part):
        state, means = carried
        theta = optaxmods.adjuster_params(state)
        loss, (gradient, adjuster_grads) = loss_and_gradients(
            weights, theta, part
        )
        means = jax.tree.map(
            lambda mean, new: mean + (new - mean) / (state.mini_step + 1),
            means,
            (loss, adjuster_grads),
        )
        updates, state = solver.update(
            gradient, state, weights, value=means[0], adjuster_grads=means[1]
        )
        return optax.apply_updates(weights, updates), (state, means)

    def init(weights):
        state = solver.init(weights)
        theta = optaxmods.adjuster_params(state)
        means = jax.tree.map(jnp.zeros_like, (jnp.float32(0), theta))
        return state, means

    batches = make_batches()
    weights, (state, _) = composed.train(
        optax.GradientTransformation(init, solver.update),
        [part for batch in batches for part in parts_of(batch)],
        step,
    )
    assert state.gradient_step == len(batches)
    want = composed.oracle(batches, **numbers)
    composed.assert_trained((weights, state), want)


def test_theta_accumulates_in_an_optimizer_of_its_own():
    # GAL stands before the parameters' MultiSteps, its optimizer in another.
    def every(tx):
        return optax.MultiSteps(tx, PARTS).gradient_transformation()

    theta_optimizer = every(optax.sgd(composed.THETA_RATE))
    solver = optax.chain(
        optaxmods.gal(
            composed.ADJUSTER, composed.CLASSES, optimizer=theta_optimizer
        ),
        every(optax.chain(optaxmods.agr(), optax.sgd(composed.RATE))),
    )
    batches = make_batches()
    weights, state = composed.train(
        solver, [part for batch in batches for part in parts_of(batch)]
    )
    want = composed.oracle(batches, gamma=0.0)
    composed.assert_weights_and_theta((weights, state), want)


def test_multi_steps_alone_teaches_theta_by_the_last_micro_batch():
    (batch,) = make_batches(1)
    solver = optax.MultiSteps(composed.make_solver(), PARTS)
    weights, state = composed.train(solver, parts_of(batch))
    start = solver.init(weights)
    theta = optaxmods.adjuster_params(start)
    last = parts_of(batch)[-1]
    loss, (_, gradient) = loss_and_gradients(
        jnp.asarray(composed.make_weights()), theta, last
    )
    moved = jax.tree.map(
        lambda t, g: t - composed.THETA_RATE * g, theta, gradient
    )
    chex.assert_trees_all_close(
        optaxmods.adjuster_params(state), moved, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        optax.tree.get(state, "lga_omega"), loss, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["adan_agr", "with_lga"])
def test_a_skipped_micro_batch_changes_nothing(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    accumulating = optax.MultiSteps(
        tx, 2, should_skip_update_fn=optax.transforms.skip_not_finite
    )
    update = jax.jit(accumulating.update)
    first, last = (make_updates(params, seed) for seed in (0, 1))
    broken = jax.tree.map(lambda leaf: leaf * np.inf, first)
    state = accumulating.init(params)
    for part in (first, broken, last):
        updates, state = update(part, state, params)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, first, last)
    want = jax.jit(tx.update)(mean, tx.init(params), params)
    chex.assert_trees_all_close(
        (updates, state.inner_opt_state), want, rtol=1e-5, atol=1e-7
    )
    assert state.gradient_step == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_gradients_are_widened_before_multi_steps(dtype):
    # MultiSteps rounds its float32 sums to the incoming dtype again: the mean
    # of 1 and 1 + 2 eps would be 1.
    eps = float(jnp.finfo(dtype).eps)
    params = jnp.ones((2, 3))
    solver = optax.MultiSteps(
        optax.chain(optaxmods.agr(strength=0.0), optax.sgd(1.0)), 4
    )
    state = solver.init(params)
    for number in (1.0, 1.0, 1.0, 1.0 + eps):
        gradient = jnp.full_like(params, number, dtype)
        updates, state = solver.update(
            optax.tree.cast(gradient, jnp.float32), state, params
        )
    np.testing.assert_array_equal(updates, -1 - eps / 4)
