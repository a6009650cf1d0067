"""Networks whose outputs are images, or several heads."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.models.convolution import Conv, max_pool
from benchmarks.models.small import ConvNet, TorchLeNet5


class DenseAutoencoder(nn.Module):
    """Dense layers with ReLU down to a code and up again, and tanh."""

    sizes: Sequence[int] = (128, 64)
    code: int = 16

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns images from -1 to 1, of the shape that comes in."""
        del train
        features = images.reshape(images.shape[0], -1)
        for size in self.sizes:
            features = nn.relu(nn.Dense(size)(features))
        features = nn.Dense(self.code)(features)
        for size in reversed(self.sizes):
            features = nn.relu(nn.Dense(size)(features))
        pixels = images[0].size
        return jnp.tanh(nn.Dense(pixels)(features)).reshape(images.shape)


class ConvAutoencoder(nn.Module):
    """4x4 convolutions of stride 2 down to 4x4 pixels, and up again."""

    channels: Sequence[int] = (12, 24, 48)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits of pixels, of the shape that comes in."""
        del train
        features = images
        for channels in self.channels:
            features = nn.relu(
                Conv(channels, (4, 4), strides=2, padding=1)(features)
            )
        for channels in reversed(self.channels[:-1]):
            features = nn.relu(_doubled(features, channels))
        return _doubled(features, images.shape[-1])


def _doubled(features: jax.Array, channels: int) -> jax.Array:
    """A transposed 4x4 convolution of stride 2, in a module that calls it."""
    # As a convolution with zeros between the pixels, which is fast on a CPU.
    zero = jnp.zeros([], features.dtype)
    around = (2, 2, 1)
    spread = jax.lax.pad(features, zero, ((0, 0, 0), around, around, (0, 0, 0)))
    return Conv(channels, (4, 4), padding="VALID")(spread)


class BoxNet(nn.Module):
    """``ConvNet`` with four numbers from 0 to 1 in the logits' place."""

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns boxes, of shape [batch, 4]."""
        return nn.sigmoid(ConvNet(num_classes=4)(images, train))


class UNet(nn.Module):
    """A U-Net (Ronneberger et al., 2015) with padding, and small."""

    channels: Sequence[int] = (8, 16, 32)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns each pixel's logit, of shape [batch, height, width]."""
        del train
        features, skipped = images, []
        for channels in self.channels[:-1]:
            features = _twice(features, channels)
            skipped.append(features)
            features = max_pool(features)
        features = _twice(features, self.channels[-1])
        for channels, skip in zip(
            reversed(self.channels[:-1]), reversed(skipped), strict=True
        ):
            larger = features.repeat(2, axis=1).repeat(2, axis=2)
            features = _twice(jnp.concatenate([larger, skip], -1), channels)
        return nn.Dense(1)(features)[..., 0]


def _twice(features: jax.Array, channels: int) -> jax.Array:
    for _ in range(2):
        features = nn.relu(Conv(channels, (3, 3))(features))
    return features


class TwoHeadedLeNet5(nn.Module):
    """LeNet-5 that tells an image's class, and how another one is turned."""

    num_classes: int = 10
    rotations: int = 4

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the logits of classes and of rotations.

        Args:
            images: Of two channels: the image, and itself turned.
            train: Unused.
        """
        trunk = TorchLeNet5(num_classes=84)
        both = jnp.concatenate([images[..., :1], images[..., 1:]])
        upright, turned = jnp.split(nn.relu(trunk(both, train)), 2)
        return (
            nn.Dense(self.num_classes)(upright),
            nn.Dense(self.rotations)(turned),
        )
