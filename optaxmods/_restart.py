"""The restart condition of Adan: a period or a predicate, traced."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# A period in steps, or a predicate of the number of updates done.
Restart = int | Callable[[jax.Array], jax.typing.ArrayLike]


def check_restart(restart: Restart | None) -> None:
    """Only Python numbers can be checked before tracing."""
    if isinstance(restart, (bool, float)) or (
        isinstance(restart, int) and restart < 1
    ):
        raise ValueError(
            "restart must be a period of at least 1 step, an int, or a"
            f" predicate of the step count, got {restart}."
        )


def is_due(restart: Restart, count: jax.typing.ArrayLike) -> jax.Array:
    """Whether to restart after ``count`` updates."""
    count = jnp.asarray(count)
    if callable(restart):
        return jnp.asarray(restart(count))
    # What optax.inject_hyperparams makes of a predicate.
    if jnp.issubdtype(jnp.result_type(restart), jnp.bool_):
        raise ValueError(
            "restart is a boolean array; pass a period or a predicate, and"
            " with optax.inject_hyperparams name a predicate in static_args."
        )
    return count % restart == 0
