"""The mean loss with GAL's gradients, whole or in blocks, for both routes.

Which of the two it is, is decided here, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from optaxmods._gal import algorithm, arguments, blockwise
from optaxmods._gal import network as networks
from optaxmods._gal.losses import (
    Closed,
    injected,
    losses_by_gradient,
    weighted_sum,
)
from optaxmods._gal.network import Theta

if TYPE_CHECKING:
    from optaxmods._gal.adjuster import GradientAdjuster

Metrics = dict[str, jax.Array]


def mean(
    adjuster: GradientAdjuster,
    theta: Theta,
    inputs: tuple[Any, Any],
    targets: Any,
    layer: Any,
    loss_fn: Any,
    block_size: Any,
    tentative_step: Any,
    weights: Any,
    key: Any,
) -> tuple[jax.Array, tuple[Theta, Metrics]]:
    """The mean loss; beside it the gradient in theta, and the metrics.

    The mean's gradients in the inputs, the params of the layer and what it
    makes features of, are adjusted. Of shards it is this one's part.
    """
    rest = tentative_step, weights, key
    work = blockwise.work(
        adjuster, layer, loss_fn, block_size, *inputs, targets, *rest
    )
    networks.check_theta(adjuster.network, theta)
    if work is not None:
        return blockwise.loss(work, theta, *inputs, targets, weights)
    loss_fn = arguments.with_targets(loss_fn, targets)
    batch, adjusted = algorithm.adjust(
        adjuster, theta, layer(*inputs), loss_fn, *rest
    )
    z = batch.z
    losses = losses_by_gradient(loss_fn, z, batch.share != 0)
    if weights is None and not adjuster.axis_name:
        value = jnp.mean(losses)  # To the bit what users would write.
    else:
        value = weighted_sum(losses, batch.share)
    value = value + injected(
        adjusted.cotangent, _of_inputs(layer, inputs, batch.z)
    )
    return value, (adjusted.theta_gradient, adjusted.metrics)


def _of_inputs(layer: Any, inputs: tuple[Any, Any], z: jax.Array) -> jax.Array:
    """The features, whose derivative in what the layer closes over is 0.

    That gets its plain gradient, in blocks and here. XLA forms them once.
    """
    closed = Closed.of(layer, *inputs)
    if not closed.constants:
        return z
    constants = jax.lax.stop_gradient(closed.constants)
    return closed.function(constants, *inputs).astype(z.dtype)


def share_improved(
    adjuster: GradientAdjuster,
    theta: Theta,
    inputs: tuple[Any, Any],
    targets: Any,
    layer: Any,
    loss_fn: Any,
    block_size: Any,
    tentative_step: Any,
    weights: Any,
    key: Any,
) -> jax.Array:
    """The share of examples whose loss g lowers more than dl/dz (Fig. 8b)."""
    rest = tentative_step, weights, key
    work = blockwise.work(
        adjuster, layer, loss_fn, block_size, *inputs, targets, *rest
    )
    networks.check_theta(adjuster.network, theta)
    if work is not None:
        return blockwise.share_improved(work, theta, *inputs, targets, weights)
    loss_fn = arguments.with_targets(loss_fn, targets)
    return algorithm.share_improved(
        adjuster, theta, layer(*inputs), loss_fn, *rest
    )
