"""GAL, AGR and LGA in one training: the library's, and in float64 NumPy.

The model is linear. Whatever a training loop adds (accumulation, scaled
losses, skipped steps, schedules) must come out as the plain NumPy loop here.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree

import optaxmods
from tests import oracles
from tests.helpers.gal_theta import layers_of

INPUTS, CLASSES = 4, 3
RATE, THETA_RATE, GAMMA, TENTATIVE_STEP = 0.1, 0.5, 1e-3, 0.5
MAGNITUDE, STATUS_EVERY = 0.09, 2
ADJUSTER = optaxmods.GradientAdjuster((5,), MAGNITUDE, TENTATIVE_STEP)


class Batch(NamedTuple):
    inputs: np.ndarray
    labels: np.ndarray


def make_batches(count=6, size=8):
    generator = np.random.default_rng(3)
    return [
        Batch(
            generator.standard_normal((size, INPUTS)).astype(np.float32),
            generator.integers(0, CLASSES, size),
        )
        for _ in range(count)
    ]


def make_weights():
    generator = np.random.default_rng(4)
    return generator.standard_normal((INPUTS, CLASSES)).astype(np.float32)


def make_solver(
    rate=RATE,
    strength=1.0,
    gamma=GAMMA,
    theta_optimizer=None,
):
    teach = theta_optimizer or optax.sgd(THETA_RATE)
    adjusted = optaxmods.gal(ADJUSTER, CLASSES, optimizer=teach)
    return optaxmods.with_lga(
        optax.chain(adjusted, optaxmods.agr(strength), optax.sgd(rate)),
        gamma,
        status_every=STATUS_EVERY,
    )


def objective(weights, theta, batch, tentative_step=None):
    def loss_fn(logits):
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, batch.labels
        )

    logits = batch.inputs.astype(weights.dtype) @ weights
    loss, _ = ADJUSTER.loss(
        theta, logits, loss_fn, tentative_step=tentative_step
    )
    return loss


loss_and_gradients = jax.value_and_grad(objective, argnums=(0, 1))


def plain_step(solver, weights, state, batch, tentative_step=None):
    """One step as the docs have it."""
    theta = optaxmods.adjuster_params(state)
    loss, (gradient, adjuster_grads) = loss_and_gradients(
        weights, theta, batch, tentative_step
    )
    updates, state = solver.update(
        gradient, state, weights, value=loss, adjuster_grads=adjuster_grads
    )
    return optax.apply_updates(weights, updates), state


def train(solver, batches, step=plain_step, weights=None) -> tuple[Any, Any]:
    """Returns the weights and the state after a step on each batch."""
    weights = jnp.asarray(make_weights() if weights is None else weights)
    state = solver.init(weights)
    compiled = jax.jit(lambda *given: step(solver, *given))
    for batch in batches:
        weights, state = compiled(weights, state, batch)
    return weights, state


class Trained(NamedTuple):
    weights: np.ndarray
    layers: list
    lower_bound: float
    upper_bound: float


def oracle(
    batches,
    rate=RATE,
    strength=1.0,
    gamma=GAMMA,
    tentative_step=TENTATIVE_STEP,
    theta_rate=THETA_RATE,
    weights=None,
    seen=lambda weights: weights,
):
    """Numbers may be schedules; ``seen`` is what the model reads of weights."""

    def at(number, step):
        return float(number(step) if callable(number) else number)

    weights = np.float64(make_weights() if weights is None else weights)
    layers = layers_of(optaxmods.gal(ADJUSTER, CLASSES).init(None).gal_theta)
    gradients, losses, bounds = [], [], (0.0, np.inf)
    for step, (inputs, labels) in enumerate(batches):
        inputs = np.float64(inputs)
        adjusted = oracles.gal.gal(
            layers,
            inputs @ seen(weights),
            oracles.gal.cross_entropy(labels),
            at(tentative_step, step),
            MAGNITUDE,
        )
        gradients.append(inputs.T @ adjusted["z"])
        losses.append(adjusted["loss"])
        push, _, _, *bounds = oracles.lga.terms(
            gradients, losses, gamma, STATUS_EVERY
        )[-1]
        damped = oracles.agr.psi(gradients[-1], at(strength, step))
        weights = weights - at(rate, step) * damped - push
        layers = [
            (
                kernel - at(theta_rate, step) * dk,
                bias - at(theta_rate, step) * db,
            )
            for (kernel, bias), (dk, db) in zip(
                layers, adjusted["theta"], strict=True
            )
        ]
    return Trained(weights, layers, *bounds)


def assert_trained(got, want, rtol=1e-5):
    """A step in float32 has some hundred roundings of 6e-8."""
    assert_weights_and_theta(got, want, rtol)
    for name in ("lower_bound", "upper_bound"):
        ours = optax.tree.get(got[1], f"lga_{name}")
        np.testing.assert_allclose(ours, getattr(want, name), rtol)


def assert_weights_and_theta(got, want, rtol=1e-5):
    weights, state = got
    theta = layers_of(optaxmods.adjuster_params(state))
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(
            np.float64(ours), theirs, rtol=rtol, atol=rtol
        ),
        (weights, theta),
        (want.weights, want.layers),
    )
