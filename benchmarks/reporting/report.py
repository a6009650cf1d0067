"""Tables of a run, for the terminal, as JSON and as Markdown with plots."""

from collections.abc import Callable, Iterable, Mapping
import json
import pathlib
from typing import Any, NamedTuple

from benchmarks import (
    cells,
    markdown,
    plots,
    runner,
    study,
    tables,
    terminal,
    verdicts,
    writing,
)
from benchmarks.study import Study
from benchmarks.terminal import Column
from benchmarks.verdicts import Result

CONFIGURATION = "configuration.json"
# Of the cells' fields those that a table or a plot is made of.
KEPT = ("variant", "method", "seed", "diverged", "wall_seconds")
CURVE_DIGITS = 6
FINAL_DIGITS = 9  # All that a float32 has.


class Entry(NamedTuple):
    """A result and where it is written."""

    name: str
    result: Result
    is_packed: bool  # Whether it was read from the packed JSON.


def collect(folder: pathlib.Path) -> dict[str, Any]:
    """Returns all usable cells of a run's folder.

    What is no cell of this run is named in a line and left out.

    Raises:
      DamagedCellError: The folder's configuration cannot be read.
    """
    shared = _configuration(folder / CONFIGURATION)
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name == CONFIGURATION:
            continue
        try:
            found.append(_cell_of(path, shared))
        except cells.DamagedCellError as error:
            print(f"{error}; left out")
    found.sort(key=_key)
    return {
        "study": shared["study"],
        "preset": shared["preset"],
        "configuration": shared,
        "versions": _distinct(cell["versions"] for cell in found),
        "devices": _distinct(cell["device"] for cell in found),
        "wall_seconds": _seconds(found),
        "cells": [
            {
                **{key: cell[key] for key in KEPT},
                "digest": cells.digest(cell["configuration"]),
                "curves": {
                    key: [_rounded(x, CURVE_DIGITS) for x in curve]
                    for key, curve in cell["curves"].items()
                },
                "final": {
                    key: _rounded(x, FINAL_DIGITS)
                    for key, x in cell["final"].items()
                },
            }
            for cell in found
        ],
    }


