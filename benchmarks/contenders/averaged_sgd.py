"""Averaged SGD, which optax does not have, as PyTorch has it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class AveragedSgdState(NamedTuple):
    """State of ``averaged_sgd``."""

    count: jax.Array  # shape=(), dtype=jnp.int32; updates.
    weight: jax.Array  # shape=(), dtype=jnp.float32; of the current iterate.
    average: optax.Params  # Of the iterates before it.


def averaged_sgd(
    learning_rate: jax.typing.ArrayLike,
    decay: float = 1e-4,
    power: float = 0.75,
    start: float = 1e6,
) -> optax.GradientTransformation:
    """Returns SGD with a decaying rate and an average of its iterates.

    ``torch.optim.ASGD``: at step t = 1, 2, ... with the rate eta of the step

        eta = rate / (1 + decay rate (t - 1))^power
        x <- (1 - decay eta) x - eta g
        average <- average + (x - average) / max(1, t - 1 - start)

    The average, which ``averaged_params`` returns, is the current iterate up to
    step ``start`` + 2: with the default, in less than a million steps, nothing
    is averaged.

    Args:
        learning_rate: The rate of the first step.
        decay: PyTorch's ``lambd``.
        power: PyTorch's ``alpha``.
        start: PyTorch's ``t0``.

    References:
        Polyak and Juditsky, `Acceleration of Stochastic Approximation by
        Averaging <https://doi.org/10.1137/0330046>`_, 1992
    """

    def init_fn(params: optax.Params) -> AveragedSgdState:
        return AveragedSgdState(
            count=jnp.zeros([], jnp.int32),
            weight=jnp.ones([], jnp.float32),
            average=optax.tree.zeros_like(params),
        )

    def update_fn(
        updates: optax.Updates, state: Any, params: Any = None
    ) -> tuple[optax.Updates, AveragedSgdState]:
        if params is None:
            raise ValueError("averaged_sgd needs the params in its update")
        count = state.count
        rate = learning_rate / (1 + decay * learning_rate * count) ** power
        # The iterates are averaged as they come in, a step late, so that what
        # stands around this one, such as with_lga, has had its say.
        average = averaged_params(state, params)
        updates = jax.tree.map(
            lambda g, x: -rate * (g + decay * x), updates, params
        )
        return updates, AveragedSgdState(
            count=jnp.asarray(optax.safe_increment(count)),
            weight=1 / jnp.maximum(1.0, count - start),
            average=average,
        )

    return optax.GradientTransformation(init_fn, update_fn)


def averaged_params(
    state: AveragedSgdState, params: optax.Params
) -> optax.Params:
    """Returns the average of the iterates, of which params are the last."""
    return jax.tree.map(
        lambda average, x: average + state.weight * (x - average),
        state.average,
        params,
    )
