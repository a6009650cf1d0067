"""Cells that are collected, and the files that are made of them."""

import collections
import json
import math

import pytest

from benchmarks import cells, report, study
from benchmarks.study import Method, Preset
from tests.helpers.made_up import (
    NAME,
    NAN,
    ONE,
    PLAIN,
    PNG,
    STUDY,
    contents,
    only_study,
    result_of,
    rewrite,
    run_into,
    table_row,
)


@pytest.fixture(autouse=True)
def found(monkeypatch):
    return only_study(monkeypatch)


def test_collect_reads_every_cell(tmp_path):
    done = run_into(tmp_path)
    result = report.collect(done.folder)
    assert (result["study"], result["preset"]) == (NAME, "small")
    assert len(result["cells"]) == done.finished
    keys = [(c["variant"], c["method"], c["seed"]) for c in result["cells"]]
    assert keys == sorted(keys)
    assert len(result["versions"]) == len(result["devices"]) == 1
    assert cells.digest(result["configuration"]) in done.folder.name
    assert result["cells"][0]["final"] == {"score": 1.2}


def test_collect_rounds_what_was_measured(tmp_path):
    folder = run_into(tmp_path).folder
    path = folder / "slow.plain.seed-0.json"
    numbers = {"score": 0.123456789123}
    rewrite(path, curves={"score": [NAN, 0.123456789123]}, final=numbers)
    (cell,) = [
        cell
        for cell in report.collect(folder)["cells"]
        if (cell["variant"], cell["method"], cell["seed"])
        == ("slow", "plain", 0)
    ]
    assert cell["curves"]["score"][1] == 0.123457
    assert math.isnan(cell["curves"]["score"][0])
    assert cell["final"] == {"score": 0.123456789}


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
    result = report.collect(done.folder)
    assert len(result["cells"]) == done.finished - 1
    printed = capsys.readouterr().out
    assert str(path) in printed
    assert printed.count("\n") == 1
    assert contents(done.folder) == before


def test_write_all_makes_everything(tmp_path):
    run_into(tmp_path)
    (tmp_path / "step_cost.json").write_text("{}")
    paths = report.write_all(tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in paths}
    endings = ("json", "md", "curves.png", "effects.png")
    assert names == {
        "README.md",
        *(f"{NAME}/small.{ending}" for ending in endings),
    }
    for path in paths:
        assert path.suffix != ".png" or path.read_bytes()[:8] == PNG
    overview = (tmp_path / "README.md").read_text()
    assert f"| [{NAME}]({NAME}/small.md) | small | Does it work? |" in overview
    packed = (tmp_path / NAME / "small.json").read_text()
    result = json.loads(packed)
    # One cell a line, and one line for each other field and bracket.
    assert len(packed.splitlines()) == len(result["cells"]) + len(result) + 3


def test_two_runs_of_a_preset_have_names_of_their_own(tmp_path):
    folders = [
        run_into(tmp_path, overrides={"epochs": epochs}).folder
        for epochs in (2, 3)
    ]
    run_into(tmp_path, preset="smoke")
    report.write_all(tmp_path)
    packed = {path.stem for path in (tmp_path / NAME).glob("*.json")}
    assert packed == {"smoke", *(folder.name for folder in folders)}
    overview = (tmp_path / "README.md").read_text()
    for name in packed:
        assert f"({NAME}/{name}.md)" in overview


HEAVY = {"small": Preset({"epochs": 9}, 3, accelerator=True)}
NOT_RUN = {
    "there are no cells of it in this folder": {
        "data_sets": ["digits", "california"]
    },
    "its data (mnist, boston) have to be fetched": {
        "data_sets": ["mnist", "digits", "boston", "california"]
    },
    "made for an accelerator": {"data_sets": ["mnist"], "presets": HEAVY},
}


@pytest.mark.parametrize("why", NOT_RUN)
def test_the_overview_tells_why_a_study_was_not_run(why, monkeypatch, tmp_path):
    another = ONE._replace(question="And this?", **NOT_RUN[why])
    was_run = STUDY._replace(data_sets=["california"])
    studies = {"another": another, NAME: was_run}
    monkeypatch.setattr(study, "names", lambda: list(studies))
    monkeypatch.setattr(study, "find", studies.__getitem__)
    run_into(tmp_path)
    report.write_all(tmp_path)
    overview = (tmp_path / "README.md").read_text()
    assert table_row(overview, "another") == [
        "another",
        "-",
        "And this?",
        f"not run, {why}",
    ]


def test_nothing_run_writes_nothing(tmp_path):
    (tmp_path / "README.md").write_text("precious")
    assert report.write_all(tmp_path) == []
    assert contents(tmp_path) == {"README.md": b"precious"}


def test_a_strange_readme_is_kept(tmp_path, capsys):
    (tmp_path / "README.md").write_text("precious")
    run_into(tmp_path)
    paths = report.write_all(tmp_path)
    assert tmp_path / "README.md" not in paths
    assert (tmp_path / "README.md").read_text() == "precious"
    assert "README.md" in capsys.readouterr().out


def test_pictures_of_the_study_are_written(found, tmp_path):
    found(ONE._replace(pictures=lambda result: {"paths": PNG}))
    result = result_of({"plain": PLAIN})
    paths = report.write(result, tmp_path, "small")
    assert (tmp_path / "small.paths.png").read_bytes() == PNG
    assert tmp_path / "small.paths.png" in paths
    assert "(small.paths.png)" in (tmp_path / "small.md").read_text()
    # Nothing was compared.
    assert not (tmp_path / "small.effects.png").exists()


def test_cells_of_a_method_that_has_changed_are_left_out(
    tmp_path, found, capsys
):
    done = run_into(tmp_path)
    assert len(report.collect(done.folder)["cells"]) == 18
    methods = {**STUDY.methods, "control": Method("another one", "plain")}
    changed = STUDY._replace(methods=methods)
    found(changed)
    # Two seeds are run again, and the third is of the method as it was.
    run_into(tmp_path, changed, seeds=2)
    left = report.collect(done.folder)["cells"]
    counts = collections.Counter(cell["method"] for cell in left)
    assert counts == {"plain": 6, "claimed": 6, "control": 4}
    assert "of another configuration; left out" in capsys.readouterr().out
