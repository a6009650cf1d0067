"""Small networks of the kinds that replaced residual ones."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from benchmarks.models.convolution import Conv
from benchmarks.models.language import EncoderLayer


def _depthwise(
    channels: int, size: int, stride: int = 1, use_bias: bool = False
) -> Conv:
    return Conv(
        channels,
        (size, size),
        strides=stride,
        feature_group_count=channels,
        use_bias=use_bias,
    )


class SmallConvNeXt(nn.Module):
    """ConvNeXt (Liu et al., 2022), small, for colour images of 32x32."""

    num_classes: int = 10
    channels: Sequence[int] = (32, 64)
    blocks: Sequence[int] = (1, 2)
    patch: int = 4

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        del train
        features = images
        for stage, channels in enumerate(self.channels):
            size = 2 if stage else self.patch
            if stage:
                features = nn.LayerNorm()(features)
            features = Conv(
                channels, (size, size), strides=size, padding="VALID"
            )(features)
            if not stage:
                features = nn.LayerNorm()(features)
            for _ in range(self.blocks[stage]):
                features = ConvNeXtBlock()(features)
        features = nn.LayerNorm()(features.mean(axis=(1, 2)))
        return nn.Dense(self.num_classes)(features)


class ConvNeXtBlock(nn.Module):
    """A depthwise 7x7 convolution and two dense layers for every pixel."""

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns features of the inputs' shape."""
        channels = inputs.shape[-1]
        features = nn.LayerNorm()(
            _depthwise(channels, 7, use_bias=True)(inputs)
        )
        features = nn.gelu(nn.Dense(4 * channels)(features))
        features = nn.Dense(channels)(features)
        start = nn.initializers.constant(1e-6)
        scale = self.param("scale", start, (channels,))
        return inputs + scale[None, None, None] * features


class SmallTinyViT(nn.Module):
    """After TinyViT (Wu et al., 2022): convolutions first, then attention.

    Windows of attention are the whole 4x4 pixels, and attention has no biases
    of places.
    """

    num_classes: int = 10
    channels: Sequence[int] = (16, 32, 64)
    heads: int = 4
    layers: int = 2

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = images
        for channels in self.channels[:2]:
            features = _normed(
                Conv(channels, (3, 3), strides=2, use_bias=False)(features),
                train,
            )
            features = nn.gelu(features)
        features = nn.gelu(features + self._inverted(features, 1, train))
        features = self._inverted(features, 2, train)
        batch, height, width, channels = features.shape
        for _ in range(self.layers):
            tokens = features.reshape(batch, height * width, channels)
            features = EncoderLayer(self.heads)(tokens).reshape(features.shape)
            near = _depthwise(channels, 3)(features)
            features = features + _normed(near, train)
        features = nn.LayerNorm()(features.mean(axis=(1, 2)))
        return nn.Dense(self.num_classes)(features)

    def _inverted(
        self, inputs: jax.Array, stride: int, train: bool
    ) -> jax.Array:
        """MBConv: wide between two layers of single pixels."""
        channels = inputs.shape[-1] if stride == 1 else self.channels[-1]
        wide = 4 * inputs.shape[-1]
        features = nn.Dense(wide, use_bias=False)(inputs)
        features = nn.gelu(_normed(features, train))
        features = _depthwise(wide, 3, stride)(features)
        features = nn.gelu(_normed(features, train))
        features = nn.Dense(channels, use_bias=False)(features)
        return _normed(features, train)


def _normed(features: jax.Array, train: bool) -> jax.Array:
    return nn.BatchNorm(use_running_average=not train, momentum=0.9)(features)
