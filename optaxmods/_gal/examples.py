"""A batch as GAL sees it: features, and each example's share of the mean.

Features z of shape [..., d] hold one example, or one token, in each vector of
the last axis; losses, weights and whatever there is one of per example have
the shape [...].

An example of negative share has a loss to be raised: Eq. 3 to 7 and Algorithm 1
are those of minus its loss. With s, the sign of the share, they are computed
from the loss itself: s dl/dz + v~ is s (dl/dz + s v~), and r of s l is s r.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Sums over the shards that hold the examples.
AllReduce = Callable[[jax.Array], jax.Array]


class Examples(NamedTuple):
    """Features, and each example's share of the mean."""

    z: jax.Array  # [..., d], float32 or float64.
    share: jax.Array  # [...]; over all shards they sum to 1, or to 0.
    climbs: jax.Array | None  # [...]; whether the share is negative, if any.
    part: jax.Array  # [...]; of the sum of absolute weights, for the metrics.
    count: jax.Array  # []; N, or the sum of all weights, without its sign.

    def signed(self, values: jax.Array) -> jax.Array:
        """Values [...] of the losses as values of s times the losses."""
        if self.climbs is None:
            return values
        return jnp.where(self.climbs, -values, values)

    def used(self, values: jax.Array) -> jax.Array:
        """Values [...], 0 for the examples that have no weight."""
        return jnp.where(self.share != 0, values, 0)


class Shares(NamedTuple):
    """Each example's share, without the features: see :class:`Examples`."""

    share: jax.Array
    climbs: jax.Array | None
    part: jax.Array
    count: jax.Array


def examples(
    z: jax.Array, weights: jax.Array | None, all_reduce: AllReduce
) -> Examples:
    return Examples(z, *shares(jnp.sum(z, axis=-1), weights, all_reduce))


def shares(
    each: jax.Array, weights: jax.Array | None, all_reduce: AllReduce
) -> Shares:
    """Weights as shares; weights that are all zero leave shares of zero.

    ``each`` is any number of each example, in the dtype to count in.
    """
    if weights is None:
        weights = jnp.ones_like(each)
        count = all_reduce(jnp.sum(weights))
        safe = jnp.where(count > 0, count, jnp.ones_like(count))
        share = weights / safe
        return Shares(share, None, share, safe)
    weights = jnp.broadcast_to(weights, each.shape).astype(each.dtype)
    sizes = jnp.abs(weights)
    # Both at once: one all-reduce.
    sums = all_reduce(jnp.stack([jnp.sum(weights), jnp.sum(sizes)]))
    count, size = (_divisor(each, sums[1]) for each in (sums[0], sums[1]))
    share = weights / count
    # Theta learns nothing from a step without a mean.
    part = jnp.where(jnp.isnan(count), count, sizes / size)
    return Shares(share, share < 0, part, jnp.abs(count))


def _divisor(count: jax.Array, size: jax.Array) -> jax.Array:
    """A sum of weights, 1 if all are 0, and no number if there is no mean."""
    has_mean = jnp.isfinite(count) & (count != 0)
    return jnp.where(size == 0, 1, jnp.where(has_mean, count, jnp.nan))
