"""One file for each finished (variant, method, seed).

A cell is written in one go the moment it ends, under a folder whose name holds
a digest of everything that the cells of one run share, so that a killed run
goes on where it was and runs of other settings stay apart.
"""

from collections.abc import Mapping
import datetime
import hashlib
import json
import math
import pathlib
import re
from typing import Any, NamedTuple

from benchmarks.runs import files, machine
from benchmarks.study import Cell, Configuration, Data, Device, Key, Study

CONFIGURATION = "configuration.json"
Json = Mapping[str, Any]  # What a file holds.


class DamagedCellError(Exception):
    """A file that is no whole cell; its message is one line."""


# What is read of a file that is none.
DAMAGE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)


class Saved(NamedTuple):
    """A cell, and what else its file tells."""

    cell: Cell
    configuration: Json
    versions: Mapping[str, str]
    device: Device


def file_name(key: Key) -> str:
    parts = [part for part in (key.variant, key.method) if part]
    safe = [re.sub(r"[^\w.+-]+", "-", part) for part in parts]
    return f"{'.'.join(safe)}.seed-{key.seed}.json"


def run_folder(out: pathlib.Path, shared: Configuration) -> pathlib.Path:
    """Returns the folder of the cells that share a configuration."""
    name = f"{shared.preset}-{digest(as_json(shared))}"
    return out / shared.study / name


def digest(configuration: Json) -> str:
    """Returns eight hexadecimal digits of a configuration."""
    text = json.dumps(configuration, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def as_json(shared: Configuration) -> dict[str, Any]:
    """Returns what cells share as their files hold it."""
    return {**shared._asdict(), "data": shared.data._asdict()}


def from_json(shared: Any) -> Configuration:
    """Returns what cells share; raises one of ``DAMAGE`` where it is not."""
    found = Configuration(**{**shared, "data": Data(**shared["data"])})
    texts = (found.study, found.preset, found.model, found.data.description)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("study, preset, model or data is no text")
    if not isinstance(found.settings, dict):
        raise TypeError("settings is no object")
    return found


def configuration_of(
    study: Study, shared: Configuration, variant: str, method: str
) -> dict[str, Any]:
    """Returns all that a cell's numbers depend on, but for the seed."""
    built = study.methods[method]
    given = {"method_arguments": built.arguments} if built.arguments else {}
    return {
        **as_json(shared),
        "variant_settings": dict(study.variants[variant]),
        "method_description": built.description,
        **given,
    }


def save(
    folder: pathlib.Path,
    cell: Cell,
    configuration: Json,
    seeds_together: int,
) -> pathlib.Path:
    """Writes one cell, whole or not at all.

    Args:
        folder: That of the run.
        cell: What was measured.
        configuration: That of the cell.
        seeds_together: How many seeds the cell's program trained.
    """
    path = folder / file_name(cell.key)
    content = {
        "configuration": configuration,
        **cell.key._asdict(),
        "ended": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "versions": machine.versions(),
        "device": machine.device()._asdict(),
        "wall_seconds": cell.wall_seconds,
        "seeds_together": seeds_together,
        "diverged": cell.diverged,
        "curves": cell.curves,
        "final": cell.final,
    }
    files.write_atomically(path, files.to_json(content))
    return path


def load(folder: pathlib.Path, key: Key, configuration: Json) -> Saved | None:
    """Returns a finished cell; None where there is none to be used.

    What cannot be read or belongs to another configuration is moved aside,
    under a name that says so, and never overwritten.
    """
    path = folder / file_name(key)
    if not path.exists():
        return None
    try:
        saved = read(path)
    except DamagedCellError as error:
        files.put_aside(path, "damaged")
        print(f"{error}; moved aside, it will be run again")
        return None
    if saved.cell.key != key:
        # Copied or renamed, or of a key whose file has the same name.
        files.put_aside(path, f"holds-{file_name(saved.cell.key)}")
        print(f"{path}: holds another cell; moved aside, it will be run again")
        return None
    if saved.configuration != json.loads(json.dumps(configuration)):
        files.put_aside(path, f"other-{saved.cell.digest}")
        print(f"{path}: of another configuration; moved aside")
        return None
    return saved


def read(path: pathlib.Path) -> Saved:
    """Returns the content of a cell's file, null read as nan."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedCellError(f"{path}: no whole cell ({error})") from error
    try:
        cell = cell_of(content)
        for name in ("configuration", "versions", "device"):
            if not isinstance(content[name], dict):
                raise TypeError(f"{name} is no object")
        configuration = content["configuration"]
        return Saved(
            cell._replace(digest=digest(configuration)),
            configuration,
            content["versions"],
            device_of(content["device"]),
        )
    except DAMAGE as error:
        raise DamagedCellError(
            f"{path}: no whole cell ({type(error).__name__}: {error})"
        ) from error


def cell_of(content: Any) -> Cell:
    """Returns the cell of a file or of a part of one, null read as nan.

    It raises one of ``DAMAGE`` where a field is missing or of another type.
    """
    return Cell(
        variant=str(content["variant"]),
        method=str(content["method"]),
        seed=int(content["seed"]),
        diverged=bool(content["diverged"]),
        wall_seconds=float(content["wall_seconds"]),
        digest=content.get("digest"),
        curves={
            name: [_number(value) for value in curve]
            for name, curve in content["curves"].items()
        },
        final={
            name: _number(value) for name, value in content["final"].items()
        },
    )


def device_of(content: Json) -> Device:
    return Device(*(content.get(name, "unknown") for name in Device._fields))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
