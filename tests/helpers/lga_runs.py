"""Losses and gradients for LGA, and what it made of them step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax.tree

STEPS = 14
SCALARS = ("lga_gamma", "lga_omega", "lga_lower_bound", "lga_upper_bound")


def make_losses():
    """Falling with noise, so that windows rise and fall."""
    generator = np.random.default_rng(0)
    return 2.0 * 0.95 ** np.arange(STEPS) + generator.normal(0, 0.2, STEPS)


def make_gradients(shape=(3, 4)):
    gradients = np.random.default_rng(1).standard_normal((STEPS, *shape))
    gradients[:, 0, 0] = 0.0
    gradients[:, 0, 1] *= 1e-7  # As large as rounding errors.
    return list(gradients)


def stepper(tx, params=None):
    """Returns a function of gradients and losses, compiled once.

    It gives the updates and the four scalars for logging of all steps.
    """

    def step(state, given):
        gradient, loss = given
        updates, state = tx.update(gradient, state, params, value=loss)
        return state, (updates, *(optax.tree.get(state, n) for n in SCALARS))

    scan = jax.jit(lambda state, given: jax.lax.scan(step, state, given)[1])

    def steps(gradients, losses):
        like = jnp.asarray(gradients[0]) if params is None else params
        given = jnp.stack([*map(jnp.asarray, gradients)]), jnp.asarray(losses)
        return list(
            zip(*map(np.asarray, scan(tx.init(like), given)), strict=True)
        )

    return steps


def run(tx, gradients, losses, params=None):
    return stepper(tx, params)(gradients, losses)
