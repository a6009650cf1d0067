"""The adjustment of GAL: Eq. 3 to 7, and lines 7 to 10 of Algorithm 1, once.

Features z of shape [..., d] hold one example, or one token, in each vector of
the last axis; losses, weights and whatever there is one of per example have
the shape [...].

An example of negative share has a loss to be raised: Eq. 3 to 7 and Algorithm 1
are those of minus its loss. With s, the sign of the share, they are computed
from the loss itself: s dl/dz + v~ is s (dl/dz + s v~), and r of s l is s r.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxmods._gal import arguments
from optaxmods._gal import network as networks
from optaxmods._gal.losses import LossFn, losses_and_gradient
from optaxmods._gal.network import Theta
from optaxmods._shared.mesh import check_bound, sum_by_name, sum_of_shards

if TYPE_CHECKING:
    from optaxmods._gal.adjuster import GradientAdjuster

# Below this step, as the largest |delta| of an example, the remainder comes
# from the curvature: in float32 the difference of two losses is cancellation.
SMALL_STEP = 0.03
# Above this, where float32 squares overflow, a feature is a mask.
LARGEST = 1.8e19


class Examples(NamedTuple):
    """Features, and each example's share of the mean."""

    z: jax.Array  # [..., d], float32 or float64.
    share: jax.Array  # [...]; over all shards they sum to 1, or to 0.
    climbs: jax.Array | None  # [...]; whether the share is negative, if any.
    part: jax.Array  # [...]; of the sum of absolute weights, for the metrics.
    count: jax.Array  # []; N, or the sum of all weights, without its sign.


class Vanilla(NamedTuple):
    """The losses and their gradient, each example's by itself."""

    losses: jax.Array  # [...]
    gradient: jax.Array  # [..., d]; dl/dz
    norm: jax.Array  # [..., 1]; ||dl/dz||


class Adjustment(NamedTuple):
    """What GAL adds to the gradients; nothing here is differentiated."""

    cotangent: jax.Array  # [..., d]; of the mean loss, where accepted.
    theta_gradient: Theta  # Of the mean of |r|.
    metrics: dict[str, jax.Array]


def _examples(
    adjuster: GradientAdjuster, z: jax.Array, weights: jax.Array | None
) -> Examples:
    """Weights as shares; weights that are all zero leave shares of zero."""
    if weights is None:
        weights = jnp.ones_like(jnp.sum(z, axis=-1))
        count = _total(adjuster, weights)
        safe = jnp.where(count > 0, count, jnp.ones_like(count))
        share = weights / safe
        return Examples(z, share, None, share, safe)
    weights = jnp.broadcast_to(weights, z.shape[:-1]).astype(z.dtype)
    sizes = jnp.abs(weights)
    # Both at once: one all-reduce.
    sums = sum_by_name(
        jnp.stack([jnp.sum(weights), jnp.sum(sizes)]), adjuster.axis_name
    )
    count, size = (_divisor(each, sums[1]) for each in (sums[0], sums[1]))
    share = weights / count
    # Theta learns nothing from a step without a mean.
    part = jnp.where(jnp.isnan(count), count, sizes / size)
    return Examples(z, share, share < 0, part, jnp.abs(count))


def _total(adjuster: GradientAdjuster, values: jax.Array) -> jax.Array:
    """The sum over all examples, those of other shards included."""
    return sum_by_name(jnp.sum(values), adjuster.axis_name)


def _divisor(count: jax.Array, size: jax.Array) -> jax.Array:
    """A sum of weights, 1 if all are 0, and no number if there is no mean."""
    has_mean = jnp.isfinite(count) & (count != 0)
    return jnp.where(size == 0, 1, jnp.where(has_mean, count, jnp.nan))


def _signed(batch: Examples, values: jax.Array) -> jax.Array:
    """Values [...] of the losses as values of s times the losses."""
    if batch.climbs is None:
        return values
    return jnp.where(batch.climbs, -values, values)


class _Look(NamedTuple):
    """What lines 4 to 6 of Algorithm 1 find."""

    batch: Examples
    loss_fn: LossFn
    vanilla: Vanilla
    turn: _Turn
    pullback: Callable[[jax.Array], Theta]  # Of Eq. 3.
    scale: jax.Array  # The tentative step, see _step_scale.


