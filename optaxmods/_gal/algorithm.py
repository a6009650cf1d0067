"""Algorithm 1 of GAL, lines 4 to 14, with Eq. 5."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxmods._gal import adjustment, arguments
from optaxmods._gal import network as networks
from optaxmods._gal.adjustment import Turn, dot
from optaxmods._gal.examples import AllReduce, Examples, examples
from optaxmods._gal.losses import (
    LossFn,
    Vanilla,
    all_finite,
    losses_and_gradient,
)
from optaxmods._gal.network import Theta
from optaxmods._shared.mesh import sum_by_name, sum_of_shards

if TYPE_CHECKING:
    from optaxmods._gal.adjuster import GradientAdjuster


class Adjustment(NamedTuple):
    """What GAL adds to the gradients; nothing here is differentiated."""

    cotangent: jax.Array  # [..., d]; of the mean loss, where accepted.
    theta_gradient: Theta  # Of the mean of |r|.
    metrics: dict[str, jax.Array]


class Task(NamedTuple):
    """Examples and what lines 4 to 14 want of them; all of it constants."""

    batch: Examples
    loss_fn: LossFn
    vanilla: Vanilla
    step: Any
    key: Any
    all_reduce: AllReduce  # Sums what each shard has.


class _Look(NamedTuple):
    """What lines 4 to 6 find; nothing of it is differentiated."""

    turn: Turn
    pullback: Callable[[jax.Array], Theta]  # Of Eq. 3.
    scale: jax.Array  # The tentative step, see adjustment.step_scale.


def _look(adjuster: GradientAdjuster, theta: Theta, task: Task) -> _Look:
    batch, _, vanilla, step, key, _ = task
    v, pullback = networks.direction(adjuster, theta, batch, key)  # Eq. 3
    turn = adjustment.turned(adjuster, batch, vanilla, v)  # Eq. 4
    scale = adjustment.step_scale(adjuster, batch, step)
    return _Look(turn, pullback, scale)


def step_of(adjuster: GradientAdjuster, tentative_step: Any) -> Any:
    """The step given in place of the adjuster's, or that."""
    if tentative_step is None:
        return adjuster.tentative_step
    arguments.check_step(tentative_step)
    return tentative_step


def _task(
    adjuster: GradientAdjuster,
    features: Any,
    loss_fn: Any,
    tentative_step: Any = None,
    weights: Any = None,
    key: Any = None,
) -> tuple[Examples, Task]:
    """The examples, and what is to be done with the same as constants."""
    loss_fn = arguments.checked_losses(loss_fn)
    arguments.check_features(features)
    z = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    arguments.check_weights(weights, z)
    all_reduce = functools.partial(sum_by_name, axis_name=adjuster.axis_name)
    given = examples(z, weights, all_reduce)
    step = step_of(adjuster, tentative_step)
    batch = jax.lax.stop_gradient(given)
    vanilla = Vanilla(*losses_and_gradient(loss_fn, batch.z))
    return given, Task(batch, loss_fn, vanilla, step, key, all_reduce)


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
    given, task = _task(
        adjuster, features, loss_fn, tentative_step, weights, key
    )
    added = adjustment_of(adjuster, theta, task)
    gradient = sum_of_shards(added.theta_gradient, adjuster.axis_name)
    metrics = {**added.metrics, "finite": all_finite(gradient)}
    return given, jax.lax.stop_gradient(
        Adjustment(added.cotangent, gradient, metrics)
    )


def adjustment_of(
    adjuster: GradientAdjuster, theta: Theta, task: Task
) -> Adjustment:
    """Lines 4 to 14 for these examples, and theta's gradient from them."""
    turn, pullback, scale = _look(adjuster, theta, task)
    batch, loss_fn, vanilla, _, _, all_reduce = task
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
    metrics = {
        "acceptance": all_reduce(jnp.sum(jnp.where(accepted, batch.part, 0))),
        "remainder": size_of_r,
        # Of padding 0, whatever its loss is: it is not seen, and v is 0.
        "cosine": all_reduce(jnp.sum(batch.part * turn.cosine)),
    }
    return Adjustment(cotangent, pullback(to_v), metrics)


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
    _, task = _task(adjuster, features, loss_fn, tentative_step, weights, key)
    return jax.lax.stop_gradient(improved_of(adjuster, theta, task))


def improved_of(
    adjuster: GradientAdjuster, theta: Theta, task: Task
) -> jax.Array:
    """The same, of these examples."""
    turn, _, scale = _look(adjuster, theta, task)
    batch, loss_fn, vanilla, _, _, all_reduce = task

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
    return all_reduce(jnp.sum(batch.part * improved))
