"""GAL's direct route: ``update`` itself pulls back what the features are given.

To gradients it adds what is accepted. Where there are none, it makes them: the
gradient in the features, adjusted, is pulled back once.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from optaxmods._gal import algorithm, arguments, objective
from optaxmods._gal.network import Theta
from optaxmods._shared.mesh import sum_of_shards

if TYPE_CHECKING:
    from optaxmods._gal.adjuster import GradientAdjuster


def gradients(
    adjuster: GradientAdjuster,
    theta: Theta,
    plain: optax.Updates,
    params: optax.Params | None,
    pullback: Any,
    features: Any,
    loss_fn: Any,
    targets: Any,
    head: Any,
    block_size: Any,
    *rest: Any,
) -> tuple[optax.Updates, Theta]:
    """The adjusted gradients, like the plain ones or the params; theta's.

    ``rest`` is the tentative step, the examples' weights and the key.
    """
    is_given = arguments.has_nodes(plain)
    if is_given:
        arguments.check_not_in_blocks(head, block_size)
        _, adjusted = algorithm.adjust(
            adjuster,
            theta,
            features,
            arguments.with_targets(loss_fn, targets),
            *rest,
        )
        taught = adjusted.theta_gradient
        pulled = pullback(adjusted.cotangent.astype(features.dtype))
    else:
        layer, params_of_layer = arguments.checked_head(head, targets)
        mean = functools.partial(objective.mean, adjuster, theta)
        # A layer may have integers among its params.
        slopes, (taught, _) = jax.grad(mean, has_aux=True, allow_int=True)(
            (params_of_layer, features),
            targets,
            layer,
            loss_fn,
            block_size,
            *rest,
        )
        if head is None:
            pulled = pullback(slopes[1])
        else:
            pulled = arguments.pulled_back_with_head(pullback, slopes[::-1])
    like = plain if is_given else params
    if like is None:
        like = arguments.only_one(pulled)
    name = "updates" if is_given else "params"
    slopes = arguments.checked_pulled_back(pulled, like, name)

    def summed(leaf: Any, slope: Any) -> Any:
        if not arguments.is_moved(leaf):
            return leaf if is_given else arguments.unmoved(leaf)
        slope = sum_of_shards(arguments.plain(slope), adjuster.axis_name)
        return leaf + slope.astype(jnp.result_type(leaf)) if is_given else slope

    return jax.tree.map(
        summed, like, slopes, is_leaf=arguments.is_absent
    ), taught
