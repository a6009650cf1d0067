"""The adjustment of GAL: Eq. 4, 6 and 7, and line 7 of Algorithm 1, once.

Eq. 3 is the network's, and stands beside it; Eq. 5 is a sum, in Algorithm 1.
The shapes, and the sign s of an example whose loss is to be raised, are those
of :mod:`optaxmods._gal.examples`.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from optaxmods._gal.examples import AllReduce, Examples
from optaxmods._gal.losses import LossFn, Vanilla, losses_and_gradient

if TYPE_CHECKING:
    from optaxmods._gal.adjuster import GradientAdjuster

# Below this step, as the largest |delta| of an example, the remainder comes
# from the curvature: in float32 the difference of two losses is cancellation.
SMALL_STEP = 0.03


class Turn(NamedTuple):
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
        return jnp.where(size == 0, 0, size * dot(self.v, vectors))

    def _size(self, factor: jax.typing.ArrayLike) -> jax.Array:
        size = factor * self.strength * self.per_length
        # A norm that overflowed is no number even where it is turned down.
        return jnp.where(factor == 0, 0, size)

    def slope_in_v(self, factor: jax.Array, slope: jax.Array) -> jax.Array:
        """From a slope in factor s v~ to one in v: v turns, its length not."""
        size = self._size(factor)
        share_of_v = dot(self.v, slope)[..., None] * self.per_length**2
        # In two terms: XLA would form one of both anew for each of its uses.
        along_v = jnp.where(size == 0, 0, size * share_of_v * self.v)
        return jnp.where(size == 0, 0, size * slope) - along_v


def turned(
    adjuster: GradientAdjuster,
    batch: Examples,
    vanilla: Vanilla,
    v: jax.Array,
) -> Turn:
    """Eq. 4, ready for ``Turn.tilde``."""
    length = _norm(v)
    usable = (length > adjuster.eps) & jnp.isfinite(length)
    per_length = jnp.where(usable, 1 / jnp.where(usable, length, 1), 0)
    slope_norm = _norm(vanilla.gradient)
    signed = batch.signed(slope_norm[..., 0])[..., None]
    strength = jnp.asarray(adjuster.magnitude) * signed
    products = jnp.where(usable[..., 0], dot(v, vanilla.gradient), 0)
    cosine = products * per_length[..., 0] / _or_one(slope_norm[..., 0])
    return Turn(v, per_length, strength, batch.signed(cosine))


def step_scale(
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


def remainder(
    adjuster: GradientAdjuster,
    loss_fn: LossFn,
    z: jax.Array,
    vanilla: Vanilla,
    delta: jax.Array,
    descent: jax.Array,
    along_delta: Callable[[jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Eq. 7, l(z - delta) - l(z) + <dl/dz, delta>, and its slope in delta."""
    at = functools.partial(losses_and_gradient, loss_fn)
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


def accepted(
    adjuster: GradientAdjuster,
    batch: Examples,
    change: jax.Array,
    all_reduce: AllReduce,
) -> jax.Array:
    """Whether l(z - eta g) <= l(z) (line 7), for each example."""
    if adjuster.accept in ("always", "never"):
        return jnp.full_like(change, adjuster.accept == "always", dtype=bool)
    if adjuster.convention == "released":
        mean = all_reduce(jnp.sum(batch.used(batch.share * change)))
        change = jnp.broadcast_to(mean, change.shape)
    else:
        change = batch.signed(change)
    return change <= 0 if adjuster.accept == "<=" else change < 0


def absolute_mean(
    adjuster: GradientAdjuster,
    batch: Examples,
    r: jax.Array,
    all_reduce: AllReduce,
) -> tuple[jax.Array, jax.Array]:
    """Eq. 6, and its slope in each r."""
    if adjuster.convention == "released":
        mean = all_reduce(jnp.sum(batch.used(batch.share * r)))
        return jnp.abs(mean), jnp.sign(mean) * batch.share
    mean = all_reduce(jnp.sum(batch.used(batch.part * jnp.abs(r))))
    return mean, batch.used(jnp.sign(r) * batch.part)


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.sum(a * b, axis=-1)


def _norm(vectors: jax.Array) -> jax.Array:
    """The Euclidean norm of [..., d] as [..., 1]."""
    return jnp.sqrt(jnp.sum(vectors**2, axis=-1, keepdims=True))


def _or_one(positive: jax.Array) -> jax.Array:
    return jnp.where(positive > 0, positive, 1)
