"""Cells that are collected, and results that are read from packed JSON."""

import collections
import json
import math
import pathlib
import shutil

import pytest

from benchmarks.runs import cells, results
from benchmarks.study import Method
from tests.helpers.made_up import (
    NAME,
    NAN,
    STUDY,
    contents,
    report_all,
    rewrite,
    run_into,
)


def test_collect_reads_every_cell(tmp_path):
    done = run_into(tmp_path)
    result = results.collect(STUDY, done.folder)
    assert (result.study, result.preset) == (NAME, "small")
    assert len(result.cells) == done.finished
    keys = [cell.key for cell in result.cells]
    assert keys == sorted(keys)
    assert len(result.versions) == len(result.devices) == 1
    assert cells.run_folder(tmp_path, result.configuration) == done.folder
    assert result.cells[0].final == {"score": 1.2}


def test_collect_rounds_what_was_measured(tmp_path):
    folder = run_into(tmp_path).folder
    path = folder / "slow.plain.seed-0.json"
    numbers = {"score": 0.123456789123}
    rewrite(path, curves={"score": [NAN, 0.123456789123]}, final=numbers)
    (cell,) = [
        cell
        for cell in results.collect(STUDY, folder).cells
        if cell.key == ("slow", "plain", 0)
    ]
    assert cell.curves["score"][1] == 0.123457
    assert math.isnan(cell.curves["score"][0])
    assert cell.final == {"score": 0.123456789}


BAD_CELLS = {
    "half": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "other": lambda path: rewrite(path, configuration={"study": NAME}),
    "copy": lambda path: rewrite(path, seed=7),
}


@pytest.mark.parametrize("damage", BAD_CELLS.values(), ids=BAD_CELLS)
def test_a_bad_cell_is_named_and_left_out(damage, tmp_path, capsys):
    done = run_into(tmp_path)
    path = done.folder / "slow.plain.seed-1.json"
    damage(path)
    before = contents(done.folder)
    result = results.collect(STUDY, done.folder)
    assert len(result.cells) == done.finished - 1
    printed = capsys.readouterr().out
    assert str(path) in printed
    assert printed.count("\n") == 1
    assert contents(done.folder) == before


def test_cells_of_a_method_that_has_changed_are_left_out(tmp_path, capsys):
    done = run_into(tmp_path)
    assert len(results.collect(STUDY, done.folder).cells) == 18
    methods = {**STUDY.methods, "control": Method("another one", "plain")}
    changed = STUDY._replace(methods=methods)
    # Two seeds are run again, and the third is of the method as it was.
    run_into(tmp_path, changed, seeds=2)
    left = results.collect(changed, done.folder).cells
    counts = collections.Counter(cell.method for cell in left)
    assert counts == {"plain": 6, "claimed": 6, "control": 4}
    assert "of another configuration; left out" in capsys.readouterr().out


def test_a_cell_of_other_settings_is_left_out_though_its_method_is_gone(
    tmp_path, capsys
):
    folder = run_into(tmp_path).folder
    path = folder / "slow.control.seed-1.json"
    configuration = json.loads(path.read_text())["configuration"]
    rewrite(path, configuration={**configuration, "settings": {"epochs": 9}})
    methods = {name: STUDY.methods[name] for name in ("plain", "claimed")}
    gone = STUDY._replace(methods=methods)
    assert len(results.collect(gone, folder).cells) == 17
    expected = f"{path}: of another configuration; left out\n"
    assert capsys.readouterr().out == expected


def packed_and_gone(out):
    """Packs a run and deletes its cells; returns what was packed."""
    folder = run_into(out).folder
    report_all(out)
    shutil.rmtree(folder)
    return json.loads((out / NAME / "small.json").read_text())


def all_files(out):
    return {path: path.read_bytes() for path in out.rglob("*.*")}


def test_packed_results_make_the_same_page(tmp_path):
    folder = run_into(tmp_path / "first").folder
    rewrite(folder / "slow.plain.seed-0.json", final={"score": 1 / 3})
    rewrite(folder / "fast.control.seed-1.json", diverged=True)
    report_all(tmp_path / "first")
    packed = tmp_path / "first" / NAME / "small.json"
    (tmp_path / "second" / NAME).mkdir(parents=True)
    copy = tmp_path / "second" / NAME / "small.json"
    copy.write_bytes(packed.read_bytes())

    paths = report_all(tmp_path / "second")
    assert copy not in paths
    assert copy.read_bytes() == packed.read_bytes()
    for name in f"{NAME}/small.md", "README.md":
        first = (tmp_path / "first" / name).read_bytes()
        assert (tmp_path / "second" / name).read_bytes() == first


def test_a_packed_result_is_not_overwritten_by_another_run(tmp_path):
    run_into(tmp_path / "old", overrides={"epochs": 5})
    report_all(tmp_path / "old")
    folder = run_into(tmp_path).folder
    old = (tmp_path / "old" / NAME / "small.json").read_bytes()
    (tmp_path / NAME / "small.json").write_bytes(old)
    report_all(tmp_path)
    assert (tmp_path / NAME / "small.json").read_bytes() == old
    assert (tmp_path / NAME / f"{folder.name}.json").exists()


