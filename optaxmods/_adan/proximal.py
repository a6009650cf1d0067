"""Adan's proximal weight decay, for an update that -lr scales afterwards."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._shared.arguments import check_count
from optaxmods._shared.rates import masked, rate_at


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
    rates = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    scheduled = any(map(callable, rates.values()))
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
        for name, rate in rates.items():
            if callable(rate):
                check_count(name, state)
        count = getattr(state, "count", None)
        lr, wd = (rate_at(name, rate, count) for name, rate in rates.items())

        def decayed(u: jax.Array, theta: jax.Array) -> jax.Array:
            # Updates are as wide as their moments, float32 or wider.
            wide = jnp.result_type(u, theta)
            decay = wd * jnp.asarray(theta, wide)
            moved = (jnp.asarray(u, wide) + decay) / (1 + lr * wd)
            return moved.astype(wide)

        return jax.tree.map(decayed, updates, params), _advanced(state)

    return masked(
        optax.GradientTransformationExtraArgs(init_fn, update_fn), mask
    )


def _advanced(state: Any) -> Any:
    if isinstance(state, ProximalDecayState):
        return ProximalDecayState(count=optax.safe_increment(state.count))
    return state