def write(
    result: Result, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
    """Writes a result's JSON, Markdown and pictures; returns their paths."""
    contents = {f"{name}.json": _packed(result)} | _made_from(result, name)
    return _write(folder, contents)


def write_all(out: pathlib.Path) -> list[pathlib.Path]:
    """Writes the results of all runs in a folder, and their overview."""
    paths, overview = [], {}
    for name in study.names():
        found = study.find(name)
        overview[name] = {}
        for entry in _entries(out / name, found):
            contents = _made_from(entry.result, entry.name)
            if not entry.is_packed:
                contents[f"{entry.name}.json"] = _packed(entry.result)
            paths += _write(out / name, contents)
            overview[name][f"{name}/{entry.name}.md"] = entry.result
    if not paths:
        return []
    readme = out / "README.md"
    start = markdown.OVERVIEW.encode()
    if readme.exists() and not readme.read_bytes().startswith(start):
        print(f"{readme}: not an overview of studies; left as it is")
        return paths
    text = markdown.overview(overview)
    return [*paths, *_write(out, {readme.name: text.encode()})]


def print_table(result: Result) -> None:
    """Prints a result's table and its caption to standard output."""
    found = study.find(result["study"])
    rows = [row for row in verdicts.rows(found, result) if row.seeds]
    columns = [
        Column("method", no_wrap=True),
        *(Column(m.label, no_wrap=True, right=True) for m in found.metrics),
    ]
    for variant in dict.fromkeys(row.variant for row in rows):
        terminal.print_table(
            columns,
            [
                (row.method, *tables.means(found, row))
                for row in rows
                if row.variant == variant
            ],
            title=variant or None,
        )
    sentences = verdicts.sentences(found, result)
    legend = verdicts.legend(rows)
    terminal.print_text("\n".join(filter(None, [*sentences, legend])))
    pairs = dict.fromkeys(
        f"{row.method} with {verdicts.method(found, row.method).baseline}"
        for row in rows
        if row.comparisons
    )
    if pairs:
        terminal.print_text(f"Compared: {', '.join(pairs)}.")
    terminal.print_text(markdown.caption(found, result))


def _configuration(path: pathlib.Path) -> dict[str, Any]:
    try:
        shared = json.loads(path.read_text("utf-8"))
        for key in ("study", "preset", "model"):
            if not isinstance(shared[key], str):
                raise TypeError(f"{key} is no text")
        if not isinstance(shared["settings"], dict):
            raise TypeError("settings is no object")
        str(shared["data"]["description"])
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise cells.DamagedCellError(
            f"{path}: no configuration ({type(error).__name__}: {error})"
        ) from error
    return shared


def _cell_of(path: pathlib.Path, shared: Mapping[str, Any]) -> dict[str, Any]:
    cell = cells.read(path)
    key = _key(cell)
    if path.name != key.file_name:
        raise cells.DamagedCellError(f"{path}: holds {key.file_name}")
    configuration = cell["configuration"]
    if any(configuration.get(name) != shared[name] for name in shared):
        raise cells.DamagedCellError(f"{path}: of another configuration")
    if not _is_of_today(shared, key, cells.digest(configuration)):
        raise cells.DamagedCellError(f"{path}: of another configuration")
    return cell


def _is_of_today(
    shared: Mapping[str, Any], key: cells.Key, digest: str | None
) -> bool:
    """Whether a cell was run as the study says today.

    A method or variant that it no longer has is shown as it was run.
    """
    found = study.find(shared["study"])
    if key.method not in found.methods or key.variant not in found.variants:
        return True
    wanted = runner.cell_configuration(found, shared, key)
    return cells.digest(wanted) == digest


def _key(cell: Mapping[str, Any]) -> cells.Key:
    return cells.Key(cell["variant"], cell["method"], cell["seed"])


def _seconds(found: Iterable[Mapping[str, Any]]) -> float:
    return round(sum(cell["wall_seconds"] for cell in found), 3)


def _distinct(values: Iterable[Any]) -> list[Any]:
    found = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _packed(result: Result) -> bytes:
    """Returns JSON with one cell a line, so that changes can be read."""

    def line(value: Any) -> str:
        return cells.to_json(value).decode().strip()

    fields = [
        f"{line(key)}: {line(value)}"
        for key, value in result.items()
        if key != "cells"
    ]
    body = ",\n".join(map(line, result["cells"]))
    fields.append(f'"cells": [\n{body}\n]')
    return ("{\n" + ",\n".join(fields) + "\n}\n").encode()


def _unpacked(path: pathlib.Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text("utf-8"))
        result["wall_seconds"] = float(result["wall_seconds"])
        shared = result["configuration"]
        texts = (shared["data"]["description"], shared["model"])
        lists = ("versions", "devices", "cells")
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("data or model is no text")
        for key in lists:
            result[key] = [dict(item) for item in result[key]]
        dict(shared["settings"])
        # Beside its numbers a packed cell has what makes a whole one whole.
        shared_fields = {"configuration": {}, "versions": {}, "device": {}}
        result["cells"] = [
            {
                key: value
                for key, value in cells.check(
                    {**cell, **shared_fields}, str(path)
                ).items()
                if key not in shared_fields
            }
            for cell in result["cells"]
        ]
        if {result["study"], shared["study"]} != {path.parent.name}:
            raise ValueError(f"of the study {result['study']}")
        if result["preset"] != shared["preset"]:
            raise ValueError("of two presets")
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise cells.DamagedCellError(
            f"{path}: no packed result ({type(error).__name__}: {error})"
        ) from error
    return result


def _merged(run: Result, packed: Result) -> Result | None:
    """Returns a run with the cells that only its packed result has.

    None where one of these was run otherwise than the study says today.
    """
    there = {_key(cell) for cell in run["cells"]}
    older = [cell for cell in packed["cells"] if _key(cell) not in there]
    if len(_cells_of_today(packed, older)) < len(older):
        return None
    if not older:
        return run
    both = sorted([*run["cells"], *older], key=_key)
    return {
        **run,
        "versions": _distinct([*run["versions"], *packed["versions"]]),
        "devices": _distinct([*run["devices"], *packed["devices"]]),
        "wall_seconds": _seconds(both),
        "cells": both,
    }


def _cells_of_today(
    packed: Result, found: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    shared = packed["configuration"]
    return [
        cell
        for cell in found
        if _is_of_today(shared, _key(cell), cell.get("digest"))
    ]


def _without_old_cells(packed: Result, path: pathlib.Path) -> Result:
    """Returns what of a packed result was run as the study says today."""
    kept = _cells_of_today(packed, packed["cells"])
    old = len(packed["cells"]) - len(kept)
    if not old:
        return packed
    print(f"{path}: {old} cells of another configuration; left out")
    return {**packed, "wall_seconds": _seconds(kept), "cells": kept}


def _entries(folder: pathlib.Path, found: Study) -> list[Entry]:
    """Returns a study's results: of its runs, then those that are packed.

    A run takes in what was packed of the same configuration. A preset's name
    alone goes to its only result, else to the one that has it.
    """
    runs = {}
    for path in sorted(folder.glob(f"*/{CONFIGURATION}")):
        result = _read_or_none(collect, path.parent)
        if result and result["cells"] and result["study"] == folder.name:
            runs[cells.digest(result["configuration"])] = result
    packed, taken = {}, set()
    for path in sorted(folder.glob("*.json")):
        result = _read_or_none(_unpacked, path)
        if result:
            digest = cells.digest(result["configuration"])
            merged = _merged(runs[digest], result) if digest in runs else None
            if merged:
                runs[digest] = merged
                continue
            if digest in runs:
                print(f"{path}: of methods that have changed; kept apart")
            result = _without_old_cells(result, path)
            if result["cells"]:
                packed[path.stem] = result
        # Not to be overwritten, not even where it cannot be read.
        taken.add(path.stem)
    entries = []
    for digest, result in runs.items():
        preset = result["preset"]
        alone = sum(run["preset"] == preset for run in runs.values()) == 1
        free = alone and preset not in taken
        name = preset if free else f"{preset}-{digest}"
        entries.append(Entry(name, result, is_packed=False))
    entries += [Entry(name, r, is_packed=True) for name, r in packed.items()]
    presets = [*found.presets]

    def place(entry: Entry) -> tuple[int, str]:
        preset = entry.result["preset"]
        return [*presets, preset].index(preset), entry.name

    return sorted(entries, key=place)


def _read_or_none(
    read: Callable[[pathlib.Path], Result], path: pathlib.Path
) -> Result | None:
    try:
        return read(path)
    except cells.DamagedCellError as error:
        print(f"{error}; left out")
        return None


def _write(
    folder: pathlib.Path, contents: Mapping[str, bytes]
) -> list[pathlib.Path]:
    writing.put_half_written_aside(folder)  # By a report that was killed.
    for file_name, content in contents.items():
        writing.write_atomically(folder / file_name, content)
    return [folder / file_name for file_name in contents]


def _made_from(result: Result, name: str) -> dict[str, bytes]:
    """Returns all files of a result but its JSON."""
    found = study.find(result["study"])
    pictures = {
        f"{name}.curves.png": plots.curves(found, result),
        f"{name}.effects.png": plots.effects(found, result),
    }
    for ending, png in (found.pictures or _no_pictures)(result).items():
        pictures[f"{name}.{ending.removesuffix('.png')}.png"] = png
    drawn = {path: png for path, png in pictures.items() if png is not None}
    page = markdown.page(found, result, list(drawn))
    return {f"{name}.md": page.encode()} | drawn


def _no_pictures(result: Result) -> Mapping[str, bytes]:
    del result
    return {}
