"""The adjustment of GAL: Eq. 3 to 7, and lines 7 to 10 of Algorithm 1, once.

Features z of shape [..., d] hold one example, or one token, in each vector of
the last axis; losses, weights and whatever there is one of per example have
the shape [...].

An example of negative share has a loss to be raised: Eq. 3 to 7 and Algorithm 1
are those of minus its loss. With s, the sign of the share, they are computed
from the loss itself: s dl/dz + v~ is s (dl/dz + s v~), and r of s l is s r.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxmods._axes import splitting_names
from optaxmods._gal_losses import LossFn, losses_and_gradient

Theta = Any
Network = Callable[[Theta, jax.Array], jax.Array]

# Below this step, as the largest |delta| of an example, the remainder comes
# from the curvature: in float32 the difference of two losses is cancellation.
SMALL_STEP = 0.03
# Above this, where float32 squares overflow, a feature is a mask.
LARGEST = 1.8e19


class Rule(NamedTuple):
    """What of a :class:`optaxmods.GradientAdjuster` the maths needs."""

    magnitude: jax.typing.ArrayLike
    accept: str
    convention: str
    remainder: str
    eps: jax.typing.ArrayLike
    axis_name: Any


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


def upcast(features: jax.Array) -> jax.Array:
    """Features in float32, or in float64 if they are."""
    return features.astype(jnp.promote_types(features.dtype, jnp.float32))


def total(rule: Rule, values: jax.Array) -> jax.Array:
    """The sum over all examples, those of other shards included."""
    return _joined(rule, jnp.sum(values))


def _joined(rule: Rule, sums: jax.Array) -> jax.Array:
    return jax.lax.psum(sums, rule.axis_name) if rule.axis_name else sums


def examples(rule: Rule, z: jax.Array, weights: jax.Array | None) -> Examples:
    """Weights as shares; weights that are all zero leave shares of zero."""
    if weights is None:
        weights = jnp.ones_like(jnp.sum(z, axis=-1))
        count = total(rule, weights)
        safe = jnp.where(count > 0, count, jnp.ones_like(count))
        share = weights / safe
        return Examples(z, share, None, share, safe)
    weights = jnp.broadcast_to(weights, z.shape[:-1]).astype(z.dtype)
    sizes = jnp.abs(weights)
    # Both at once: one all-reduce.
    sums = _joined(rule, jnp.stack([jnp.sum(weights), jnp.sum(sizes)]))
    count, size = (_divisor(each, sums[1]) for each in (sums[0], sums[1]))
    share = weights / count
    # Theta learns nothing from a step without a mean.
    part = jnp.where(jnp.isnan(count), count, sizes / size)
    return Examples(z, share, share < 0, part, jnp.abs(count))


def _divisor(count: jax.Array, size: jax.Array) -> jax.Array:
    """A sum of weights, 1 if all are 0, and no number if there is no mean."""
    has_mean = jnp.isfinite(count) & (count != 0)
    return jnp.where(size == 0, 1, jnp.where(has_mean, count, jnp.nan))


def _signed(batch: Examples, values: jax.Array) -> jax.Array:
    """Values [...] of the losses as values of s times the losses."""
    if batch.climbs is None:
        return values
    return jnp.where(batch.climbs, -values, values)


def adjust(
    rule: Rule,
    network: Network,
    theta: Theta,
    batch: Examples,
    loss_fn: LossFn,
    tentative_step: jax.typing.ArrayLike,
) -> Adjustment:
    """Lines 4 to 14 of Algorithm 1."""
    theta, batch = jax.lax.stop_gradient((theta, batch))
    vanilla = _vanilla(loss_fn, batch.z)
    v, pullback = _direction(network, theta, batch)
    turn = _turn(rule, batch, vanilla, v)
    scale = _step_scale(rule, batch, tentative_step)
    delta = scale * (vanilla.gradient + turn.tilde())  # Eq. 5

    def along_delta(slope: jax.Array) -> jax.Array:
        # Not from delta, which would be kept in memory for it.
        g_along = _dot(vanilla.gradient, slope) + turn.along_tilde(slope)
        return _last(scale) * g_along

    descent = along_delta(vanilla.gradient)
    r, slope = _remainder(
        rule, loss_fn, batch.z, vanilla, delta, descent, along_delta
    )
    # l(z - delta) - l(z) without its cancellation.
    accepted = _accepted(rule, batch, r - descent)
    if rule.convention == "released":
        # Its first-order term has a second 1 / N.
        r = r - descent + descent / batch.count
        slope = slope - vanilla.gradient + vanilla.gradient / batch.count
    size_of_r, weight = _absolute_mean(rule, batch, r)
    to_v = turn.slope_in_v(weight[..., None] * scale, slope)
    theta_gradient = over_shards(rule, pullback(to_v))
    share = jnp.where(accepted, batch.share, 0)
    metrics = {
        "acceptance": total(rule, jnp.where(accepted, batch.part, 0)),
        "remainder": size_of_r,
        "cosine": total(rule, _used(batch, batch.part * turn.cosine)),
        "finite": all_finite(theta_gradient),
    }
    return jax.lax.stop_gradient(
        Adjustment(turn.tilde(share[..., None]), theta_gradient, metrics)
    )


def share_improved(
    rule: Rule,
    network: Network,
    theta: Theta,
    batch: Examples,
    loss_fn: LossFn,
    tentative_step: jax.typing.ArrayLike,
) -> jax.Array:
    """The share of examples whose loss g lowers more than dl/dz (Fig. 8b)."""
    theta, batch = jax.lax.stop_gradient((theta, batch))
    vanilla = _vanilla(loss_fn, batch.z)
    v, _ = _direction(network, theta, batch)
    turn = _turn(rule, batch, vanilla, v)
    scale = _step_scale(rule, batch, tentative_step)

    def change(direction: jax.Array) -> jax.Array:
        delta = scale * direction
        along_delta = functools.partial(_dot, delta)
        descent = along_delta(vanilla.gradient)
        r, _ = _remainder(
            rule, loss_fn, batch.z, vanilla, delta, descent, along_delta
        )
        return _signed(batch, r - descent)

    adjusted = vanilla.gradient + turn.tilde()
    improved = change(adjusted) < change(vanilla.gradient)
    return jax.lax.stop_gradient(total(rule, batch.part * improved))


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
    network: Network, theta: Theta, batch: Examples
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
    v, pullback = jax.vjp(lambda theta: network(theta, seen), theta)

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


def _turn(rule: Rule, batch: Examples, vanilla: Vanilla, v: jax.Array) -> _Turn:
    length = _norm(v)
    usable = (length > rule.eps) & jnp.isfinite(length)
    per_length = jnp.where(usable, 1 / jnp.where(usable, length, 1), 0)
    norm = _signed(batch, vanilla.norm[..., 0])[..., None]
    strength = jnp.asarray(rule.magnitude) * norm
    products = jnp.where(usable[..., 0], _dot(v, vanilla.gradient), 0)
    cosine = products * per_length[..., 0] / _or_one(vanilla.norm[..., 0])
    return _Turn(v, per_length, strength, _signed(batch, cosine))


def _norm(vectors: jax.Array) -> jax.Array:
    """The Euclidean norm of [..., d] as [..., 1]."""
    return jnp.sqrt(jnp.sum(vectors**2, axis=-1, keepdims=True))


def _step_scale(
    rule: Rule, batch: Examples, tentative_step: jax.typing.ArrayLike
) -> jax.Array:
    """The tentative step on each example, times s: [..., 1] or []."""
    step = jnp.asarray(tentative_step).astype(batch.z.dtype)
    if rule.convention == "released":  # It steps along the mean's gradient.
        return step * batch.share[..., None]
    if batch.climbs is None:
        return step
    return jnp.where(batch.climbs, -step, step)[..., None]


def _remainder(
    rule: Rule,
    loss_fn: LossFn,
    z: jax.Array,
    vanilla: Vanilla,
    delta: jax.Array,
    descent: jax.Array,
    along_delta: Callable[[jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Eq. 7, l(z - delta) - l(z) + <dl/dz, delta>, and its slope in delta."""
    look = functools.partial(losses_and_gradient, loss_fn)
    if rule.remainder == "finite":
        losses, gradient = look(z - delta)
        return losses - vanilla.losses + descent, vanilla.gradient - gradient
    largest = jnp.max(jnp.abs(delta), axis=-1, keepdims=True)
    is_small = largest < SMALL_STEP
    if rule.remainder == "quadratic":
        is_small = jnp.ones_like(is_small)
    # Both from one look at the loss: small steps are its tangent at z, the
    # others its argument.
    there = z - jnp.where(is_small, 0, delta)
    tangent = jnp.where(is_small, delta, 0)
    (losses, gradient), (_, curvature) = jax.jvp(look, (there,), (tangent,))
    slope = jnp.where(is_small, curvature, vanilla.gradient - gradient)
    near, far = along_delta(slope) / 2, losses - vanilla.losses + descent
    # Large losses, and those of many features, cancel at longer steps, too:
    # there the mean of both ends' slopes is what is left of r.
    size = jnp.abs(losses) + jnp.abs(vanilla.losses) + jnp.abs(descent)
    is_noise = jnp.abs(far) <= 8 * float(jnp.finfo(far.dtype).eps) * size
    r = jnp.where(is_small[..., 0] | is_noise, near, far)
    return r, slope


