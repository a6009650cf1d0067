"""Which dtype numbers are formed in, and which an update has."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from optaxmods._shared.arguments import check_floating, shown
from optaxmods._shared.trees import SAME_AS_GRADIENTS, beside


def wide_dtype(*values: jax.typing.ArrayLike) -> jnp.dtype:
    """The values' common dtype; float32 where it is narrower or no float."""
    dtype = jnp.result_type(*values)
    if not jnp.issubdtype(dtype, jnp.inexact) or jnp.finfo(dtype).bits < 32:
        return jnp.dtype(jnp.float32)
    return dtype


def widened(tree: optax.Updates) -> optax.Updates:
    """Each leaf in float32, or as it is where it is wider."""
    return jax.tree.map(lambda leaf: cast(leaf, wide_dtype(leaf)), tree)


def checked_dtype(
    name: str, dtype: jax.typing.DTypeLike | None
) -> jax.typing.DTypeLike | None:
    """Returns a moment's dtype in JAX's own form; ``None`` stays."""
    if dtype is None:
        return None
    try:
        canonical = jax.dtypes.canonicalize_dtype(dtype)
    except TypeError:
        canonical = None
    # In an integer dtype the moment would stay 0, and in 8 bits it would hardly
    # move.
    if (
        canonical is None
        or not jnp.issubdtype(canonical, jnp.inexact)
        or jnp.finfo(canonical).bits < 16
    ):
        raise ValueError(
            f"{name} must be None or a floating-point dtype of at least 16"
            f" bits, such as jnp.bfloat16, got {shown(dtype)}; with"
            " optax.inject_hyperparams name it in static_args."
        )
    return canonical


def returned_as_came(
    updates: optax.Updates, came: optax.Updates
) -> optax.Updates:
    """Casts to the incoming dtypes; tree and shapes must be equal."""
    # Canonical dtypes: without 64 bits a NumPy float64 is a float32 in JAX.
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            jnp.shape(leaf), jnp.result_type(leaf)
        ),
        came,
    )
    updates = jax.tree.map(lambda u, to: cast(u, to.dtype), updates, like)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, like)
    return updates


def returning_as_came(
    tx: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Gives ``tx``'s updates the incoming dtypes."""

    def update_fn(updates, state, params=None, **extra_args):
        transformed, state = tx.update(updates, state, params, **extra_args)
        return returned_as_came(transformed, updates), state

    return optax.GradientTransformationExtraArgs(tx.init, update_fn)


def params_beside(updates: optax.Updates, params: Any) -> Any:
    """The parameters that the updates move, if there are any."""
    if params is None:
        return None
    return beside(updates, params, "params", SAME_AS_GRADIENTS)


def steps_like(updates: optax.Updates, params: optax.Params) -> Any:
    """Shapes of the updates, each as wide as the parameter that it moves.

    The parameters must be beside the updates, as :func:`params_beside` puts
    them.
    """

    def step_like(u: Any, p: Any) -> jax.ShapeDtypeStruct:
        # JAX promotes no float0.
        is_float0 = getattr(u, "dtype", None) == jax.dtypes.float0
        dtype = u.dtype if is_float0 else jnp.result_type(u, p)
        return jax.ShapeDtypeStruct(jnp.shape(u), dtype)

    return jax.tree.map(step_like, updates, params)


def returning_steps(
    tx: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Gives ``tx``'s updates the incoming dtypes, or wider parameters' ones.

    A finished step has the learning rate in it: rounded to the float16 of a
    gradient, it could vanish before it reaches a float32 parameter. Without
    parameters the step stays as wide as the moments made it.
    """

    def update_fn(updates, state, params=None, **extra_args):
        if not _is_given(updates) and jax.tree.leaves(params):
            raise ValueError(
                "the gradients are None: call tx.update(grads, state, params)."
            )
        check_floating(updates)
        params = params_beside(updates, params)
        transformed, state = tx.update(updates, state, params, **extra_args)
        if params is None:
            chex.assert_trees_all_equal_shapes(transformed, updates)
            return transformed, state
        like = steps_like(updates, params)
        return returned_as_came(transformed, like), state

    return optax.GradientTransformationExtraArgs(tx.init, update_fn)


def _is_given(updates: Any) -> bool:
    # Asked in place, type checkers would take what follows for unreachable.
    return updates is not None


def cast(leaf: Any, dtype: jnp.dtype) -> Any:
    # float0, the gradient of an integer, is NumPy's alone.
    array = leaf if hasattr(leaf, "astype") else jnp.asarray(leaf)
    return array.astype(dtype)
