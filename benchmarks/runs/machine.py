"""What a run was made with and on."""

import importlib.metadata
import os
import pathlib
import platform
import re

import jax

from benchmarks.study import Device
import optaxmods

PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    # The library may run from its source, where no metadata tell its version.
    return {
        "python": platform.python_version(),
        "optaxmods": optaxmods.__version__,
    } | {package: importlib.metadata.version(package) for package in PACKAGES}


def device() -> Device:
    """What runs a cell: JAX calls every processor "cpu"."""
    kind = jax.devices()[0].device_kind
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if kind == "cpu" and cpuinfo.exists():
        text = cpuinfo.read_text()
        models = re.findall(r"^model name\s*: (.*)$", text, re.M)
        kind = models[0] if models else platform.machine()
    return Device(jax.default_backend(), kind, usable_cores())


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
