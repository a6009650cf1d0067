"""The files that are made of results."""

import json

import pytest

from benchmarks.reporting import report
from benchmarks.study import Preset
from tests.helpers.made_up import (
    NAME,
    ONE,
    PLAIN,
    PNG,
    STUDY,
    contents,
    report_all,
    result_of,
    run_into,
    table_row,
)


def test_write_all_makes_everything(tmp_path):
    run_into(tmp_path)
    (tmp_path / "step_cost.json").write_text("{}")
    paths = report_all(tmp_path)
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
    report_all(tmp_path)
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
def test_the_overview_tells_why_a_study_was_not_run(why, tmp_path):
    another = ONE._replace(question="And this?", **NOT_RUN[why])
    was_run = STUDY._replace(data_sets=["california"])
    run_into(tmp_path)
    report.write_all({"another": another, NAME: was_run}, tmp_path)
    overview = (tmp_path / "README.md").read_text()
    assert table_row(overview, "another", "study") == [
        "another",
        "-",
        "And this?",
        f"not run, {why}",
    ]


def test_nothing_run_writes_nothing(tmp_path):
    (tmp_path / "README.md").write_text("precious")
    assert report_all(tmp_path) == []
    assert contents(tmp_path) == {"README.md": b"precious"}


def test_a_strange_readme_is_kept(tmp_path, capsys):
    (tmp_path / "README.md").write_text("precious")
    run_into(tmp_path)
    paths = report_all(tmp_path)
    assert tmp_path / "README.md" not in paths
    assert (tmp_path / "README.md").read_text() == "precious"
    assert "README.md" in capsys.readouterr().out


def test_pictures_of_the_study_are_written(tmp_path):
    drawn = ONE._replace(pictures=lambda study, result: {"paths": PNG})
    result = result_of({"plain": PLAIN})
    paths = report.write(drawn, result, tmp_path, "small")
    assert (tmp_path / "small.paths.png").read_bytes() == PNG
    assert tmp_path / "small.paths.png" in paths
    assert "(small.paths.png)" in (tmp_path / "small.md").read_text()
    # Nothing was compared.
    assert not (tmp_path / "small.effects.png").exists()
