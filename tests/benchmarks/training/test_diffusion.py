"""Images that are made, and how they are compared with real ones."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.models.diffusion import image_shares
from benchmarks.training import diffusion

GENERATOR = np.random.default_rng(0)
IMAGE = np.linspace(-1, 1, 36).reshape(6, 6, 1)


class Knowing(nn.Module):
    """It knows the only image that there is, and so the noise."""

    steps: int = 40

    def tell(self, noisy, times):
        share = image_shares(self.steps)[times][:, None, None, None]
        return (noisy - jnp.sqrt(share) * IMAGE[None]) / jnp.sqrt(1 - share)


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_of_exact_noise_the_image_is_made(steps):
    key = jax.random.key(0)
    made = diffusion.sample(Knowing(), {}, key, (3, 6, 6, 1), steps)
    expected = np.broadcast_to(IMAGE, (3, 6, 6, 1))
    np.testing.assert_allclose(made, expected, atol=1e-4)


def whitened(count, size):
    """Returns rows of mean 0 whose covariance is that of no correlation."""
    rows = GENERATOR.normal(size=(count, size))
    rows -= rows.mean(axis=0)
    return rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T)).T)


def test_frechet_distance_is_that_of_normal_distributions():
    rows = whitened(50, 3)
    mix = np.array([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, -1.0, 3.0]])
    turn = np.linalg.qr(GENERATOR.normal(size=(3, 3)))[0]
    distance = diffusion.frechet_distance
    assert distance(rows @ mix, rows @ mix) == pytest.approx(0, abs=1e-9)
    assert distance(rows, rows + np.array([3, 0, 4])) == pytest.approx(25)
    # Deviations of 1 and of 3, in each of three directions.
    assert distance(rows, 3 * rows @ turn) == pytest.approx(3 * 2**2)
    # Where covariances do not commute: their eigenvalues, by another way.
    ours, theirs = rows @ mix, rows @ mix.T @ turn
    product = np.cov(ours.T) @ np.cov(theirs.T)
    root = np.sqrt(np.linalg.eigvals(product).real).sum()
    expected = np.trace(np.cov(ours.T)) + np.trace(np.cov(theirs.T)) - 2 * root
    assert distance(ours, theirs) == pytest.approx(expected)
    assert distance(theirs, ours) == pytest.approx(expected)
    rows[0, 0] = np.nan
    assert math.isnan(distance(rows, rows))


def test_score_counts_classes_that_are_told_apart():
    score = diffusion.classifier_score
    assert score(np.eye(5)) == pytest.approx(5)
    assert score(np.full((7, 4), 0.25)) == pytest.approx(1)
    assert score(np.repeat([[0.9, 0.1]], 6, axis=0)) == pytest.approx(1)
    shares = np.array([[0.8, 0.2], [0.3, 0.7]])
    parts = shares * np.log(shares / shares.mean(axis=0))
    assert score(shares) == pytest.approx(np.exp(parts.sum() / 2))


def test_the_same_images_are_made_of_the_same_noise_for_every_method():
    model, params = Knowing(), {"x": jnp.zeros((2, 1))}
    first, second = diffusion._samples(model, params, (8, 6, 6, 1), 3)
    np.testing.assert_array_equal(first, second)
