"""The restart condition of Adan: a period or a predicate, traced."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from optaxmods._shared.arguments import is_boolean, is_int, shown

# A period in steps, or a predicate of the number of updates done.
Restart = int | Callable[[jax.Array], jax.typing.ArrayLike]


def check_restart(restart: Restart | None) -> None:
    """Refuses what is no period and no predicate, before any tracing."""
    if restart is None or callable(restart):
        return
    dtype = getattr(restart, "dtype", None)
    if dtype == jnp.bool_:  # What optax.inject_hyperparams makes of one.
        raise ValueError(
            "restart is a boolean array; pass a period or a predicate, and"
            " with optax.inject_hyperparams name a predicate in static_args."
        )
    if is_int(restart):
        is_period = restart >= 1
    else:  # Of an array the number is not looked at.
        is_integer = dtype is not None and jnp.issubdtype(dtype, jnp.integer)
        is_period = is_integer and jnp.ndim(restart) == 0
    if is_period:
        return
    raise ValueError(
        "restart must be a period of at least 1 step, an int, or a predicate"
        f" of the number of updates done, got {shown(restart)}."
    )


def is_due(restart: Restart, count: jax.typing.ArrayLike) -> jax.Array:
    """Whether to restart after ``count`` updates."""
    count = jnp.asarray(count)
    if not callable(restart):
        return count % restart == 0
    due = restart(count)
    # Of another shape it would restart some entries, and change the state's.
    # A number is most likely that of a schedule.
    if not is_boolean(due) or jnp.shape(due) != ():
        raise ValueError(
            "restart is a predicate that must return one boolean, but it"
            f" returned {shown(due)}."
        )
    return jnp.asarray(due)