def _look(
    adjuster: GradientAdjuster,
    theta: Theta,
    batch: Examples,
    loss_fn: LossFn,
    tentative_step: Any,
    key: Any,
) -> _Look:
    """Nothing of it is differentiated."""
    theta, batch = jax.lax.stop_gradient((theta, batch))
    vanilla = _vanilla(loss_fn, batch.z)
    v, pullback = _direction(adjuster, theta, batch, key)
    turn = _turn(adjuster, batch, vanilla, v)
    scale = _step_scale(adjuster, batch, tentative_step)
    return _Look(batch, loss_fn, vanilla, turn, pullback, scale)


def adjust(
    adjuster: GradientAdjuster,
    theta: Theta,
    features: jax.Array,
    loss_fn: LossFn,
    tentative_step: jax.typing.ArrayLike | None = None,
    example_weights: jax.Array | None = None,
    key: jax.Array | None = None,
) -> tuple[Examples, Adjustment]:
    """Lines 4 to 14 of Algorithm 1; the arguments are the adjuster's."""
    given, loss_fn, step = _checked(
        adjuster, theta, features, loss_fn, tentative_step, example_weights
    )
    look = _look(adjuster, theta, given, loss_fn, step, key)
    batch, _, vanilla, turn, pullback, scale = look
    delta = scale * (vanilla.gradient + turn.tilde())  # Eq. 5

    def along_delta(slope: jax.Array) -> jax.Array:
        # Not from delta, which would be kept in memory for it.
        g_along = _dot(vanilla.gradient, slope) + turn.along_tilde(slope)
        return _last(scale) * g_along

    descent = along_delta(vanilla.gradient)
    r, slope = _remainder(adjuster, look, delta, descent, along_delta)
    # l(z - delta) - l(z) without its cancellation.
    accepted = _accepted(adjuster, batch, r - descent)
    if adjuster.convention == "released":
        # Its first-order term has a second 1 / N.
        r = r - descent + descent / batch.count
        slope = slope - vanilla.gradient + vanilla.gradient / batch.count
    size_of_r, weight = _absolute_mean(adjuster, batch, r)
    to_v = turn.slope_in_v(weight[..., None] * scale, slope)
    theta_gradient = sum_of_shards(pullback(to_v), adjuster.axis_name)
    share = jnp.where(accepted, batch.share, 0)
    metrics = {
        "acceptance": _total(adjuster, jnp.where(accepted, batch.part, 0)),
        "remainder": size_of_r,
        # Of padding 0, whatever its loss is: it is not seen, and v is 0.
        "cosine": _total(adjuster, batch.part * turn.cosine),
        "finite": all_finite(theta_gradient),
    }
    cotangent = turn.tilde(share[..., None])
    return given, jax.lax.stop_gradient(
        Adjustment(cotangent, theta_gradient, metrics)
    )


