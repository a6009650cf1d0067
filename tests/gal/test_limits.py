"""Where GAL's own rule stops learning, slows it, or bends it.

Each case is one that docs/gal.rst warns of; what the paper's rule does there is
asserted as it is.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, gal
from tests.helpers.losses import cross_entropy

D, N, K = 4, 64, 3
GENERATOR = np.random.default_rng(0)
INPUTS = jnp.asarray(GENERATOR.standard_normal((N, K)), jnp.float32)
KERNEL = jnp.asarray(GENERATOR.standard_normal((K, D)), jnp.float32)
NOISE = jnp.asarray(GENERATOR.standard_normal((N, D)), jnp.float32)
LABELS = jnp.asarray(GENERATOR.integers(0, D, N))


def squared(targets):
    return lambda z: 0.5 * jnp.sum((z - targets) ** 2, axis=-1)


def train(adjuster, features_of, params, loss_fn, steps, **arguments):
    """By gradient descent; params, theta, and losses and metrics over time."""
    tx = optax.chain(gal(adjuster, D, **arguments), optax.sgd(0.1))

    def objective(params, theta):
        return adjuster.loss(theta, features_of(params), loss_fn)

    def step(carry, _):
        params, state = carry
        seen, (grads, adjuster_grads) = jax.value_and_grad(
            objective, argnums=(0, 1), has_aux=True
        )(params, adjuster_params(state))
        updates, state = tx.update(
            grads, state, params, adjuster_grads=adjuster_grads
        )
        return (optax.apply_updates(params, updates), state), seen

    start = params, tx.init(params)
    (params, state), (losses, metrics) = jax.jit(
        lambda start: jax.lax.scan(step, start, length=steps)
    )(start)
    return params, adjuster_params(state), losses, metrics


@pytest.mark.parametrize("magnitude", [0.0, 0.01, 0.09])
@pytest.mark.parametrize("optimizer", [None, optax.set_to_zero()])
def test_a_loss_that_does_not_vanish_has_its_minimum_moved(
    magnitude, optimizer
):
    # One prediction for noisy targets, whose mean is right. v~ of all examples
    # points one way and does not cancel where the gradients do.
    prediction, _, _, metrics = train(
        GradientAdjuster((4,), magnitude),
        lambda row: jnp.broadcast_to(row, (N, D)),
        jnp.zeros((1, D)),
        squared(NOISE),
        1000,
        optimizer=optimizer,
    )
    off = np.linalg.norm(prediction - NOISE.mean(axis=0, keepdims=True))
    residual = np.linalg.norm(prediction - NOISE, axis=-1).mean()
    np.testing.assert_allclose(off, magnitude * residual, rtol=1e-3, atol=1e-5)
    assert metrics["acceptance"][-1] == 1


def test_a_loss_that_vanishes_keeps_its_minimum():
    kernel, *_ = train(
        GradientAdjuster((4,), 0.09),
        lambda kernel: INPUTS @ kernel,
        jnp.zeros((K, D)),
        squared(INPUTS @ KERNEL),
        500,
    )
    np.testing.assert_allclose(kernel, KERNEL, rtol=1e-4, atol=1e-4)


def test_theta_learns_to_turn_against_the_gradient():
    # Where the curvature is the same all round, the remainder is smallest where
    # the step is: a magnitude near 1 leaves little of it, all of it accepted.
    runs = {}
    for magnitude in (0.0, 0.05, 0.9):
        # An array: of a number that large the adjuster warns.
        adjuster = GradientAdjuster((4,), jnp.float32(magnitude))
        *_, losses, metrics = train(
            adjuster,
            lambda kernel: INPUTS @ kernel,
            jnp.zeros((K, D)),
            squared(INPUTS @ KERNEL),
            400,
            optimizer=optax.adam(1e-2),
        )
        runs[magnitude] = losses
        assert np.all(metrics["acceptance"] == 1)
        if magnitude > 0.1:
            assert metrics["cosine"][-1] < -0.9
    assert runs[0.05][30] > runs[0.0][30]
    assert runs[0.9][200] > 1e4 * runs[0.0][200]


@pytest.mark.parametrize(("eps", "is_learning"), [(1e-8, False), (1e-20, True)])
def test_small_steps_leave_theta_to_the_eps_of_its_optimizer(eps, is_learning):
    # Its gradient falls with the square of the tentative step.
    adjuster = GradientAdjuster((4,), 1e-3, 1e-4)
    optimizer = None if eps == 1e-8 else optax.adam(1e-3, eps=eps)
    _, theta, _, metrics = train(
        adjuster,
        lambda kernel: INPUTS @ kernel,
        KERNEL,
        cross_entropy(LABELS),
        100,
        optimizer=optimizer,
    )
    start = gal(adjuster, D).init(None).gal_theta
    moved = optax.tree.norm(optax.tree.sub(theta, start))
    moved /= optax.tree.norm(start)
    assert moved > 0.01 if is_learning else moved < 1e-5
    # The metrics do not show it.
    assert np.all(metrics["acceptance"] == 1)
    assert np.all(metrics["finite"])


@pytest.mark.parametrize("magnitude", [0.0, 0.05])
def test_logits_drift_where_the_loss_is_flat(magnitude):
    # What all classes have in common; no gradient pushes it back.
    kernel, *_ = train(
        GradientAdjuster((4,), magnitude),
        lambda kernel: (
            jnp.pad(INPUTS, ((0, 0), (0, 1)), constant_values=1.0) @ kernel
        ),
        jnp.zeros((K + 1, D)),
        cross_entropy(LABELS),
        1000,
    )
    drift = abs(kernel[-1].mean())
    assert drift < 1e-5 if magnitude == 0 else drift > 0.01


def test_a_network_that_starts_at_zero_stays_there():
    # A last layer of zeros, by which networks often start without effect.
    network = (
        lambda key, z: {
            "in": jax.random.normal(key, (D, D)),
            "out": jnp.zeros((D, D)),
        },
        lambda theta, z: z @ theta["in"] @ theta["out"],
    )
    adjuster = GradientAdjuster(network=network)
    _, theta, _, metrics = train(
        adjuster,
        lambda kernel: INPUTS @ kernel,
        KERNEL,
        cross_entropy(LABELS),
        20,
    )
    assert not np.any(theta["out"])
    assert np.all(metrics["cosine"] == 0)
    assert np.all(metrics["finite"])


@pytest.mark.parametrize(
    ("step", "acceptance", "finite", "learns"),
    [
        # Nothing is tried, and every adjustment of an untaught theta passes.
        (0.0, 1, True, False),
        (-1.0, 0, True, True),
        (np.nan, 0, False, False),
        (np.inf, 0, False, False),
        # Curvature times step beyond 2: all steps overshoot.
        (3.0, 0, True, True),
    ],
)
def test_traced_steps_that_are_none(step, acceptance, finite, learns):
    adjuster = GradientAdjuster((4,))
    tx = gal(adjuster, D)
    state = tx.init(None)

    @jax.jit
    def learn(step):
        gradient, metrics = jax.grad(
            lambda theta: adjuster.loss(
                theta, NOISE, squared(0), tentative_step=step
            ),
            has_aux=True,
        )(state.gal_theta)
        _, after = tx.update(NOISE, state, adjuster_grads=gradient)
        return metrics, optax.tree.sub(after.gal_theta, state.gal_theta)

    metrics, moved = learn(jnp.float32(step))
    assert metrics["acceptance"] == acceptance
    assert metrics["finite"] == finite
    assert (optax.tree.norm(moved) > 0) == learns


@pytest.mark.parametrize("weights", [None, jnp.zeros(0)])
def test_no_examples(weights):
    adjuster = GradientAdjuster((4,))
    theta = adjuster.init(jax.random.key(0), D)

    def objective(kernel, theta):
        return adjuster.loss(
            theta, INPUTS[:0] @ kernel, squared(0), example_weights=weights
        )[0]

    loss, grads = jax.value_and_grad(objective, argnums=(0, 1))(KERNEL, theta)
    # As the mean of no losses is; with weights, all of them are 0.
    np.testing.assert_equal(float(loss), np.nan if weights is None else 0.0)
    for leaf in jax.tree.leaves(grads):
        assert not np.any(leaf)
