"""Runs an optimizer on given gradients, beside an oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SHAPE = (4, 3)


def make_gradients(steps, shape=SHAPE, seed=0):
    generator = np.random.default_rng(seed)
    return list(generator.standard_cauchy((steps, *shape)))


def make_complex_gradients(steps, shape=SHAPE):
    """Those of make_gradients, each entry turned by an angle of its own."""
    return [
        g * np.exp(1j * np.random.default_rng(k).uniform(0, 7, g.shape))
        for k, g in enumerate(make_gradients(steps, shape))
    ]


def make_theta(shape=SHAPE):
    return np.random.default_rng(99).standard_normal(shape)


def run(tx, theta, gradients, dtype="float64"):
    """The parameters after each step, under jit, as NumPy arrays."""

    @jax.jit
    def step(params, state, gradient):
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params = jnp.asarray(theta, dtype)
    state = tx.init(params)
    thetas = []
    for gradient in gradients:
        params, state = step(params, state, jnp.asarray(gradient, dtype))
        thetas.append(np.asarray(params))
    return thetas


def assert_same(got, want, rtol=1e-12):
    for step, (ours, theirs) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_allclose(
            ours, theirs, rtol=rtol, atol=rtol, err_msg=f"step {step + 1}"
        )
