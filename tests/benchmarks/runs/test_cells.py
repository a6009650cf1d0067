"""Files of cells: whole or not at all, and never taken for another."""

import json
import math
import os
import pathlib

import pytest

from benchmarks.runs import cells, files
from benchmarks.study import Cell, Key

KEY = Key("lr 0.01", "agr+adamw", 3)
CONFIGURATION = {"study": "s", "settings": {"rate": 0.1, "sizes": (1, 2)}}
CELL = Cell(
    *KEY,
    diverged=False,
    wall_seconds=1.5,
    digest=cells.digest(CONFIGURATION),
    curves={"loss": [2.0, 0.25]},
    final={"loss": 0.25},
)


def save(folder, configuration=CONFIGURATION, **changes):
    return cells.save(folder, CELL._replace(**changes), configuration, 4)


def test_a_cell_comes_back_as_it_was_saved(tmp_path):
    path = save(tmp_path / "new" / "folder")
    assert path.name == "lr-0.01.agr+adamw.seed-3.json"
    saved = cells.load(path.parent, KEY, CONFIGURATION)
    assert saved is not None
    assert saved.cell == CELL
    assert saved.cell.key == KEY
    assert saved.versions["optaxmods"]
    assert saved.device.cpu_cores >= 1
    assert json.loads(path.read_text())["seeds_together"] == 4


def test_what_is_not_finite_is_null_and_back(tmp_path):
    numbers = [1.0, math.nan, math.inf, -math.inf]
    path = save(tmp_path, curves={"loss": numbers}, final={"loss": math.nan})
    written = json.loads(
        path.read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
    )
    assert written["curves"] == {"loss": [1.0, None, None, None]}
    assert written["final"] == {"loss": None}
    cell = cells.read(path).cell
    assert cell.curves["loss"][0] == 1.0
    assert all(map(math.isnan, cell.curves["loss"][1:]))
    assert math.isnan(cell.final["loss"])


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = save(tmp_path)
    before = path.read_bytes()

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path, final={"loss": 7.0})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_was_writing_is_put_aside(
    tmp_path, monkeypatch, capsys
):
    path = save(tmp_path)
    whole = path.read_bytes()

    def killed(descriptor):
        raise SystemExit

    # A process that is killed deletes nothing.
    monkeypatch.setattr(os, "fsync", killed)
    monkeypatch.setattr(pathlib.Path, "unlink", lambda *_, **__: None)
    with pytest.raises(SystemExit):
        save(tmp_path, final={"loss": 7.0})
    (half,) = [other for other in tmp_path.iterdir() if other != path]
    content = half.read_bytes()
    assert capsys.readouterr().out == ""

    for _ in range(2):
        files.put_half_written_aside(tmp_path)
    aside = tmp_path / f"{half.name[1:]}.half"
    assert capsys.readouterr().out == (
        f"{half}: half written; moved to {aside.name}\n"
    )
    assert sorted(tmp_path.iterdir()) == [path, aside]
    assert (path.read_bytes(), aside.read_bytes()) == (whole, content)


def test_the_digest_is_of_the_content():
    # The first digits of the SHA-256 of {"a": 1, "b": [0.1, null]}.
    assert cells.digest({"a": 1, "b": [0.1, None]}) == "cf6b050c"
    assert cells.digest({"b": (0.1, None), "a": 1}) == "cf6b050c"
    assert cells.digest({"a": 2, "b": [0.1, None]}) != "cf6b050c"


def test_there_may_be_no_file(tmp_path, capsys):
    assert cells.load(tmp_path, KEY, CONFIGURATION) is None
    assert capsys.readouterr().out == ""


DAMAGED = {
    "empty": b"",
    "half": b'{"variant": "", "method": "agr", "se',
    "list": b"[1, 2]",
    "number": b"7",
    "binary": b"\xff\xfe\x00",
    "no field": b'{"variant": "", "method": "agr", "seed": 0}',
}
WRONG_TYPES = {
    "seed": "three",
    "curves": [1, 2],
    "final": {"loss": "low"},
    "wall_seconds": None,
    "configuration": "none",
    "device": 3,
}


def assert_put_aside(path, content, capsys):
    assert cells.load(path.parent, KEY, CONFIGURATION) is None
    printed = capsys.readouterr().out
    assert str(path) in printed
    assert printed.count("\n") == 1
    aside = path.with_name(f"{path.name}.damaged")
    assert [p for p in path.parent.iterdir() if p != path] == [aside]
    assert aside.read_bytes() == content


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_put_aside(content, tmp_path, capsys):
    path = save(tmp_path)
    path.write_bytes(content)
    assert_put_aside(path, content, capsys)


@pytest.mark.parametrize("field", WRONG_TYPES)
def test_a_field_of_another_type_is_damage(field, tmp_path, capsys):
    path = save(tmp_path)
    cell = json.loads(path.read_text()) | {field: WRONG_TYPES[field]}
    path.write_text(json.dumps(cell))
    assert_put_aside(path, path.read_bytes(), capsys)


def test_a_number_too_large_is_damage(tmp_path, capsys):
    path = save(tmp_path)
    content = path.read_bytes().replace(b'"seed": 3', b'"seed": Infinity')
    path.write_bytes(content)
    assert_put_aside(path, content, capsys)


def test_what_was_put_aside_is_never_overwritten(tmp_path):
    path = save(tmp_path)
    for content in b"first", b"second":
        path.write_bytes(content)
        cells.load(tmp_path, KEY, CONFIGURATION)
    name = f"{path.name}.damaged"
    assert (tmp_path / name).read_bytes() == b"first"
    assert (tmp_path / f"{name}-1").read_bytes() == b"second"


def test_another_configuration_is_put_aside(tmp_path, capsys):
    path = save(tmp_path, {"study": "s", "settings": {"rate": 0.2}})
    content = path.read_bytes()
    assert cells.load(tmp_path, KEY, CONFIGURATION) is None
    assert "of another configuration" in capsys.readouterr().out
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith(f"{path.name}.other-")
    assert aside.read_bytes() == content


def test_a_copied_file_is_not_another_seed(tmp_path, capsys):
    path = save(tmp_path)
    other = KEY._replace(seed=4)
    (tmp_path / cells.file_name(other)).write_bytes(path.read_bytes())
    assert cells.load(tmp_path, other, CONFIGURATION) is None
    assert "another cell" in capsys.readouterr().out
    assert cells.load(tmp_path, KEY, CONFIGURATION) is not None
