"""Networks with batch normalization, for colour images of 32x32."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.models.convolution import Conv, max_pool

# Padding 1 as in PyTorch, where these networks are at home: SAME would place
# the windows of stride 2 one pixel lower.
BORDER = 1


def _conv(channels: int, stride: int = 1) -> Conv:
    return Conv(
        channels,
        (3, 3),
        strides=stride,
        padding=BORDER,
        use_bias=False,
        kernel_init=nn.initializers.he_normal(),
    )


def _norm(train: bool) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=not train, momentum=0.9)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    channels: int
    stride: int = 1
    # Where the shapes differ the shortcut is a 1x1 convolution; without, it is
    # every stride-th pixel with channels of zeros added.
    projects: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Returns features of ``channels`` channels."""
        features = _conv(self.channels, self.stride)(inputs)
        features = nn.relu(_norm(train)(features))
        features = _norm(train)(_conv(self.channels)(features))
        return nn.relu(
            features
            + _shortcut(
                inputs, self.channels, self.stride, self.projects, train
            )
        )


def _shortcut(
    inputs: jax.Array, channels: int, stride: int, projects: bool, train: bool
) -> jax.Array:
    missing = channels - inputs.shape[-1]
    if stride == 1 and missing == 0:
        return inputs
    seen = inputs[:, ::stride, ::stride]
    if projects:
        return _norm(train)(_pointwise(channels)(seen))
    before = missing // 2
    return jnp.pad(seen, ((0, 0), (0, 0), (0, 0), (before, missing - before)))


# One pixel of each window: a dense layer for every pixel.
def _pointwise(channels: int) -> nn.Dense:
    return nn.Dense(
        channels, use_bias=False, kernel_init=nn.initializers.he_normal()
    )


class BottleneckBlock(nn.Module):
    """A 3x3 convolution between two of 1x1, beside a shortcut."""

    channels: int  # Of the 3x3 convolution; a quarter of those that come out.
    stride: int = 1

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Returns features of ``4 * channels`` channels."""
        features = nn.relu(_norm(train)(_pointwise(self.channels)(inputs)))
        features = _conv(self.channels, self.stride)(features)
        features = nn.relu(_norm(train)(features))
        features = _norm(train)(_pointwise(4 * self.channels)(features))
        beside = _shortcut(inputs, 4 * self.channels, self.stride, True, train)
        return nn.relu(features + beside)


class SmallResNet(nn.Module):
    """The residual networks for CIFAR of He et al. (2016), Section 4.2.

    They have ``6 * blocks + 2`` layers: 3 blocks make ResNet-20.
    """

    num_classes: int = 10
    channels: Sequence[int] = (16, 32, 64)
    blocks: int = 1

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = _conv(self.channels[0])(images)
        features = nn.relu(_norm(train)(features))
        for stage, channels in enumerate(self.channels):
            for block in range(self.blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                features = ResidualBlock(channels, stride)(features, train)
        return nn.Dense(self.num_classes)(features.mean(axis=(1, 2)))


class ResNet18(nn.Module):
    """ResNet-18 whose first layer is fit for CIFAR: 3x3 and no pooling."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = nn.relu(_norm(train)(_conv(64)(images)))
        for channels in (64, 128, 256, 512):
            for block in range(2):
                stride = 2 if channels > 64 and block == 0 else 1
                features = ResidualBlock(channels, stride, projects=True)(
                    features, train
                )
        return nn.Dense(self.num_classes)(features.mean(axis=(1, 2)))


class ResNet50(nn.Module):
    """ResNet-50 whose first layer is fit for CIFAR, as ``ResNet18`` is."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = nn.relu(_norm(train)(_conv(64)(images)))
        for channels, blocks in (64, 3), (128, 4), (256, 6), (512, 3):
            for block in range(blocks):
                stride = 2 if channels > 64 and block == 0 else 1
                features = BottleneckBlock(channels, stride)(features, train)
        return nn.Dense(self.num_classes)(features.mean(axis=(1, 2)))


class VGG11(nn.Module):
    """VGG11 with batch normalization and a single dense layer, for CIFAR."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = images
        for stage in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
            for channels in stage:
                features = Conv(
                    channels,
                    (3, 3),
                    padding=BORDER,
                    kernel_init=nn.initializers.he_normal(),
                )(features)
                features = nn.relu(_norm(train)(features))
            features = max_pool(features)
        features = features.reshape(features.shape[0], -1)
        return nn.Dense(self.num_classes)(features)
