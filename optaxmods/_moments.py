"""Moments: running means of gradients, one array for each parameter."""

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
    return jax.tree.map(_split_as, zeros, params)


def _split_as(zeros: jax.Array, param: Any) -> jax.Array:
    if not isinstance(param, Tracer):
        return zeros  # Outside of jit they are split already.
    # On automatic axes the compiler would leave zeros that depend on no
    # parameter whole on every device. Here it cannot tell that they do not.
    # (jax.experimental.shard_alike joins all leaves of one shape.)
    never = jax.lax.optimization_barrier(jnp.asarray(False))
    param = param if jnp.iscomplexobj(zeros) else jnp.real(param)
    space = jax.typeof(zeros).memory_space
    if jax.typeof(param).memory_space != space:  # Offloaded to the host.
        param = jax.device_put(param, space)
    return jax.lax.select(never, param.astype(zeros.dtype), zeros)


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
