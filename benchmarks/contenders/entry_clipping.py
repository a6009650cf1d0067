"""Clipping of single entries, which optax has with a fixed bound alone."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def clip_entries(factor: float) -> optax.GradientTransformation:
    """Clips each leaf's entries at a multiple of their median size.

    Of a leaf g, with m the median of abs(g),

        g <- clip(g, -factor m, factor m)

    A leaf more than half of which is 0 has no such size, and is left alone.

    Args:
        factor: How many times the median size an entry may have.
    """

    def clipped(leaf: jax.Array) -> jax.Array:
        median = jnp.median(jnp.abs(leaf))
        bound = jnp.where(median > 0, factor * median, jnp.inf)
        return jnp.clip(leaf, -bound, bound)

    def update_fn(
        updates: optax.Updates, state: Any, params: Any = None
    ) -> tuple[optax.Updates, Any]:
        del params
        return jax.tree.map(clipped, updates), state

    return optax.GradientTransformation(
        lambda params: optax.EmptyState(), update_fn
    )
