"""Which dtype an update has: that of what came in."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax


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
        like = jax.tree.map(
            lambda g, p: jax.ShapeDtypeStruct(
                jnp.shape(g), jnp.result_type(g, p)
            ),
            updates,
            params,
        )
        return returned_as_came(transformed, like), state

    return optax.GradientTransformationExtraArgs(tx.init, update_fn)


def _cast(leaf: Any, like: jax.ShapeDtypeStruct) -> Any:
    # float0, the gradient of an integer, is NumPy's alone.
    array = leaf if hasattr(leaf, "astype") else jnp.asarray(leaf)
    return array.astype(like.dtype)
