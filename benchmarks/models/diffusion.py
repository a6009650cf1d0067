"""Networks that tell the noise in an image."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.models.convolution import Conv
from benchmarks.models.language import SelfAttention, waves


class Denoiser(nn.Module):
    """The U-Net of DDPM (Ho et al., 2020), small, that knows the time."""

    channels: Sequence[int]  # From the whole image to the smallest.

    @nn.compact
    def __call__(self, images: jax.Array, times: jax.Array) -> jax.Array:
        """Returns numbers of the images' shape.

        Args:
            images: Array of shape [batch, height, width, channels].
            times: Array of shape [batch].
        """
        width = self.channels[0]
        time = nn.silu(nn.Dense(4 * width)(waves(times, width)))
        features, skipped = Conv(width, (3, 3))(images), []
        for level, channels in enumerate(self.channels):
            if level:
                features = Conv(channels, (3, 3), strides=2)(features)
            features = TimedBlock(channels)(features, time)
            skipped.append(features)
        features = features + self._attended(features)
        for level, channels in reversed([*enumerate(self.channels)]):
            features = jnp.concatenate([features, skipped.pop()], axis=-1)
            features = TimedBlock(channels)(features, time)
            if level:
                larger = features.repeat(2, axis=1).repeat(2, axis=2)
                height, width = skipped[-1].shape[1:3]
                features = Conv(channels, (3, 3))(larger[:, :height, :width])
        features = nn.silu(_normed(features))
        start = nn.initializers.zeros
        return Conv(images.shape[-1], (3, 3), kernel_init=start)(features)

    def _attended(self, features: jax.Array) -> jax.Array:
        batch, height, width, channels = features.shape
        tokens = _normed(features).reshape(batch, height * width, channels)
        return SelfAttention(heads=1)(tokens).reshape(features.shape)


class TimedBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, the time added between."""

    channels: int

    @nn.compact
    def __call__(self, inputs: jax.Array, time: jax.Array) -> jax.Array:
        """Returns features of ``channels`` channels."""
        features = Conv(self.channels, (3, 3))(nn.silu(_normed(inputs)))
        features += nn.Dense(self.channels)(time)[:, None, None]
        features = Conv(self.channels, (3, 3))(nn.silu(_normed(features)))
        if inputs.shape[-1] != self.channels:
            inputs = nn.Dense(self.channels)(inputs)
        return inputs + features


class Diffusion(nn.Module):
    """Adds noise to images, as DDPM does, and tells it.

    In training times and noise are drawn anew at every step. Else the times are
    spread evenly over the images and the noise is always the same.
    """

    channels: Sequence[int]
    steps: int = 1000

    def setup(self) -> None:
        """Makes the network."""
        self.denoiser = Denoiser(self.channels)

    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the noise and what the network says it is."""
        count = len(images)
        if train:
            key, time_key = jax.random.split(self.make_rng("dropout"))
            times = jax.random.randint(time_key, (count,), 0, self.steps)
        else:
            key = jax.random.key(0)
            times = jnp.arange(count) * self.steps // count
        noise = jax.random.normal(key, images.shape)
        share = image_shares(self.steps)[times][:, None, None, None]
        noisy = jnp.sqrt(share) * images + jnp.sqrt(1 - share) * noise
        return noise, self.tell(noisy, times)

    def tell(self, noisy: jax.Array, times: jax.Array) -> jax.Array:
        """Returns the noise in images at their times."""
        return self.denoiser(noisy, times)


def image_shares(steps: int) -> jax.Array:
    """Returns the image's share of the variance at each time.

    The variances of a thousand steps rise from 1e-4 to 0.02, as in DDPM; those
    of fewer, no fewer than 20, are as many times as large.
    """
    scale = 1000 / steps
    betas = jnp.linspace(scale * 1e-4, scale * 0.02, steps)
    return jnp.cumprod(1 - betas)


def _normed(features: jax.Array) -> jax.Array:
    return nn.GroupNorm(num_groups=8)(features)
