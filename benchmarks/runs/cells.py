"""One file for each finished (variant, method, seed).

A cell is written in one go the moment it ends, under a folder whose name holds
a digest of everything that the cells of one run share, so that a killed run
goes on where it was and runs of other settings stay apart.
"""

from collections.abc import Mapping
import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
from typing import Any, NamedTuple

import jax

from benchmarks import writing
import optaxmods

PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "scikit-learn")


class Key(NamedTuple):
    """Which cell of a run."""

    variant: str
    method: str
    seed: int

    @property
    def file_name(self) -> str:
        parts = [part for part in (self.variant, self.method) if part]
        safe = [re.sub(r"[^\w.+-]+", "-", part) for part in parts]
        return f"{'.'.join(safe)}.seed-{self.seed}.json"


def run_folder(
    out: pathlib.Path, study: str, preset: str, shared: Mapping[str, Any]
) -> pathlib.Path:
    """Returns the folder of the cells that share a configuration."""
    return out / study / f"{preset}-{digest(shared)}"


def digest(configuration: Mapping[str, Any]) -> str:
    """Returns eight hexadecimal digits of a configuration."""
    text = json.dumps(configuration, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def save(
    folder: pathlib.Path,
    key: Key,
    configuration: Mapping[str, Any],
    measured: Mapping[str, Any],
) -> pathlib.Path:
    """Writes one cell, whole or not at all."""
    cell = {
        "configuration": configuration,
        **key._asdict(),
        "ended": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "versions": versions(),
        "device": device(),
        **measured,
    }
    path = folder / key.file_name
    writing.write_atomically(path, to_json(cell))
    return path


def load(
    folder: pathlib.Path, key: Key, configuration: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Returns a finished cell; None where there is none to be used.

    What cannot be read or belongs to another configuration is moved aside,
    under a name that says so, and never overwritten.
    """
    path = folder / key.file_name
    if not path.exists():
        return None
    try:
        cell = read(path)
    except DamagedCellError as error:
        writing.put_aside(path, "damaged")
        print(f"{error}; moved aside, it will be run again")
        return None
    found = Key(cell["variant"], cell["method"], cell["seed"])
    if found != key:
        # Copied or renamed, or of a key whose file has the same name.
        writing.put_aside(path, f"holds-{found.file_name}")
        print(f"{path}: holds another cell; moved aside, it will be run again")
        return None
    if cell["configuration"] != json.loads(json.dumps(configuration)):
        writing.put_aside(path, f"other-{digest(cell['configuration'])}")
        print(f"{path}: of another configuration; moved aside")
        return None
    return cell


class DamagedCellError(Exception):
    """A file that is no whole cell; its message is one line."""


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the content of a cell's file, null read as nan."""
    try:
        cell = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedCellError(f"{path}: no whole cell ({error})") from error
    return check(cell, str(path))


def check(cell: Any, where: str) -> dict[str, Any]:
    """Returns a cell whose fields are all there, null read as nan."""
    try:
        key = Key(str(cell["variant"]), str(cell["method"]), int(cell["seed"]))
        curves = {
            name: [_from_json(value) for value in curve]
            for name, curve in cell["curves"].items()
        }
        final = {
            name: _from_json(value) for name, value in cell["final"].items()
        }
        for name in ("configuration", "versions", "device"):
            if not isinstance(cell[name], dict):
                raise TypeError(f"{name} is no object")
        fields = {
            "diverged": bool(cell["diverged"]),
            "wall_seconds": float(cell["wall_seconds"]),
        }
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise DamagedCellError(
            f"{where}: no whole cell ({type(error).__name__}: {error})"
        ) from error
    return {**cell, **key._asdict(), **fields, "curves": curves, "final": final}


def versions() -> dict[str, str]:
    # The library may run from its source, where no metadata tell its version.
    return {
        "python": platform.python_version(),
        "optaxmods": optaxmods.__version__,
    } | {package: importlib.metadata.version(package) for package in PACKAGES}


def device() -> dict[str, Any]:
    """What ran a cell: JAX calls every processor "cpu"."""
    kind = jax.devices()[0].device_kind
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if kind == "cpu" and cpuinfo.exists():
        text = cpuinfo.read_text()
        models = re.findall(r"^model name\s*: (.*)$", text, re.M)
        kind = models[0] if models else platform.machine()
    return {
        "platform": jax.default_backend(),
        "kind": kind,
        "cpu_cores": usable_cores(),
    }


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def to_json(value: Any) -> bytes:
    """Returns JSON, with null for what is not finite."""
    return f"{json.dumps(_to_json(value), allow_nan=False)}\n".encode()


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return value


def _from_json(value: Any) -> float:
    return math.nan if value is None else float(value)
