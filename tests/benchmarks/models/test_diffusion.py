"""The network that tells noise, and the noise that it is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.models import Diffusion
from benchmarks.models.diffusion import image_shares

MODEL = Diffusion(channels=(8, 16), steps=20)
IMAGES = jax.random.uniform(jax.random.key(0), (10, 7, 7, 1), minval=-1.0)


@pytest.mark.parametrize("steps", [1000, 50])
def test_shares_fall_from_the_image_to_noise(steps):
    betas = np.linspace(0.1 / steps, 20 / steps, steps)
    expected = np.cumprod(1 - betas)
    np.testing.assert_allclose(image_shares(steps), expected, rtol=1e-3)
    assert expected[0] > 0.99
    assert expected[-1] < 1e-4


def noisy_inputs(variables, monkeypatch, **options):
    """Returns what the network is shown, its times and the noise."""
    seen = []

    def tell(self, noisy, times):
        seen.append((noisy, times))
        return jnp.zeros_like(noisy)

    with monkeypatch.context() as patched:
        patched.setattr(Diffusion, "tell", tell)
        noise, _ = MODEL.apply(variables, IMAGES, **options)
    (shown,) = seen
    return *shown, noise


def test_noise_is_drawn_anew_in_training_alone(monkeypatch):
    variables = {"params": {}}  # The network is not asked.
    still = [noisy_inputs(variables, monkeypatch) for _ in range(2)]
    drawn = [
        noisy_inputs(
            variables,
            monkeypatch,
            train=True,
            rngs={"dropout": jax.random.key(s)},
        )
        for s in range(2)
    ]
    for first, second in zip(*still, strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(still[0][1], np.arange(0, 20, 2))
    for first, second in zip(*drawn, strict=True):
        assert np.any(first != second)
    for noisy, times, noise in (*still, *drawn):
        share = np.asarray(image_shares(20))[times][:, None, None, None]
        expected = np.sqrt(share) * IMAGES + np.sqrt(1 - share) * noise
        np.testing.assert_allclose(noisy, expected, rtol=1e-5, atol=1e-6)
        assert np.all((times >= 0) & (times < 20))


@pytest.mark.parametrize("side", [7, 8])
def test_network_keeps_shapes_and_knows_the_time(side):
    images = jnp.ones((2, side, side, 3))
    variables = jax.jit(MODEL.init)(jax.random.key(1), images)
    noise, told = MODEL.apply(variables, images)
    assert noise.shape == told.shape == images.shape
    # It begins with no noise at all.
    np.testing.assert_array_equal(told, 0)
    ones = jax.tree.map(lambda x: x + 0.1, variables)
    early, late = (
        MODEL.apply(ones, images, jnp.full(2, time), method="tell")
        for time in (0, 19)
    )
    assert np.abs(early - late).max() > 1e-3
