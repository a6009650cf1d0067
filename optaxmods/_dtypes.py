"""Which dtype numbers are formed in, and which an update has."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax


def wide_dtype(*values: jax.typing.ArrayLike) -> jnp.dtype:
    """The values' common dtype; float32 where it is narrower or no float."""
    dtype = jnp.result_type(*values)
    if not jnp.issubdtype(dtype, jnp.inexact) or jnp.finfo(dtype).bits < 32:
        return jnp.dtype(jnp.float32)
    return dtype


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
    updates = jax.tree.map(_cast, updates, like)
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


def steps_like(updates: optax.Updates, params: optax.Params) -> Any:
    """Shapes of the updates, each as wide as the parameter that it moves."""
    return jax.tree.map(
        lambda u, p: jax.ShapeDtypeStruct(jnp.shape(u), jnp.result_type(u, p)),
        updates,
        params,
    )


def returning_steps(
    tx: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Gives ``tx``'s updates the incoming dtypes, or wider parameters' ones.

    A finished step has the learning rate in it: rounded to the float16 of a
    gradient, it could vanish before it reaches a float32 parameter. Without
    parameters the step stays as wide as the moments made it.
    """

    def update_fn(updates, state, params=None, **extra_args):
        transformed, state = tx.update(updates, state, params, **extra_args)
        if params is None:
            chex.assert_trees_all_equal_shapes(transformed, updates)
            return transformed, state
        like = steps_like(updates, params)
        return returned_as_came(transformed, like), state

    return optax.GradientTransformationExtraArgs(tx.init, update_fn)


def _cast(leaf: Any, like: jax.ShapeDtypeStruct) -> Any:
    # float0, the gradient of an integer, is NumPy's alone.
    array = leaf if hasattr(leaf, "astype") else jnp.asarray(leaf)
    return array.astype(like.dtype)