def test_a_run_takes_in_what_was_packed(tmp_path):
    old = packed_and_gone(tmp_path)
    folder = run_into(tmp_path, seeds=1, methods=["plain"]).folder
    rewrite(
        folder / "slow.plain.seed-0.json",
        final={"score": 0.25},
        versions={"jax": "0.0.1"},
        wall_seconds=1000,
    )
    report_all(tmp_path)
    new = json.loads((tmp_path / NAME / "small.json").read_text())
    changed = [
        theirs
        for ours, theirs in zip(old["cells"], new["cells"], strict=True)
        if ours["final"] != theirs["final"]
    ]
    assert [cell["final"] for cell in changed] == [{"score": 0.25}]
    assert new["wall_seconds"] >= 1000
    assert {"jax": "0.0.1"} in new["versions"]
    assert old["versions"][0] in new["versions"]
    assert new["devices"] == old["devices"]
    before = all_files(tmp_path)
    report_all(tmp_path)
    assert all_files(tmp_path) == before


@pytest.mark.parametrize(
    "changes", [{"description": "another one"}, {"arguments": {"norm": 2.0}}]
)
def test_methods_that_have_changed_are_not_mixed(changes, tmp_path, capsys):
    old = packed_and_gone(tmp_path)
    control = STUDY.methods["control"]._replace(**changes)
    methods = {**STUDY.methods, "control": control}
    changed = STUDY._replace(methods=methods)
    folder = run_into(tmp_path, changed, seeds=2).folder
    for _ in range(2):
        report_all(tmp_path, changed)
        assert json.loads((tmp_path / NAME / "small.json").read_text()) == old
        new = (tmp_path / NAME / f"{folder.name}.json").read_text()
        assert len(json.loads(new)["cells"]) == 2 * 3 * 2
        path = tmp_path / NAME / "small.json"
        assert capsys.readouterr().out == (
            f"{path}: of methods that have changed; kept apart\n"
            f"{path}: 6 cells of another configuration; left out\n"
        )
    # Where the run has all that has changed, the others can be taken in.
    run_into(tmp_path, changed, methods=["control"])
    report_all(tmp_path, changed)
    new = json.loads((tmp_path / NAME / "small.json").read_text())
    assert len(new["cells"]) == len(old["cells"])


def test_packed_cells_are_not_shown_under_another_description(tmp_path, capsys):
    packed_and_gone(tmp_path)
    path = tmp_path / NAME / "small.json"
    before = path.read_bytes()
    methods = {**STUDY.methods, "control": Method("another one", "plain")}
    variants = {**STUDY.variants, "fast": {"rate": 3.0}}
    report_all(tmp_path, STUDY._replace(methods=methods, variants=variants))
    assert capsys.readouterr().out == (
        f"{path}: 12 cells of another configuration; left out\n"
    )
    assert path.read_bytes() == before
    page = path.with_suffix(".md").read_text()
    assert "6 trainings took" in page
    missing = "| control | not run, left out or not reached |"
    assert page.count(missing) == 2
    # Nothing is left of it.
    path.with_suffix(".md").unlink()
    others = STUDY._replace(variants={"slow": {"rate": 7.0}, "fast": {}})
    assert report_all(tmp_path, others) == []
    assert "18 cells" in capsys.readouterr().out
    assert not path.with_suffix(".md").exists()


def test_a_run_does_not_overwrite_what_cannot_be_read(tmp_path):
    folder = run_into(tmp_path).folder
    path = tmp_path / NAME / "small.json"
    path.write_bytes(b"<<<<<<< HEAD")
    report_all(tmp_path)
    assert path.read_bytes() == b"<<<<<<< HEAD"
    assert (tmp_path / NAME / f"{folder.name}.json").exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"study": "made-up"}', b"\xff"]
)
def test_a_damaged_packed_result_is_named(content, tmp_path, capsys):
    path = tmp_path / NAME / "small.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert report_all(tmp_path) == []
    assert str(path) in capsys.readouterr().out
    assert path.read_bytes() == content


COMMITTED = sorted(
    (pathlib.Path(__file__).parents[3] / "benchmarks" / "results").glob(
        "*/*.json"
    )
)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_a_committed_result_is_packed_to_the_same_bytes(path):
    assert results.pack(results.unpack(path)) == path.read_bytes()


DAMAGES = {
    "empty": lambda shared: None,
    "a list": lambda shared: [shared],
    "no model": lambda shared: {
        key: value for key, value in shared.items() if key != "model"
    },
    "a field too many": lambda shared: {**shared, "more": 1},
    "settings": lambda shared: {**shared, "settings": [1]},
    "data": lambda shared: {**shared, "data": "six numbers"},
    "preset": lambda shared: {**shared, "preset": 3},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_configuration_is_named(damage, tmp_path, capsys):
    path = run_into(tmp_path).folder / cells.CONFIGURATION
    shared = damage(json.loads(path.read_text()))
    path.write_text("" if shared is None else json.dumps(shared))
    assert report_all(tmp_path) == []
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: no configuration (")
    assert printed.count("\n") == 1
