"""Narrow dtypes: float32 masters, scaled losses, steps that overflow."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest

import optaxmods
from tests import oracles
from tests.helpers import composed, gal_theta
from tests.helpers.composed import make_batches
from tests.helpers.trajectories import make_gradients, make_theta


def with_masters(inner):
    """Keeps parameters in float32; those that come and go may be narrower."""
    inner = optax.with_extra_args_support(inner)

    def init(params):
        # Copies also what is float32: a step may donate both trees.
        masters = jax.tree.map(lambda p: jnp.array(p, jnp.float32), params)
        return masters, inner.init(masters)

    def update(grads, state, params, **extra_args):
        masters, inner_state = state
        grads = optax.tree.cast(grads, jnp.float32)
        updates, inner_state = inner.update(
            grads, inner_state, masters, **extra_args
        )
        masters = optax.apply_updates(masters, updates)
        rounded = optax.tree.cast_like(masters, params)
        steps = optax.tree.sub(
            *(optax.tree.cast(tree, jnp.float32) for tree in (rounded, params))
        )
        return steps, (masters, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


RATE, LOSS, GAMMA, STEPS = 1e-4, 2.0, 1e-6, 5
SHAPE = (4, 3)


def small_steps(theta, gradients):
    """SGD and the push of LGA with a constant loss, in float64."""
    terms = oracles.lga.terms(
        gradients, [LOSS] * len(gradients), GAMMA, status_every=100
    )
    for gradient, (push, *_) in zip(gradients, terms, strict=True):
        theta = theta - RATE * oracles.agr.psi(gradient) - push
        yield theta


MASTERED = {
    "adamw_agr": (
        optaxmods.adamw_agr(RATE),
        lambda theta, given: oracles.agr.adamw_agr(theta, given, RATE),
    ),
    "adan_agr": (
        optaxmods.adan_agr(RATE, weight_decay=0.1),
        lambda theta, given: oracles.agr.adan_agr(
            theta, given, RATE, weight_decay=0.1
        ),
    ),
    "with_lga": (
        optaxmods.with_lga(
            optax.chain(optaxmods.agr(), optax.sgd(RATE)),
            GAMMA,
            status_every=100,
        ),
        small_steps,
    ),
}


@pytest.mark.parametrize("name", MASTERED)
def test_narrow_parameters_with_masters(name):
    dtype = jnp.bfloat16
    inner, oracle = MASTERED[name]
    tx = with_masters(inner)
    update = jax.jit(lambda *given: tx.update(*given, value=LOSS))
    params = jnp.asarray(make_theta(SHAPE), dtype)
    start = np.float64(params)
    gradients = [jnp.asarray(g, dtype) for g in make_gradients(STEPS, SHAPE)]
    state = tx.init(params)
    for gradient, want in zip(
        gradients,
        oracle(start, [np.float64(g) for g in gradients]),
        strict=True,
    ):
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        # Half a unit in the last place of the masters' float32, each step.
        np.testing.assert_allclose(state[0], want, rtol=STEPS * 2**-24)
        np.testing.assert_array_equal(params, state[0].astype(dtype))
    assert params.dtype == dtype


def test_masters_of_a_mixed_tree_are_donated():
    def run(**donated):
        tx = with_masters(optaxmods.adamw_agr(RATE))
        params = {
            "kernel": jnp.asarray(make_theta(SHAPE), jnp.bfloat16),
            "scale": jnp.ones(SHAPE[1]),
        }
        state = tx.init(params)

        def step(params, state):
            updates, state = tx.update(params, state, params)
            return optax.apply_updates(params, updates), state

        jitted = jax.jit(step, **donated)
        for _ in range(2):
            params, state = jitted(params, state)
        return params, state

    chex.assert_trees_all_equal(run(donate_argnums=(0, 1)), run())


@pytest.mark.parametrize("outside", [True, False])
def test_the_push_reaches_masters_only_from_within(outside):
    # 2e-6 beside 1 is lost in bfloat16; LGA has to stand where masters are.
    inner = optax.set_to_zero()
    if outside:
        tx = optaxmods.with_lga(with_masters(inner), 1e-8, status_every=9)
    else:
        tx = with_masters(optaxmods.with_lga(inner, 1e-8, status_every=9))
    params = jnp.ones((2, 2), jnp.bfloat16)
    gradient = jnp.full_like(params, 2.0**-19)
    state = tx.init(params)
    for _ in range(4):
        updates, state = tx.update(gradient, state, params, value=LOSS)
        params = optax.apply_updates(params, updates)
    masters = (state.inner_state if outside else state)[0]
    assert (masters < 1).all() != outside


def test_masters_cast_in_the_objective():
    """The usual recipe: float32 parameters, of which the loss reads a copy."""
    dtype = jnp.bfloat16

    def step(solver, weights, state, batch):
        theta = optaxmods.adjuster_params(state)
        loss, (gradient, adjuster_grads) = jax.value_and_grad(
            lambda w, t: composed.objective(w.astype(dtype), t, batch),
            argnums=(0, 1),
        )(weights, theta)
        assert gradient.dtype == jnp.float32
        updates, state = solver.update(
            gradient, state, weights, value=loss, adjuster_grads=adjuster_grads
        )
        return optax.apply_updates(weights, updates), state

    batches = [batch_of_rows(batch) for batch in make_batches()]
    got = composed.train(composed.make_solver(), batches, step)
    want = composed.oracle(
        batches, seen=lambda w: np.float64(np.float32(w).astype(dtype))
    )
    moved, wanted = (w - composed.make_weights() for w in (got[0], want[0]))
    # A gradient is rounded once, by 2**-9 of it, and it may be that of weights
    # that were rounded the other way, 2**-8 from the oracle's.
    np.testing.assert_allclose(moved, wanted, rtol=2**-7, atol=2**-7 * 0.01)
    lower = optax.tree.get(got[1], "lga_lower_bound")
    np.testing.assert_allclose(lower, want.lower_bound, rtol=2**-7)


def batch_of_rows(batch):
    """Each input picks a row of the weights: no product is rounded."""
    rows = np.eye(composed.INPUTS, dtype=np.float32)
    return composed.Batch(rows, batch.labels[: composed.INPUTS])


def scaled_loss_and_gradients(scale, weights, theta, batch):
    """The loss as it is, and gradients of scale times it, scaled back."""

    def scaled(weights, theta):
        loss = composed.objective(weights.astype(jnp.float16), theta, batch)
        return scale * loss, loss

    gradients, loss = jax.grad(scaled, argnums=(0, 1), has_aux=True)(
        weights, theta
    )
    return loss, jax.tree.map(lambda g: g / scale, gradients)


@pytest.mark.parametrize("scale", [1.0, 2.0**20])
def test_a_scaled_loss_keeps_small_gradients_in_float16(scale):
    # Gradients of 1e-8 are below float16's smallest number.
    features, targets = (
        np.random.default_rng(seed).standard_normal((6, 3)).astype("f2")
        for seed in (0, 1)
    )

    def scaled(features, theta):
        loss, _ = composed.ADJUSTER.loss(
            theta,
            features,
            lambda z: 1e-8 * jnp.sum((z - targets) ** 2, axis=-1) / 2,
        )
        return scale * loss

    theta = composed.ADJUSTER.init(jax.random.key(0), 3)
    gradients = jax.jit(jax.grad(scaled, argnums=(0, 1)))(features, theta)
    # Widened first: in float16 the quotient would be 0.
    to_z, to_theta = jax.tree.map(
        lambda g: g.astype(jnp.float32) / scale, gradients
    )
    want = oracles.gal.gal(
        gal_theta.layers_of(theta),
        np.float64(features),
        small_squared_error(np.float64(targets)),
        composed.TENTATIVE_STEP,
        composed.MAGNITUDE,
    )
    if scale == 1:
        assert not to_z.any()
    else:
        np.testing.assert_allclose(to_z, want["z"], rtol=2**-10)
    # Theta and its gradient are float32.
    assert gal_theta.cosine(to_theta, want["theta"]) > 1 - 1e-6


def small_squared_error(targets):
    return [
        lambda *given, f=f: 1e-8 * f(*given)
        for f in oracles.gal.squared_error(targets)
    ]


def scaled_step(solver, weights, state, batch, scale=1.0):
    theta = optaxmods.adjuster_params(state)
    loss, (gradient, adjuster_grads) = scaled_loss_and_gradients(
        scale, weights, theta, batch
    )
    updates, state = solver.update(
        gradient, state, weights, value=loss, adjuster_grads=adjuster_grads
    )
    return optax.apply_updates(weights, updates), state


def test_dynamic_loss_scaling():
    # To multiply by a power of two rounds nothing: the steps that were not
    # skipped are those of the loss as it is, to the bit.
    solver = composed.make_solver()
    guarded = optax.apply_if_finite(solver, 10)
    step = jax.jit(lambda *given: scaled_step(guarded, *given))
    weights = jnp.asarray(composed.make_weights())
    state, scale = guarded.init(weights), 2.0**20
    done = []
    for batch in make_batches(10):
        weights, state = step(weights, state, batch, jnp.float32(scale))
        scale *= 2 if state.last_finite else 2**-3
        done += [batch] if state.last_finite else []
    assert 2 <= state.total_notfinite == 10 - len(done) < 8
    want = composed.train(solver, done, scaled_step)
    chex.assert_trees_all_equal((weights, state.inner_state), want)


def test_steps_that_overflow_are_as_if_they_had_not_been():
    batches = make_batches(6)
    huge = np.sign(batches[1].inputs) * np.float32(3e38)
    broken = batches[1]._replace(inputs=huge)
    given = [batches[0], broken, *batches[1:3], broken, *batches[3:]]
    guarded = optax.apply_if_finite(composed.make_solver(), 3)
    weights, state = composed.train(guarded, given)
    assert state.total_notfinite == 2
    composed.assert_trained((weights, state), composed.oracle(batches))
    assert optax.tree.get(state, "lga_count") == len(batches)


def test_a_guard_around_the_parameters_alone_lets_theta_and_the_loss_by():
    solver = optax.chain(
        optaxmods.gal(
            composed.ADJUSTER,
            composed.CLASSES,
            optimizer=optax.sgd(composed.THETA_RATE),
        ),
        optaxmods.lga(composed.GAMMA, status_every=composed.STATUS_EVERY),
        optax.apply_if_finite(optax.adam(composed.RATE), 3),
    )

    def overflowing_step(solver, weights, state, batch):
        # The gradient alone; the loss and theta's gradient are good.
        theta = optaxmods.adjuster_params(state)
        loss, (gradient, adjuster_grads) = composed.loss_and_gradients(
            weights, theta, batch
        )
        updates, state = solver.update(
            gradient * jnp.inf,
            state,
            weights,
            value=loss,
            adjuster_grads=adjuster_grads,
        )
        return optax.apply_updates(weights, updates), state

    batches = make_batches(2)
    got = composed.train(solver, batches, overflowing_step)
    composed.assert_trained(got, composed.oracle(batches, rate=0.0, gamma=0.0))
    assert got[1][2].total_notfinite == 2
