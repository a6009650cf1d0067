"""Losses of random features, and GAL's gradients beside the oracle's."""

import jax
import jax.numpy as jnp
import numpy as np

from tests import oracles
from tests.helpers.gal_theta import layers_of
from tests.helpers.losses import cross_entropy

D = 5


def make_case(kind, shape, scale=1.0, dtype=np.float64):
    """Features, a loss of ours and one of the oracle's."""
    generator = np.random.default_rng(len(shape))
    z = scale * generator.standard_normal((*shape, D))
    if kind == "cross-entropy":
        labels = generator.integers(0, D, shape)
        return (
            jnp.asarray(z, dtype),
            cross_entropy(labels),
            oracles.gal.cross_entropy(labels),
        )
    if kind == "cosines":
        return (
            jnp.asarray(z, dtype),
            lambda z: jnp.sum(jnp.cos(z), axis=-1),
            oracles.gal.cosines(),
        )
    targets = generator.standard_normal((*shape, D))

    def squared(z):
        return 0.5 * jnp.sum((z - targets.astype(z.dtype)) ** 2, axis=-1)

    return jnp.asarray(z, dtype), squared, oracles.gal.squared_error(targets)


def gradients_of(adjuster, theta, z, loss_fn, **arguments):
    def objective(z, theta):
        return adjuster.loss(theta, z, loss_fn, **arguments)

    # Not compiled: so many cases would take minutes to compile.
    (loss, metrics), (to_z, to_theta) = jax.value_and_grad(
        objective, argnums=(0, 1), has_aux=True
    )(z, theta)
    return loss, to_z, to_theta, metrics


def assert_as_in_the_oracle(got, want, rtol=1e-4):
    loss, to_z, to_theta, metrics = got
    np.testing.assert_allclose(loss, want["loss"], rtol=1e-6)
    scale = np.abs(want["z"]).max()
    np.testing.assert_allclose(to_z, want["z"], rtol, rtol * scale)
    for ours, theirs in zip(layers_of(to_theta), want["theta"], strict=True):
        scale = np.abs(theirs[0]).max()
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, rtol, rtol * scale)
    for name in ("acceptance", "remainder", "cosine"):
        np.testing.assert_allclose(
            metrics[name], want[name], rtol, 1e-12, err_msg=name
        )
    assert metrics["finite"]