def share_improved(
    adjuster: GradientAdjuster,
    theta: Theta,
    features: jax.Array,
    loss_fn: LossFn,
    tentative_step: jax.typing.ArrayLike | None = None,
    example_weights: jax.Array | None = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """The share of examples whose loss g lowers more than dl/dz (Fig. 8b)."""
    given, loss_fn, step = _checked(
        adjuster, theta, features, loss_fn, tentative_step, example_weights
    )
    look = _look(adjuster, theta, given, loss_fn, step, key)
    batch, _, vanilla, turn, _, scale = look

    def change(direction: jax.Array) -> jax.Array:
        delta = scale * direction
        along_delta = functools.partial(_dot, delta)
        descent = along_delta(vanilla.gradient)
        r, _ = _remainder(adjuster, look, delta, descent, along_delta)
        return _signed(batch, r - descent)

    adjusted = vanilla.gradient + turn.tilde()
    improved = change(adjusted) < change(vanilla.gradient)
    return jax.lax.stop_gradient(_total(adjuster, batch.part * improved))


def _checked(
    adjuster: GradientAdjuster,
    theta: Theta,
    features: Any,
    loss_fn: Any,
    tentative_step: Any,
    weights: Any,
) -> tuple[Examples, LossFn, Any]:
    """The examples in float32, or in float64 if they are, and the step."""
    check_bound(adjuster.axis_name)
    loss_fn = arguments.checked_losses(loss_fn)
    arguments.check_features(features)
    z = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    arguments.check_weights(weights, z)
    batch = _examples(adjuster, z, weights)
    networks.check_theta(adjuster.network, theta)
    if tentative_step is None:
        tentative_step = adjuster.tentative_step
    arguments.check_step(tentative_step)
    return batch, loss_fn, tentative_step


@jax.custom_jvp
def injected(cotangent: Any, primal: Any) -> jax.Array:
    """0, with the gradient ``cotangent`` in ``primal``.

    Written as x - stop_gradient(x), a number that is not finite would make the
    loss one too.
    """
    del primal
    return jnp.zeros_like(_inner(cotangent, cotangent))


@injected.defjvp
def _injected_jvp(primals, tangents):
    cotangent, primal = primals
    return injected(cotangent, primal), _inner(cotangent, tangents[1])


def _inner(a: Any, b: Any) -> jax.Array:
    products = jax.tree.map(lambda x, y: jnp.sum(x * y), a, b)
    if not jax.tree.leaves(products):  # A network without parameters.
        return jnp.zeros([])
    return jax.tree.reduce(jnp.add, products)


def _used(batch: Examples, values: jax.Array) -> jax.Array:
    """Values [...] or [..., d], 0 for the examples that have no weight."""
    used = batch.share != 0
    used = used[..., None] if values.ndim > used.ndim else used
    return jnp.where(used, values, 0)


def _direction(
    adjuster: GradientAdjuster, theta: Theta, batch: Examples, key: Any
) -> tuple[jax.Array, Callable[[jax.Array], Theta]]:
    """Eq. 3, where padding and masked entries are 0, and its pullback.

    Theta's gradient is a product with the features, and 0 times what is no
    number is none. Masks are infinite or nearly so, and losses of logits are
    flat there: the pullback need not turn down their slopes, for which it would
    keep the features in memory beside those that the network has seen.
    """
    is_mask = jnp.abs(batch.z) > LARGEST
    is_seen = (batch.share != 0)[..., None] & ~is_mask
    seen = jnp.where(is_seen, batch.z, 0)
    v, pullback = jax.vjp(
        lambda theta: networks.apply(
            adjuster.network, adjuster.activation, theta, seen, key
        ),
        theta,
    )

    def to_theta(slope: jax.Array) -> Theta:
        (gradient,) = pullback(slope.astype(v.dtype))
        return gradient

    return jnp.where(is_seen, v, 0).astype(batch.z.dtype), to_theta


def _vanilla(loss_fn: LossFn, z: jax.Array) -> Vanilla:
    losses, gradient = losses_and_gradient(loss_fn, z)
    return Vanilla(losses, gradient, _norm(gradient))


class _Turn(NamedTuple):
    """Eq. 4, as a number for each example on its v.

    v / ||v|| never stands by itself: features may be the logits of a large
    vocabulary, and an array more of them is memory.
    """

    v: jax.Array  # [..., d]
    per_length: jax.Array  # [..., 1]; 1 / ||v||, or 0.
    strength: jax.Array  # [..., 1]; s alpha ||dl/dz||.
    cosine: jax.Array  # [...]; between v and s dl/dz.

    def tilde(self, factor: jax.typing.ArrayLike = 1) -> jax.Array:
        """Eq. 4 times s and a factor for each example."""
        size = self._size(factor)
        # Not size * v: v may be no number there.
        return jnp.where(size == 0, 0, size * self.v)

    def along_tilde(self, vectors: jax.Array) -> jax.Array:
        """<s v~, vectors>, [...]."""
        size = self._size(1)[..., 0]
        return jnp.where(size == 0, 0, size * _dot(self.v, vectors))

    def _size(self, factor: jax.typing.ArrayLike) -> jax.Array:
        size = factor * self.strength * self.per_length
        # A norm that overflowed is no number even where it is turned down.
        return jnp.where(factor == 0, 0, size)

    def slope_in_v(self, factor: jax.Array, slope: jax.Array) -> jax.Array:
        """From a slope in factor s v~ to one in v: v turns, its length not."""
        size = self._size(factor)
        share_of_v = _dot(self.v, slope)[..., None] * self.per_length**2
        # In two terms: XLA would form one of both anew for each of its uses.
        along_v = jnp.where(size == 0, 0, size * share_of_v * self.v)
        return jnp.where(size == 0, 0, size * slope) - along_v


def _turn(
    adjuster: GradientAdjuster,
    batch: Examples,
    vanilla: Vanilla,
    v: jax.Array,
) -> _Turn:
    length = _norm(v)
    usable = (length > adjuster.eps) & jnp.isfinite(length)
    per_length = jnp.where(usable, 1 / jnp.where(usable, length, 1), 0)
    norm = _signed(batch, vanilla.norm[..., 0])[..., None]
    strength = jnp.asarray(adjuster.magnitude) * norm
    products = jnp.where(usable[..., 0], _dot(v, vanilla.gradient), 0)
    cosine = products * per_length[..., 0] / _or_one(vanilla.norm[..., 0])
    return _Turn(v, per_length, strength, _signed(batch, cosine))


def _norm(vectors: jax.Array) -> jax.Array:
    """The Euclidean norm of [..., d] as [..., 1]."""
    return jnp.sqrt(jnp.sum(vectors**2, axis=-1, keepdims=True))


def _step_scale(
    adjuster: GradientAdjuster,
    batch: Examples,
    tentative_step: jax.typing.ArrayLike,
) -> jax.Array:
    """The tentative step on each example, times s: [..., 1] or []."""
    step = jnp.asarray(tentative_step).astype(batch.z.dtype)
    if adjuster.convention == "released":  # It steps along the mean's gradient.
        return step * batch.share[..., None]
    if batch.climbs is None:
        return step
    return jnp.where(batch.climbs, -step, step)[..., None]


def _remainder(
    adjuster: GradientAdjuster,
    look: _Look,
    delta: jax.Array,
    descent: jax.Array,
    along_delta: Callable[[jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Eq. 7, l(z - delta) - l(z) + <dl/dz, delta>, and its slope in delta."""
    z, vanilla = look.batch.z, look.vanilla
    at = functools.partial(losses_and_gradient, look.loss_fn)
    if adjuster.remainder == "finite":
        losses, gradient = at(z - delta)
        return losses - vanilla.losses + descent, vanilla.gradient - gradient
    largest = jnp.max(jnp.abs(delta), axis=-1, keepdims=True)
    is_small = largest < SMALL_STEP
    if adjuster.remainder == "quadratic":
        is_small = jnp.ones_like(is_small)
    # Both from one look at the loss: small steps are its tangent at z, the
    # others its argument.
    there = z - jnp.where(is_small, 0, delta)
    tangent = jnp.where(is_small, delta, 0)
    (losses, gradient), (_, curvature) = jax.jvp(at, (there,), (tangent,))
    slope = jnp.where(is_small, curvature, vanilla.gradient - gradient)
    near, far = along_delta(slope) / 2, losses - vanilla.losses + descent
    # Large losses, and those of many features, cancel at longer steps, too:
    # there the mean of both ends' slopes is what is left of r.
    size = jnp.abs(losses) + jnp.abs(vanilla.losses) + jnp.abs(descent)
    is_noise = jnp.abs(far) <= 8 * float(jnp.finfo(far.dtype).eps) * size
    r = jnp.where(is_small[..., 0] | is_noise, near, far)
    return r, slope


def _accepted(
    adjuster: GradientAdjuster, batch: Examples, change: jax.Array
) -> jax.Array:
    """Whether l(z - eta g) <= l(z) (line 7), for each example."""
    if adjuster.accept in ("always", "never"):
        return jnp.full_like(change, adjuster.accept == "always", dtype=bool)
    if adjuster.convention == "released":
        mean = _total(adjuster, _used(batch, batch.share * change))
        change = jnp.broadcast_to(mean, change.shape)
    else:
        change = _signed(batch, change)
    return change <= 0 if adjuster.accept == "<=" else change < 0


def _absolute_mean(
    adjuster: GradientAdjuster, batch: Examples, r: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Eq. 6, and its slope in each r."""
    if adjuster.convention == "released":
        mean = _total(adjuster, _used(batch, batch.share * r))
        return jnp.abs(mean), jnp.sign(mean) * batch.share
    mean = _total(adjuster, _used(batch, batch.part * jnp.abs(r)))
    return mean, _used(batch, jnp.sign(r) * batch.part)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.sum(a * b, axis=-1)


def _last(scale: jax.Array) -> jax.Array:
    return scale[..., 0] if scale.ndim else scale


def _or_one(positive: jax.Array) -> jax.Array:
    return jnp.where(positive > 0, positive, 1)


def all_finite(tree: Any) -> jax.Array:
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    # Not stacked: under jax.vmap a mesh may split some of them and not others,
    # which jnp.stack refuses.
    return functools.reduce(jnp.logical_and, finite, jnp.asarray(True))
