"""Noise of one length, against the rule written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.contenders import gal

# With these some are taken, and some are not.
ALPHA, STEP, SCALE = 1.0, 1.0, 0.1


@pytest.mark.parametrize(("of", "count"), [("example", 1), ("batch", 6)])
def test_the_gradient_has_a_vector_of_one_length(of, count):
    make = gal.maker(
        "gal-noise-unscaled+sgd",
        4,
        ALPHA,
        STEP,
        **{"network": "noise", "learns": False, "gradient_of": of},
    )
    features = jax.random.normal(jax.random.key(1), (6, 4))
    targets = jax.random.normal(jax.random.key(2), (6, 4))
    key = jax.random.key(3)

    def losses(z):
        return SCALE * jnp.sum((z - targets) ** 4, axis=-1)

    def loss(z):
        return make.adjuster.loss(jnp.zeros([]), z, losses, key=key)

    (value, metrics), ours = jax.value_and_grad(loss, has_aux=True)(features)
    z, t = (np.asarray(x, np.float64) for x in (features, targets))
    noise = np.asarray(jax.random.normal(key, (6, 4)), np.float64)
    added = ALPHA * noise / np.linalg.norm(noise, axis=-1, keepdims=True)
    # Of an example's loss, or of its part of the mean.
    gradient = SCALE * 4 * (z - t) ** 3 / count
    before = SCALE * np.sum((z - t) ** 4, axis=-1)
    moved = z - STEP * (gradient + added) - t
    taken = SCALE * np.sum(moved**4, axis=-1) <= before
    assert 0 < taken.sum() < 6
    whole = (gradient + np.where(taken[:, None], added, 0)) * count / 6
    np.testing.assert_allclose(ours, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value, before.mean(), rtol=1e-5)
    assert metrics["acceptance"] == pytest.approx(taken.mean())
