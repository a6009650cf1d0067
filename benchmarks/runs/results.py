"""The cells of a run as one result, collected or packed as one JSON."""

from collections.abc import Callable, Iterable
import json
import pathlib
from typing import Any, NamedTuple

from benchmarks.runs import cells, files
from benchmarks.study import Cell, Configuration, Result, Study

CURVE_DIGITS = 6
FINAL_DIGITS = 9  # All that a float32 has.


class Entry(NamedTuple):
    """A result and where it is written."""

    name: str
    result: Result
    is_packed: bool  # Whether it was read from the packed JSON.


def collect(study: Study, folder: pathlib.Path) -> Result:
    """Returns all usable cells of a run's folder.

    What is no cell of this run is named in a line and left out.

    Raises:
      DamagedCellError: The folder's configuration cannot be read.
    """
    shared = _configuration(folder / cells.CONFIGURATION)
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name == cells.CONFIGURATION:
            continue
        try:
            found.append(_saved(study, path, shared))
        except cells.DamagedCellError as error:
            print(f"{error}; left out")
    found.sort(key=lambda saved: saved.cell.key)
    return Result(
        shared.study,
        shared.preset,
        shared,
        _distinct(saved.versions for saved in found),
        _distinct(saved.device for saved in found),
        _seconds(saved.cell for saved in found),
        [_rounded(saved.cell) for saved in found],
    )


def entries(name: str, study: Study, folder: pathlib.Path) -> list[Entry]:
    """Returns a study's results: of its runs, then those that are packed.

    A run takes in what was packed of the same configuration. A preset's name
    alone goes to its only result, else to the one that has it.

    Args:
        name: The study's.
        study: The study.
        folder: That of all its results.
    """
    runs = {}
    for path in sorted(folder.glob(f"*/{cells.CONFIGURATION}")):
        result = _read_or_none(lambda p: collect(study, p), path.parent)
        if result and result.cells and result.study == name:
            runs[_digest(result)] = result
    packed, taken = {}, set()
    for path in sorted(folder.glob("*.json")):
        result = _read_or_none(unpack, path)
        if result:
            digest = _digest(result)
            merged = None
            if digest in runs:
                merged = _merged(study, runs[digest], result)
            if merged:
                runs[digest] = merged
                continue
            if digest in runs:
                print(f"{path}: of methods that have changed; kept apart")
            result = _without_old_cells(study, result, path)
            if result.cells:
                packed[path.stem] = result
        # Not to be overwritten, not even where it cannot be read.
        taken.add(path.stem)
    found = []
    for digest, result in runs.items():
        preset = result.preset
        alone = sum(run.preset == preset for run in runs.values()) == 1
        free = alone and preset not in taken
        found.append(
            Entry(preset if free else f"{preset}-{digest}", result, False)
        )
    found += [Entry(name, result, True) for name, result in packed.items()]
    presets = [*study.presets]

    def place(entry: Entry) -> tuple[int, str]:
        preset = entry.result.preset
        return [*presets, preset].index(preset), entry.name

    return sorted(found, key=place)


def pack(result: Result) -> bytes:
    """Returns JSON with one cell a line, so that changes can be read."""

    def line(value: Any) -> str:
        return files.to_json(value).decode().strip()

    content = {
        **result._asdict(),
        "configuration": cells.as_json(result.configuration),
        "devices": [device._asdict() for device in result.devices],
    }
    del content["cells"]
    fields = [f"{line(key)}: {line(value)}" for key, value in content.items()]
    body = ",\n".join(line(_packed(cell)) for cell in result.cells)
    fields.append(f'"cells": [\n{body}\n]')
    return ("{\n" + ",\n".join(fields) + "\n}\n").encode()


