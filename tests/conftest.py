"""Eight virtual CPU devices, and every silent promotion of rank an error.

Equal programs are compiled once in each worker.
"""

import os
import pathlib
import tempfile

import hypothesis
import jax
import pytest

from tests.helpers.wide import enable_x64

# JAX writes a compiled program where others may just read it; what they find is
# half of it, with a warning, and warnings are errors. So each worker has a
# folder of its own, and the processes that its tests start have another, which
# no test reads. They lie in one of the first process, which removes it. See
# findings/half_a_cache_entry_stays.sh, and near it
# https://github.com/jax-ml/jax/issues/39880 and
# https://github.com/jax-ml/jax/issues/22718.
if "PYTEST_XDIST_WORKER" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="compiled-")
    os.environ["COMPILED_FOR_TESTS"] = compiled.name
own = pathlib.Path(
    os.environ["COMPILED_FOR_TESTS"],
    os.environ.get("PYTEST_XDIST_WORKER", "alone"),
)
os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": str(own / "started"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
jax.config.update("jax_compilation_cache_dir", str(own / "tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# On a busy machine a device can wait for the others for longer than the 40 s
# after which XLA ends the process. Before JAX 0.10 it does not know the flag.
if jax.__version_info__ >= (0, 10):
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "")
        + " --xla_cpu_collective_call_terminate_timeout_seconds=600"
    )
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


# A compiled program is several maps of memory, of which Linux allows a process
# 65,530: beyond, LLVM ends it in the middle of compiling, as in
# https://github.com/jax-ml/jax/issues/27201; delete this where that is mended
# and `make test-min` passes whole without.
MAPS, MANY_MAPS = pathlib.Path("/proc/self/maps"), 20_000


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()


@pytest.fixture
def x64():
    with enable_x64(True):
        yield
