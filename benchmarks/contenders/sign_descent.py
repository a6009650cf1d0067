"""Sign descent beside an optimizer, which optax has alone."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def with_sign_descent(
    inner: optax.GradientTransformation,
    size: float,
    steps: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Moves each entry by as much as any other, on top of an optimizer's step.

    With the update Delta of ``inner`` and the raw gradient g, at step
    t = 0, 1, ...

        x <- x + Delta - size max(0, 1 - t / steps) sign(g)

    Args:
        inner: The optimizer.
        size: How far an entry is moved in a step.
        steps: Where the size comes to 0, falling in a line; None leaves it.
    """
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: optax.Params) -> Any:
        return jnp.zeros([], jnp.int32), inner.init(params)

    def update_fn(
        updates: optax.Updates, state: Any, params: Any = None, **extra: Any
    ) -> tuple[optax.Updates, Any]:
        count, inner_state = state
        moved, inner_state = inner.update(updates, inner_state, params, **extra)
        now = (
            size if steps is None else size * jnp.maximum(0, 1 - count / steps)
        )
        moved = jax.tree.map(lambda u, g: u - now * jnp.sign(g), moved, updates)
        return moved, (optax.safe_increment(count), inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
