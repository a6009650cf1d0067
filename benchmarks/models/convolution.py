"""Convolution and pooling that are fast on a CPU too."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Padding = str | Sequence[tuple[int, int]]


def convolve(
    inputs: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Padding,
    **options: Any,
) -> jax.Array:
    """Convolves in the way that is fast on this machine.

    XLA's CPU backend takes several times as long for a convolution as for a
    matrix product where it stands in a loop, as every training step does, and
    where each seed has its own kernel under ``vmap``, which makes it a grouped
    one. Accelerators are built for both.
    """
    if jax.default_backend() == "cpu":
        if options.get("feature_group_count", 1) > 1:
            return convolve_depthwise(inputs, kernel, window_strides, padding)
        return convolve_by_matmul(inputs, kernel, window_strides, padding)
    return jax.lax.conv_general_dilated(
        inputs, kernel, window_strides, padding, **options
    )


def convolve_by_matmul(
    inputs: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Padding,
) -> jax.Array:
    """Convolves as one matrix product, of patches and the flattened kernel.

    Args:
        inputs: Array of shape [batch, height, width, channels].
        kernel: Array of shape [height, width, channels, features].
        window_strides: Of the height and the width.
        padding: As for ``lax.conv_general_dilated``.

    Returns:
        Array of shape [batch, height, width, features].
    """
    patches = _patches(inputs, kernel.shape[:2], window_strides, padding)
    flat = kernel.reshape(-1, kernel.shape[-1])
    return jnp.concatenate(patches, axis=-1) @ flat


def convolve_depthwise(
    inputs: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Padding,
) -> jax.Array:
    """Convolves each channel with a window of its own, as a sum of products.

    The arguments are those of ``convolve_by_matmul``, but that the kernel has
    the shape [height, width, 1, channels].
    """
    if kernel.shape[2:] != (1, inputs.shape[-1]):
        raise ValueError(
            f"a kernel of shape {kernel.shape} has no window for each of"
            f" {inputs.shape[-1]} channels"
        )
    patches = _patches(inputs, kernel.shape[:2], window_strides, padding)
    windows = kernel.reshape(-1, 1, 1, 1, inputs.shape[-1])
    total = 0.0
    for patch, weights in zip(patches, windows, strict=True):
        total = total + patch * weights
    return jnp.asarray(total)


def _patches(
    inputs: jax.Array,
    window: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
) -> list[jax.Array]:
    """Returns what each place of a window sees of the inputs, row by row."""
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(
            inputs.shape[1:3], window, window_strides, padding
        )
    padded = jnp.pad(inputs, ((0, 0), *padding, (0, 0)))
    # The last places, one too many, where a window begins.
    ends = [
        size - length + 1
        for size, length in zip(padded.shape[1:3], window, strict=True)
    ]
    return [
        padded[
            :,
            row : row + ends[0] : window_strides[0],
            column : column + ends[1] : window_strides[1],
        ]
        for row in range(window[0])
        for column in range(window[1])
    ]


class Conv(nn.Conv):
    """``flax.linen.Conv``, convolving by ``convolve``."""

    conv_general_dilated: Any = convolve


def max_pool(features: jax.Array) -> jax.Array:
    """Takes the largest of each 2x2 window; an odd last row is dropped."""
    return _windows(features).max(axis=(2, 4))


def avg_pool(features: jax.Array) -> jax.Array:
    """Takes the mean of each 2x2 window; an odd last row is dropped."""
    return _windows(features).mean(axis=(2, 4))


def _windows(features: jax.Array) -> jax.Array:
    # The gradient of flax.linen.max_pool is slow on a CPU; that of a reduction
    # over axes is not.
    batch, height, width, channels = features.shape
    rows, columns = height // 2, width // 2
    even = features[:, : 2 * rows, : 2 * columns]
    return even.reshape(batch, rows, 2, columns, 2, channels)