def unpack(path: pathlib.Path) -> Result:
    """Returns what was packed.

    Raises:
      DamagedCellError: It cannot be read.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        result = Result(
            content["study"],
            content["preset"],
            cells.from_json(content["configuration"]),
            [dict(versions) for versions in content["versions"]],
            [cells.device_of(device) for device in content["devices"]],
            float(content["wall_seconds"]),
            [cells.cell_of(cell) for cell in content["cells"]],
        )
        if {result.study, result.configuration.study} != {path.parent.name}:
            raise ValueError(f"of the study {result.study}")
        if result.preset != result.configuration.preset:
            raise ValueError("of two presets")
    except (OSError, *cells.DAMAGE) as error:
        raise cells.DamagedCellError(
            f"{path}: no packed result ({type(error).__name__}: {error})"
        ) from error
    return result


def _configuration(path: pathlib.Path) -> Configuration:
    try:
        return cells.from_json(json.loads(path.read_text("utf-8")))
    except (OSError, *cells.DAMAGE) as error:
        raise cells.DamagedCellError(
            f"{path}: no configuration ({type(error).__name__}: {error})"
        ) from error


def _saved(
    study: Study, path: pathlib.Path, shared: Configuration
) -> cells.Saved:
    saved = cells.read(path)
    name = cells.file_name(saved.cell.key)
    if path.name != name:
        raise cells.DamagedCellError(f"{path}: holds {name}")
    if not (
        cells.as_json(shared).items() <= saved.configuration.items()
        and _is_of_today(study, shared, saved.cell)
    ):
        raise cells.DamagedCellError(f"{path}: of another configuration")
    return saved


def _is_of_today(study: Study, shared: Configuration, cell: Cell) -> bool:
    """Whether a cell was run as the study says today.

    A method or variant that it no longer has is shown as it was run.
    """
    if cell.method not in study.methods or cell.variant not in study.variants:
        return True
    wanted = cells.configuration_of(study, shared, cell.variant, cell.method)
    return cells.digest(wanted) == cell.digest


def _digest(result: Result) -> str:
    return cells.digest(cells.as_json(result.configuration))


def _seconds(found: Iterable[Cell]) -> float:
    return round(sum(cell.wall_seconds for cell in found), 3)


def _distinct(values: Iterable[Any]) -> list[Any]:
    found = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _rounded(cell: Cell) -> Cell:
    """Returns a cell with the digits that a table or a plot is made of."""
    return cell._replace(
        curves={
            key: [float(f"{x:.{CURVE_DIGITS}g}") for x in curve]
            for key, curve in cell.curves.items()
        },
        final={
            key: float(f"{x:.{FINAL_DIGITS}g}") for key, x in cell.final.items()
        },
    )


def _packed(cell: Cell) -> dict[str, Any]:
    content = cell._asdict()
    if cell.digest is None:
        del content["digest"]
    return content


def _merged(study: Study, run: Result, packed: Result) -> Result | None:
    """Returns a run with the cells that only its packed result has.

    None where one of these was run otherwise than the study says today.
    """
    there = {cell.key for cell in run.cells}
    older = [cell for cell in packed.cells if cell.key not in there]
    if not all(_is_of_today(study, packed.configuration, c) for c in older):
        return None
    if not older:
        return run
    both = sorted([*run.cells, *older], key=lambda cell: cell.key)
    return run._replace(
        versions=_distinct([*run.versions, *packed.versions]),
        devices=_distinct([*run.devices, *packed.devices]),
        wall_seconds=_seconds(both),
        cells=both,
    )


def _without_old_cells(
    study: Study, packed: Result, path: pathlib.Path
) -> Result:
    """Returns what of a packed result was run as the study says today."""
    shared = packed.configuration
    kept = [c for c in packed.cells if _is_of_today(study, shared, c)]
    old = len(packed.cells) - len(kept)
    if not old:
        return packed
    print(f"{path}: {old} cells of another configuration; left out")
    return packed._replace(wall_seconds=_seconds(kept), cells=kept)


def _read_or_none(
    read: Callable[[pathlib.Path], Result], path: pathlib.Path
) -> Result | None:
    try:
        return read(path)
    except cells.DamagedCellError as error:
        print(f"{error}; left out")
        return None
