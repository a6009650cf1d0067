"""Adan's proximal weight decay, for an update that -lr scales afterwards."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._dtypes import wide_dtype


class ProximalDecayState(NamedTuple):
    """State of the proximal decay where a rate is a schedule."""

    count: jax.typing.ArrayLike  # shape=(), dtype=jnp.int32; updates so far.


def add_proximal_decay(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: optax.ScalarOrSchedule,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Turns u into (u + wd theta) / (1 + lr wd).

    Scaled by -lr afterwards, theta moves to (theta - lr u) / (1 + lr wd),
    the last line of Algorithm 1. Formed as a difference of old and new theta
    the update would lose all digits in bfloat16.
    """
    scheduled = callable(learning_rate) or callable(weight_decay)
    no_decay = isinstance(weight_decay, (int, float)) and weight_decay == 0

    def init_fn(params):
        del params
        if scheduled:
            return ProximalDecayState(count=jnp.zeros([], jnp.int32))
        return optax.EmptyState()

    def update_fn(updates, state, params=None, **extra_args):
        del extra_args
        if no_decay:
            return updates, _advanced(state)
        if params is None:
            raise ValueError(
                "Weight decay needs the parameters: call"
                " tx.update(grads, state, params)."
            )
        lr = _current(learning_rate, state)
        wd = _current(weight_decay, state)

        def decayed(u: jax.Array, theta: jax.Array) -> jax.Array:
            wide = wide_dtype(u, theta)
            decay = wd * jnp.asarray(theta, wide)
            moved = (jnp.asarray(u, wide) + decay) / (1 + lr * wd)
            return moved.astype(jnp.result_type(u, theta))

        return jax.tree.map(decayed, updates, params), _advanced(state)

    decay = optax.GradientTransformationExtraArgs(init_fn, update_fn)
    return decay if mask is None else optax.masked(decay, mask)


def _current(rate: optax.ScalarOrSchedule, state: Any) -> Any:
    return rate(state.count) if callable(rate) else rate


def _advanced(state: Any) -> Any:
    if isinstance(state, ProximalDecayState):
        return ProximalDecayState(count=optax.safe_increment(state.count))
    return state
