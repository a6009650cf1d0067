"""Gradients for optimizers, and where a few steps lead to."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

STEPS = 5  # Of an epoch.


def problem(steps):
    rng = np.random.default_rng(0)
    return rng.normal(size=7), rng.normal(size=(steps, 7))


def steps_of(optimizer, start, gradients, losses=None):
    """Yields params and state after each step."""
    optimizer = optax.with_extra_args_support(optimizer)
    update = jax.jit(optimizer.update)
    params = jnp.asarray(start, jnp.float32)
    state = optimizer.init(params)
    for step, g in enumerate(gradients):
        value = 1.0 if losses is None else losses[step]
        updates, state = update(
            jnp.asarray(g, jnp.float32), state, params, value=value
        )
        params = optax.apply_updates(params, updates)
        yield params, state


def problem_of_sizes(steps):
    rng = np.random.default_rng(0)
    # Of several sizes, so that bounds on rates hold some and not others.
    sizes = np.array([1e-3, 0.1, 1.0, 30.0])
    return rng.normal(size=4), sizes * rng.normal(size=(steps, 4))


def iterates(optimizer, start, gradients):
    params = {"x": jnp.array(start)}
    state = optimizer.init(params)
    for g in gradients:
        updates, state = optimizer.update({"x": jnp.array(g)}, state, params)
        params = optax.apply_updates(params, updates)
        yield params["x"]


def trajectory(optimizer):
    start, gradients = problem(4 * STEPS)
    # Rising in the third window.
    losses = 2 + np.random.default_rng(1).normal(size=4 * STEPS) / 4
    losses[2 * STEPS : 3 * STEPS] += 0.5
    steps = steps_of(optimizer, start, gradients, losses.astype(np.float32))
    return np.array([x for x, _ in steps])