def _accepted(rule: Rule, batch: Examples, change: jax.Array) -> jax.Array:
    """Whether l(z - eta g) <= l(z) (line 7), for each example."""
    if rule.accept in ("always", "never"):
        return jnp.full_like(change, rule.accept == "always", dtype=bool)
    if rule.convention == "released":
        mean = total(rule, _used(batch, batch.share * change))
        change = jnp.broadcast_to(mean, change.shape)
    else:
        change = _signed(batch, change)
    return change <= 0 if rule.accept == "<=" else change < 0


def _absolute_mean(
    rule: Rule, batch: Examples, r: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Eq. 6, and its slope in each r."""
    if rule.convention == "released":
        mean = total(rule, _used(batch, batch.share * r))
        return jnp.abs(mean), jnp.sign(mean) * batch.share
    mean = total(rule, _used(batch, batch.part * jnp.abs(r)))
    return mean, _used(batch, jnp.sign(r) * batch.part)


def over_shards(rule: Rule, gradients: Any) -> Any:
    """Sums what differentiation has not summed over the shards already."""
    axes = rule.axis_name or ()
    axes = (axes,) if isinstance(axes, str) else tuple(axes)

    def summed(gradient: jax.Array) -> jax.Array:
        names = splitting_names(gradient, axes)
        return jax.lax.psum(gradient, names) if names else gradient

    return jax.tree.map(summed, gradients)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.sum(a * b, axis=-1)


def _last(scale: jax.Array) -> jax.Array:
    return scale[..., 0] if scale.ndim else scale


def _or_one(positive: jax.Array) -> jax.Array:
    return jnp.where(positive > 0, positive, 1)


def all_finite(tree: Any) -> jax.Array:
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    # Not stacked: under jax.vmap a mesh may split some of them and not others.
    return functools.reduce(jnp.logical_and, finite, jnp.asarray(True))
