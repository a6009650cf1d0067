"""Moments: running means of gradients, one array for each parameter."""

import functools
from typing import Any

import jax
from jax.core import Tracer
import jax.numpy as jnp
import optax
import optax.tree


def zero_moments(
    params: optax.Params, dtype: jax.typing.DTypeLike | None = None
) -> optax.Updates:
    """Zeros that are split over a mesh as the parameters are."""
    zeros = optax.tree.zeros_like(params, dtype=dtype)
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        return zeros  # Outside of jit they are split already.
    # On automatic axes the compiler would leave zeros that depend on no
    # parameter whole on every device. Here it cannot tell that they do not.
    # (jax.experimental.shard_alike joins all leaves of one shape.)
    never = jax.lax.optimization_barrier(jnp.asarray(False))
    return jax.tree.map(functools.partial(_or_zeros, never), params, zeros)


def _or_zeros(is_param: jax.Array, param: Any, zeros: jax.Array) -> jax.Array:
    param = param if jnp.iscomplexobj(zeros) else jnp.real(param)
    space = jax.typeof(zeros).memory_space
    if jax.typeof(param).memory_space != space:  # Offloaded to the host.
        param = jax.device_put(param, space)
    return jax.lax.select(is_param, param.astype(zeros.dtype), zeros)


def update_moment(
    regularized: optax.Updates,
    updates: optax.Updates,
    moments: optax.Updates,
    decay: jax.typing.ArrayLike,
) -> optax.Updates:
    """A first moment of Psi, rounded to the dtype that optax gives it."""
    return jax.tree.map(
        lambda psi, g, m: ((1 - decay) * psi + decay * m).astype(
            jnp.result_type(g, m)
        ),
        regularized,
        updates,
        moments,
    )
