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


def size_squared(number):
    return jnp.real(number) ** 2 + jnp.imag(number) ** 2


def squares(start, minimum, dtype=np.float32):
    start, minimum = (np.array(x, dtype) for x in (start, minimum))
    return Target(
        start,
        minimum,
        lambda params, step: jnp.sum(size_squared(params - minimum)),
    )


def rosenbrock(a, dtype=np.float32):
    def loss(params, step):
        x, y = params[0]
        return size_squared(a - x) + 100 * size_squared(y - x**2)

    return Target(np.zeros((1, 2), dtype), np.array([[a, a**2]], dtype), loss)


WEIGHTS = np.array([[1.0], [-2.0], [0.5], [3.0]], np.float32)


def one_hot(params, step):
    """One row of a table at a time: an embedding with a single active row."""
    row = step % len(WEIGHTS)
    inputs = jax.nn.one_hot(row, len(WEIGHTS))
    return jnp.sum((inputs @ params - jnp.asarray(WEIGHTS)[row]) ** 2)


TARGETS = {
    "parabola": squares([[-1, 10, 1]], [[1, -1, 1]]),
    "2x2": squares(np.zeros((2, 2)), [[3, -2], [1, 4]]),
    "rosenbrock": rosenbrock(1),
    "one-hot": Target(np.zeros((4, 1), np.float32), WEIGHTS, one_hot),
    # As optax has them, too.
    "complex parabola": squares(
        [[-1, 10, 1]], [[1 + 1j, -1 - 1j, 1 + 1j]], np.complex64
    ),
    "complex rosenbrock": rosenbrock(1 + 1j, np.complex64),
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
        gradient = jnp.conj(gradient)  # As optax takes complex ones.
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
