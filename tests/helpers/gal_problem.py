"""One small classification problem, and GAL's gradients on it."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from optaxmods import GradientAdjuster
from tests.helpers.losses import cross_entropy

D, N, K = 5, 8, 3
GENERATOR = np.random.default_rng(0)
INPUTS = jnp.asarray(GENERATOR.standard_normal((N, K)), jnp.float32)
LABELS = jnp.asarray(GENERATOR.integers(0, D, N))
WEIGHTS = jnp.asarray(GENERATOR.standard_normal((K, D)), jnp.float32)
ADJUSTER = GradientAdjuster((4,), 0.09)
THETA = ADJUSTER.init(jax.random.key(0), D)


def objective(weights, theta, inputs, labels, adjuster=ADJUSTER, **arguments):
    loss_fn = cross_entropy(labels)
    return adjuster.loss(theta, inputs @ weights, loss_fn, **arguments)


def gradients(inputs=INPUTS, labels=LABELS, weights=WEIGHTS, **arguments):
    grad = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    return grad(weights, THETA, inputs, labels, **arguments)


@functools.cache
def expected():
    return jax.jit(gradients)()


def assert_close(got, want):
    chex.assert_trees_all_close(got, want, rtol=2e-4, atol=1e-6)
