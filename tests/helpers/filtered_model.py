"""A model as Equinox has them: a tree that is called, with functions in it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Model:
    weight: Any
    bias: Any
    table: Any  # An array that is not trained.
    activation: Any  # A function.

    def __call__(self, x):
        return self.activation(x @ self.weight + self.bias)


def make_model():
    return Model(
        weight=jnp.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]]),
        bias=jnp.array([0.5, -0.5, 1.0]),
        table=jnp.arange(8.0).reshape(4, 2),
        activation=jnp.tanh,
    )


def arrays_of(model):
    """None where it is no array."""
    return jax.tree.map(
        lambda leaf: leaf if isinstance(leaf, jax.Array) else None, model
    )


def gradients_of(model, step=0, table=None):
    """None also for what is not trained."""
    return Model(
        weight=jnp.cos(model.weight + step),
        bias=jnp.sin(model.bias + step),
        table=table,
        activation=None,
    )
