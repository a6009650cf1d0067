"""The table of a step's cost, from made-up times."""

import json

import pytest

from benchmarks.costs import step, timing
from benchmarks.costs.__main__ import main
from benchmarks.costs.contenders import Case, Row
from benchmarks.costs.step import Machine, Result

CASE = Case(
    2,
    (3, 4),
    "float32",
    [Row("plain again", "plain"), Row("slow", "plain", 1.5)],
    rounds=3,
)
SECONDS = {
    "plain": [0.001, 0.002, 0.003],
    "plain again": [0.002, 0.003, 0.004],
    "slow": [0.004, 0.005, 0.006],
}
WORDS = {"plain": 0.0, "plain again": 0.0, "slow": 3.25}
MACHINE = Machine("made up", *["0.0.1"] * 6, device="abacus", cores=1)
TABLE = step.summarize("step", CASE, SECONDS, 0.1)


@pytest.fixture
def measured(monkeypatch):
    """Has nothing measured; returns the times, which may be changed."""
    times = dict(SECONDS)
    monkeypatch.setattr(step, "CASES", [CASE])
    monkeypatch.setattr(step, "ONCE", {"compilation": [CASE]})
    monkeypatch.setattr(step, "RESERVED", [CASE])
    monkeypatch.setattr(timing, "reserved", lambda case: WORDS)
    monkeypatch.setattr(step, "machine", lambda: MACHINE)
    monkeypatch.setattr(timing, "time_steps", lambda case, order: times)
    monkeypatch.setattr(timing, "time_once", lambda what, case, order: times)
    return times


def test_a_row_is_set_against_both_runs_of_its_baseline():
    assert TABLE.case == "2 leaves of 3x4 float32"
    assert TABLE.milliseconds["slow"] == [4.0, 5.0, 6.0]
    again, slow = TABLE.rows
    # The median of 1, 2, 3 is 2; that of 1, 2, 2, 3, 3, 4 is 2.5.
    assert again.baseline_milliseconds == 2.0
    assert again.ratio == 1.5
    assert slow.milliseconds == 5.0
    assert slow.baseline_milliseconds == 2.5
    assert slow.ratio == 2.0
    assert slow.ratio_quartiles == [4 / 2.5, 6 / 2.5]


def page_of(tables):
    return step.to_markdown(Result(MACHINE, tables))


def test_a_ratio_above_its_limit_is_bold():
    page = page_of([TABLE])
    assert "on 1 cores of abacus, jax 0.0.1" in page
    assert "## Step: 2 leaves of 3x4 float32 (3 rounds of 1 programs" in page
    assert (
        "| slow | 5.0 | plain | 2.5 | **2.00** (1.60 to 2.40) | 1.50 |" in page
    )
    assert (
        "| plain again | 3.0 | plain | 2.0 | 1.50 (1.00 to 2.00) |  |" in page
    )
    slow = TABLE.rows[1]._replace(ratio=1.5)
    assert "| 1.50 (1.60" in page_of([TABLE._replace(rows=[slow])])


def medians(folder):
    result = json.loads((folder / "step_cost.json").read_text())
    return {
        table["what"]: table["rows"][1]["milliseconds"]
        for table in result["tables"]
    }


def test_only_replaces_what_is_measured_again(measured, tmp_path, monkeypatch):
    main(["step", "--out", str(tmp_path)])
    assert medians(tmp_path) == {"step": 5.0, "compilation": 5.0}
    measured["slow"] = [0.007, 0.008, 0.009]
    main(["step", "--out", str(tmp_path), "--only", "compilation"])
    assert medians(tmp_path) == {"step": 5.0, "compilation": 8.0}
    page = (tmp_path / "step_cost.md").read_text()
    assert page.index("| slow | 5.0") < page.index("| slow | 8.0")
    assert "| slow | 3.25 |" in page
    monkeypatch.setattr(timing, "reserved", lambda case: {"slow": 2.0})
    main(["step", "--out", str(tmp_path), "--only", "memory"])
    assert medians(tmp_path) == {"step": 5.0, "compilation": 8.0}
    assert "| slow | 2.00 |" in (tmp_path / "step_cost.md").read_text()


def test_only_keeps_no_tables_of_another_machine(
    measured, tmp_path, monkeypatch, capsys
):
    with pytest.raises(SystemExit):
        main(["step", "--out", str(tmp_path), "--only", "step"])
    main(["step", "--out", str(tmp_path)])
    path = tmp_path / "step_cost.json"
    before = path.read_bytes()
    assert len(step.earlier(path, MACHINE).tables) == 2
    another = MACHINE._replace(device="slide rule")
    assert step.earlier(path, another) == Result(another, [])
    monkeypatch.setattr(step, "RESERVED", [CASE])
    monkeypatch.setattr(timing, "reserved", lambda case: WORDS)
    monkeypatch.setattr(step, "machine", lambda: another)
    with pytest.raises(SystemExit):
        main(["step", "--out", str(tmp_path), "--only", "step"])
    assert (
        "no tables of these versions on this device" in capsys.readouterr().err
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("wrong", [["--rounds", "1"], ["--only", "nonsense"]])
def test_what_cannot_be_measured_is_refused(wrong, measured, tmp_path):
    with pytest.raises(SystemExit):
        main(["step", "--out", str(tmp_path), *wrong])
    assert list(tmp_path.iterdir()) == []
