"""Eight virtual CPU devices, and every silent promotion of rank an error."""

import contextlib

import hypothesis
import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compilation makes the first example of a shape slow; no test depends on time.
hypothesis.settings.register_profile(
    "optaxmods",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("optaxmods")


@pytest.fixture
def quick_compilation():
    """Fewer passes of LLVM, for large networks that are run for seconds."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


@contextlib.contextmanager
def enable_x64(enabled: bool):
    before = jax.config.jax_enable_x64  # pyright: ignore
    jax.config.update("jax_enable_x64", enabled)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.fixture
def x64():
    with enable_x64(True):
        yield
