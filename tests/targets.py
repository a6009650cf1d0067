"""Functions whose minimum every optimizer ought to reach.

The parabola and Rosenbrock's function are those that optax runs its contributed
optimizers on, here with one weight matrix each, so that AGR has a part in them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

STEPS = 30_000


class Target(NamedTuple):
    start: Any
    minimum: Any
    loss: Callable[[Any, jax.Array], jax.Array]  # Of parameters and step.


def squares(start, minimum):
    start, minimum = (np.array(x, np.float32) for x in (start, minimum))
    return Target(
        start, minimum, lambda params, step: jnp.sum((params - minimum) ** 2)
    )


def rosenbrock(params, step):
    x, y = params[0]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


WEIGHTS = np.array([[1.0], [-2.0], [0.5], [3.0]], np.float32)


def one_hot(params, step):
    """One row of a table at a time: an embedding with a single active row."""
    row = step % len(WEIGHTS)
    inputs = jax.nn.one_hot(row, len(WEIGHTS))
    return jnp.sum((inputs @ params - jnp.asarray(WEIGHTS)[row]) ** 2)


TARGETS = {
    "parabola": squares([[-1, 10, 1]], [[1, -1, 1]]),
    "2x2": squares(np.zeros((2, 2)), [[3, -2], [1, 4]]),
    "rosenbrock": Target(
        np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32), rosenbrock
    ),
    "one-hot": Target(np.zeros((4, 1), np.float32), WEIGHTS, one_hot),
}


def descend(tx, target, steps=STEPS):
    """Where an optimizer ends, and its distance to the minimum on the way.

    The distance is the largest of an entry, as a share of one plus its size. A
    transformation is handed the loss.
    """
    tx = optax.with_extra_args_support(tx)
    minimum = jnp.asarray(target.minimum)

    def step(carry, count):
        params, state = carry
        value, gradient = jax.value_and_grad(target.loss)(params, count)
        updates, state = tx.update(gradient, state, params, value=value)
        params = optax.apply_updates(params, updates)
        off = jnp.abs(params - minimum) / (1 + jnp.abs(minimum))
        return (params, state), jnp.max(off)

    @jax.jit
    def run(params):
        start = params, tx.init(params)
        (params, _), distances = jax.lax.scan(step, start, jnp.arange(steps))
        return params, distances

    return tuple(map(np.asarray, run(jnp.asarray(target.start))))
