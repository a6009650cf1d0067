"""Algorithm 1 of GAL, lines 4 to 14, with Eq. 5, for both of its routes."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._gal import adjustment, arguments
from optaxmods._gal import network as networks
from optaxmods._gal.adjustment import Turn, dot
from optaxmods._gal.examples import AllReduce, Examples, examples
from optaxmods._gal.losses import LossFn, Vanilla, losses_and_gradient
from optaxmods._gal.network import Theta
from optaxmods._shared.mesh import sum_by_name, sum_of_shards

if TYPE_CHECKING:
    from optaxmods._gal.adjuster import GradientAdjuster


class Adjustment(NamedTuple):
    """What GAL adds to the gradients; nothing here is differentiated."""

    cotangent: jax.Array  # [..., d]; of the mean loss, where accepted.
    theta_gradient: Theta  # Of the mean of |r|.
    metrics: dict[str, jax.Array]


class _Look(NamedTuple):
    """What lines 4 to 6 find, and what the others need; all of it constant."""

    batch: Examples
    loss_fn: LossFn
    vanilla: Vanilla
    turn: Turn
    pullback: Callable[[jax.Array], Theta]  # Of Eq. 3.
    scale: jax.Array  # The tentative step, see adjustment.step_scale.
    all_reduce: AllReduce


def _look(
    adjuster: GradientAdjuster,
    theta: Theta,
    features: Any,
    loss_fn: Any,
    tentative_step: Any = None,
    weights: Any = None,
    key: Any = None,
) -> tuple[Examples, _Look]:
    """The examples, and the same as constants with what lines 4 to 6 find."""
    loss_fn = arguments.checked_losses(loss_fn)
    arguments.check_features(features)
    z = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    arguments.check_weights(weights, z)
    networks.check_theta(adjuster.network, theta)
    all_reduce = functools.partial(sum_by_name, axis_name=adjuster.axis_name)
    given = examples(z, weights, all_reduce)
    step = adjuster.tentative_step
    if tentative_step is not None:
        arguments.check_step(tentative_step)
        step = tentative_step
    batch = jax.lax.stop_gradient(given)
    vanilla = Vanilla(*losses_and_gradient(loss_fn, batch.z))
    v, pullback = networks.direction(adjuster, theta, batch, key)  # Eq. 3
    turn = adjustment.turned(adjuster, batch, vanilla, v)  # Eq. 4
    scale = adjustment.step_scale(adjuster, batch, step)
    return given, _Look(
        batch, loss_fn, vanilla, turn, pullback, scale, all_reduce
    )


def adjust(
    adjuster: GradientAdjuster,
    theta: Theta,
    features: Any,
    loss_fn: Any,
    tentative_step: Any = None,
    weights: Any = None,
    key: Any = None,
) -> tuple[Examples, Adjustment]:
    """Lines 4 to 14; the arguments are those of the adjuster's loss."""
    given, look = _look(
        adjuster, theta, features, loss_fn, tentative_step, weights, key
    )
    batch, loss_fn, vanilla, turn, pullback, scale, all_reduce = look
    delta = scale * (vanilla.gradient + turn.tilde())  # Eq. 5

    def along_delta(slope: jax.Array) -> jax.Array:
        # Not from delta, which would be kept in memory for it.
        g_along = dot(vanilla.gradient, slope) + turn.along_tilde(slope)
        return (scale[..., 0] if scale.ndim else scale) * g_along

    descent = along_delta(vanilla.gradient)
    r, slope = adjustment.remainder(
        adjuster, loss_fn, batch.z, vanilla, delta, descent, along_delta
    )
    # l(z - delta) - l(z) without its cancellation.
    accepted = adjustment.accepted(adjuster, batch, r - descent, all_reduce)
    if adjuster.convention == "released":
        # Its first-order term has a second 1 / N.
        r = r - descent + descent / batch.count
        slope = slope - vanilla.gradient + vanilla.gradient / batch.count
    size_of_r, weight = adjustment.absolute_mean(adjuster, batch, r, all_reduce)
    to_v = turn.slope_in_v(weight[..., None] * scale, slope)
    cotangent = turn.tilde(jnp.where(accepted, batch.share, 0)[..., None])
    theta_gradient = sum_of_shards(pullback(to_v), adjuster.axis_name)
    metrics = {
        "acceptance": all_reduce(jnp.sum(jnp.where(accepted, batch.part, 0))),
        "remainder": size_of_r,
        # Of padding 0, whatever its loss is: it is not seen, and v is 0.
        "cosine": all_reduce(jnp.sum(batch.part * turn.cosine)),
        "finite": all_finite(theta_gradient),
    }
    return given, jax.lax.stop_gradient(
        Adjustment(cotangent, theta_gradient, metrics)
    )


def share_improved(
    adjuster: GradientAdjuster,
    theta: Theta,
    features: Any,
    loss_fn: Any,
    tentative_step: Any = None,
    weights: Any = None,
    key: Any = None,
) -> jax.Array:
    """The share of examples whose loss g lowers more than dl/dz (Fig. 8b)."""
    _, look = _look(
        adjuster, theta, features, loss_fn, tentative_step, weights, key
    )
    batch, loss_fn, vanilla, turn, _, scale, all_reduce = look

    def change(direction: jax.Array) -> jax.Array:
        delta = scale * direction
        along_delta = functools.partial(dot, delta)
        descent = along_delta(vanilla.gradient)
        r, _ = adjustment.remainder(
            adjuster, loss_fn, batch.z, vanilla, delta, descent, along_delta
        )
        return batch.signed(r - descent)

    adjusted = vanilla.gradient + turn.tilde()
    improved = change(adjusted) < change(vanilla.gradient)
    share = all_reduce(jnp.sum(batch.part * improved))
    return jax.lax.stop_gradient(share)


def directly(
    adjuster: GradientAdjuster,
    theta: Theta,
    updates: optax.Updates,
    pullback: Any,
    features: Any,
    loss_fn: Any,
    tentative_step: Any = None,
    weights: Any = None,
    key: Any = None,
) -> tuple[optax.Updates, Theta]:
    """The updates with accepted adjustments, and theta's gradient."""
    _, adjusted = adjust(
        adjuster, theta, features, loss_fn, tentative_step, weights, key
    )
    pulled = pullback(adjusted.cotangent.astype(features.dtype))
    added = arguments.checked_pulled_back(pulled, updates)

    def plus(update: Any, added: Any) -> Any:
        if not arguments.is_moved(update):
            return update
        added = sum_of_shards(arguments.plain(added), adjuster.axis_name)
        return update + added.astype(jnp.result_type(update))

    updates = jax.tree.map(plus, updates, added, is_leaf=arguments.is_absent)
    return updates, adjusted.theta_gradient


def all_finite(tree: Any) -> jax.Array:
    """Whether every number of all leaves is finite."""
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    # Not stacked: under jax.vmap a mesh may split some of them and not others,
    # which jnp.stack refuses.
    return functools.reduce(jnp.logical_and, finite, jnp.asarray(True))
