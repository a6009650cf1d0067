"""The networks that the studies train."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def convolve_by_matmul(
    inputs: jax.Array,
    kernel: jax.Array,
    window_strides: tuple[int, ...],
    padding: Any,
    **unused: Any,
) -> jax.Array:
    """Convolves with stride 1 and SAME padding, as one matrix product.

    Under ``vmap`` over seeds every seed has its own kernel, which turns
    ``lax.conv_general_dilated`` into a grouped convolution. XLA's CPU backend
    takes about seven times as long for that as for this.

    Args:
        inputs: Array of shape [batch, height, width, channels].
        kernel: Array of odd height and width, [height, width, in, out].
        window_strides: Must be all ones.
        padding: Must be ``"SAME"``.
        **unused: What else ``flax.linen.Conv`` passes, at its defaults here.

    Returns:
        Array of shape [batch, height, width, out].
    """
    if padding != "SAME" or set(window_strides) != {1}:
        raise ValueError("convolve_by_matmul has stride 1 and SAME padding.")
    rows, columns, _, features = kernel.shape
    height, width = inputs.shape[1:3]
    padded = jnp.pad(
        inputs,
        ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)),
    )
    patches = [
        padded[:, row : row + height, column : column + width]
        for row in range(rows)
        for column in range(columns)
    ]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, features)


class SmallCNN(nn.Module):
    """Two 3x3 convolutions with a pooling between, and two dense layers."""

    channels: tuple[int, int] = (16, 32)
    hidden_size: int = 64
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = nn.relu(self._convolution(self.channels[0])(images))
        features = nn.avg_pool(features, (2, 2), strides=(2, 2))
        features = nn.relu(self._convolution(self.channels[1])(features))
        features = features.reshape(features.shape[0], -1)
        features = nn.relu(nn.Dense(self.hidden_size)(features))
        return nn.Dense(self.num_classes)(features)

    def _convolution(self, channels: int) -> nn.Conv:
        return nn.Conv(
            channels, (3, 3), conv_general_dilated=convolve_by_matmul
        )
