"""Whether JAX computes in 64 bits."""

import contextlib

import jax


@contextlib.contextmanager
def enable_x64(enabled: bool):
    before = jax.config.jax_enable_x64  # pyright: ignore
    jax.config.update("jax_enable_x64", enabled)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)
