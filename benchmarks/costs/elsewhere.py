"""Compilers of devices that are not on this machine."""

from collections.abc import Iterator, Mapping
import contextlib
import os

import jax


@contextlib.contextmanager
def pretending(variables: Mapping[str, str]) -> Iterator[None]:
    """Compilers of devices that are not here begin; the CPU runs what runs."""
    before = {name: os.environ.get(name) for name in variables}
    platforms = jax.config.values["jax_platforms"]
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")
    try:
        yield
    finally:
        jax.config.update("jax_platforms", platforms)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
