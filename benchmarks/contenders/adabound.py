"""AdaBound, which optax does not have."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class AdaBoundState(NamedTuple):
    """State of ``adabound``."""

    count: jax.Array  # shape=(), dtype=jnp.int32; updates.
    mean: optax.Updates  # Of the gradients.
    square: optax.Updates  # Mean of the gradients' squares.


def adabound(
    learning_rate: jax.typing.ArrayLike,
    final_rate: float = 0.1,
    gamma: float = 1e-3,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Returns Adam with each entry's rate between bounds that close in.

    At step t = 1, 2, ... with Adam's means m of the gradients and v of their
    squares

        rate = learning_rate sqrt(1 - b2^t) / (1 - b1^t) / (sqrt(v) + eps)
        low = final_rate (1 - 1 / (gamma t + 1))
        high = final_rate (1 + 1 / (gamma t))
        x <- x - clip(rate, low, high) m

    as in its authors' code; their paper leaves Adam's correction of the bias
    out.

    Args:
        learning_rate: Adam's.
        final_rate: That of SGD with momentum, to which both bounds go.
        gamma: How fast they do.
        b1: Decay of m.
        b2: Decay of v.
        eps: Beside the root of v.

    References:
        Luo et al., `Adaptive Gradient Methods with Dynamic Bound of Learning
        Rate <https://openreview.net/forum?id=Bkg3g2R9FX>`_, 2019
    """

    def init_fn(params: optax.Params) -> AdaBoundState:
        zeros = optax.tree.zeros_like(params)
        return AdaBoundState(jnp.zeros([], jnp.int32), zeros, zeros)

    def update_fn(
        updates: optax.Updates, state: Any, params: Any = None
    ) -> tuple[optax.Updates, AdaBoundState]:
        del params
        count = jnp.asarray(optax.safe_increment(state.count))
        mean = optax.tree.update_moment(updates, state.mean, b1, 1)
        square = optax.tree.update_moment(updates, state.square, b2, 2)
        rate = learning_rate * jnp.sqrt(1 - b2**count) / (1 - b1**count)
        low = final_rate * (1 - 1 / (gamma * count + 1))
        high = final_rate * (1 + 1 / (gamma * count))
        updates = jax.tree.map(
            lambda m, v: -jnp.clip(rate / (jnp.sqrt(v) + eps), low, high) * m,
            mean,
            square,
        )
        return updates, AdaBoundState(count, mean, square)

    return optax.GradientTransformation(init_fn, update_fn)
