"""Numbers that change while training, by schedules and by hand."""

import jax.numpy as jnp
import optax
import optax.tree
import pytest

import optaxmods
from tests.helpers import composed
from tests.helpers.composed import make_batches

STEPS, BETA = 6, 5.0
rate = optax.warmup_cosine_decay_schedule(0.0, composed.RATE, 3, STEPS)
strength = optax.linear_schedule(0.0, 1.0, 3)
theta_rate = optax.linear_schedule(0.0, composed.THETA_RATE, 3)


def gamma(step):
    return composed.GAMMA * strength(step)


def tentative_step(step):
    return BETA * rate(step)  # The paper's: a multiple of the learning rate.


def injected(rate, strength, gamma, theta_optimizer):
    """composed.make_solver, each number injected."""
    inner = optax.chain(
        optaxmods.gal(
            composed.ADJUSTER, composed.CLASSES, optimizer=theta_optimizer
        ),
        optax.inject_hyperparams(optaxmods.agr)(strength=strength),
        optax.inject_hyperparams(optax.sgd)(learning_rate=rate),
    )
    with_lga = optax.inject_hyperparams(
        optaxmods.with_lga, static_args="status_every"
    )
    return with_lga(
        inner=inner, gamma=gamma, status_every=composed.STATUS_EVERY
    )


SOLVERS = {
    "plain schedules": lambda: composed.make_solver(
        rate, strength, gamma, optax.sgd(theta_rate)
    ),
    "injected schedules": lambda: injected(
        rate,
        strength,
        gamma,
        optax.inject_hyperparams(optax.sgd)(learning_rate=theta_rate),
    ),
}


def warming_step(solver, weights, carried, batch):
    state, step = carried
    weights, state = composed.plain_step(
        solver, weights, state, batch, tentative_step(step)
    )
    return weights, (state, step + 1)


@pytest.mark.parametrize("name", SOLVERS)
def test_warm_up_of_every_number(name):
    solver = SOLVERS[name]()
    counted = optax.GradientTransformationExtraArgs(
        lambda weights: (solver.init(weights), jnp.int32(0)), solver.update
    )
    batches = make_batches(STEPS)
    weights, (state, _) = composed.train(counted, batches, warming_step)
    want = composed.oracle(
        batches,
        rate=rate,
        strength=strength,
        gamma=gamma,
        tentative_step=tentative_step,
        theta_rate=theta_rate,
    )
    composed.assert_trained((weights, state), want)


def test_a_number_set_by_hand():
    # Every second step without AGR, and theta at rest then.
    solver = injected(
        composed.RATE,
        0.0,
        composed.GAMMA,
        optax.inject_hyperparams(optax.sgd)(learning_rate=0.0),
    )

    def is_on(step):
        return step % 2

    def step(solver, weights, state, batch):
        on = jnp.float32(is_on(optax.tree.get(state, "lga_count")))
        state = optax.tree.set(state, strength=on)
        # The rates of the parameters and of theta have one name.
        state = optax.tree.set(
            state,
            lambda path, _: "gal_opt_state" in str(path),
            learning_rate=on * composed.THETA_RATE,
        )
        return composed.plain_step(solver, weights, state, batch)

    batches = make_batches(STEPS)
    got = composed.train(solver, batches, step)
    want = composed.oracle(
        batches,
        strength=is_on,
        theta_rate=lambda step: is_on(step) * composed.THETA_RATE,
    )
    composed.assert_trained(got, want)
