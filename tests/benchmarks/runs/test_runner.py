"""Runs go on where they were, and runs of other settings stay apart."""

import json
import math

import numpy as np
import pytest

from benchmarks.runs import cells, runner
from benchmarks.study import Configuration, Data, Key, Method, Outcome, Preset
from tests.helpers.made_up import METHODS, NAME, STUDY, contents, run, run_into

ALL = 2 * len(METHODS) * 3  # Variants, methods and seeds of "small".


class Recorder:
    """Runs the made-up study, and remembers what it was asked for."""

    def __init__(self, run=run, stop_at=None):
        self.run = run
        self.jobs = []
        self.stop_at = stop_at

    def __call__(self, job):
        if len(self.jobs) + 1 == self.stop_at:
            raise KeyboardInterrupt
        rate = job.settings["rate"]
        self.jobs.append((rate, job.method, list(job.seeds)))
        return self.run(job)


def study_with(recorder, **changes):
    return STUDY._replace(run=recorder, **changes)


def seeds_together(path):
    return json.loads(path.read_text())["seeds_together"]


def test_a_run_saves_every_cell(tmp_path):
    done = run_into(tmp_path)
    assert (done.finished, done.found) == (ALL, 0)
    assert done.folder.parent == tmp_path / NAME
    names = set(contents(done.folder)) - {"configuration.json"}
    assert names == {
        cells.file_name(Key(variant, method, seed))
        for variant in STUDY.variants
        for method in METHODS
        for seed in range(3)
    }
    shared = json.loads((done.folder / "configuration.json").read_text())
    assert done.folder.name == f"small-{cells.digest(shared)}"
    assert shared["settings"] == {"epochs": 2}
    assert shared["data"]["shapes"] == [[6]]
    saved = cells.read(done.folder / "fast.plain.seed-2.json")
    assert saved.cell.final["score"] == 0.5 + 0.02 + 0.1 * len("plain")
    assert saved.configuration["variant_settings"] == {"rate": 1.0}
    assert not saved.cell.diverged


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    killed = Recorder(stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        run_into(tmp_path, study_with(killed))
    assert len(killed.jobs) == 2
    (folder,) = (tmp_path / NAME).iterdir()
    before = contents(folder)
    assert len(before) == 2 * 3 + 1

    second = Recorder()
    done = run_into(tmp_path, study_with(second))
    assert (done.folder, done.finished, done.found) == (folder, ALL - 6, 6)
    assert not [job for job in second.jobs if job in killed.jobs]
    assert len(second.jobs) == 4
    after = contents(folder)
    assert before.items() <= after.items()

    third = Recorder()
    done = run_into(tmp_path, study_with(third))
    assert (done.finished, done.found, third.jobs) == (0, ALL, [])
    assert contents(folder) == after


def test_more_seeds_keep_the_cells_that_are_there(tmp_path):
    before = contents(run_into(tmp_path, seeds=2).folder)
    done = run_into(tmp_path, seeds=3)
    assert done.found == 2 * 2 * len(METHODS)
    assert before.items() <= contents(done.folder).items()


@pytest.mark.parametrize(
    ("size", "trained"), [(None, [0, 1, 2, 3, 4]), (2, [2, 3]), (1, [3])]
)
def test_a_group_is_trained_as_a_whole(size, trained, tmp_path):
    """A cell depends on its group, so that its group has to be the same."""

    def together(job):
        for _ in range(job.settings["epochs"]):
            job.on_progress()
        total = float(sum(job.seeds))
        score = {"score": total}
        return [Outcome({"score": [0.0, total]}, score) for _ in job.seeds]

    recorder = Recorder(together)
    preset = Preset({"epochs": 3, "seeds_at_once": size}, 5, ["fast"])
    study = study_with(recorder, presets={"small": preset})
    folder = run_into(tmp_path, study, methods=["plain"]).folder
    before = contents(folder)
    path = folder / "fast.plain.seed-3.json"
    score = cells.read(path).cell.final["score"]
    path.unlink()
    del before[path.name]
    recorder.jobs.clear()

    totals, steps = [], []
    plan = runner.plan(study, NAME, "small", out=tmp_path, methods=["plain"])
    done = runner.run(plan, totals.append, lambda *step: steps.append(step))
    assert recorder.jobs == [(1.0, "plain", trained)]
    assert (done.finished, done.found) == (1, 4)
    assert before.items() <= contents(folder).items()
    assert cells.read(path).cell.final["score"] == score
    assert seeds_together(path) == len(trained)
    assert (totals, steps) == ([3], [("plain fast", 1)] * 3)


def test_a_damaged_cell_is_run_again(tmp_path, capsys):
    folder = run_into(tmp_path).folder
    path = folder / "slow.control.seed-1.json"
    path.write_bytes(path.read_bytes()[:40])
    recorder = Recorder()
    done = run_into(tmp_path, study_with(recorder))
    assert (done.finished, done.found) == (1, ALL - 1)
    assert recorder.jobs == [(0.1, "control", [0, 1, 2])]
    assert str(path) in capsys.readouterr().out
    assert path.with_name(f"{path.name}.damaged").exists()
    assert cells.read(path).cell.final["score"] == pytest.approx(0.58)


def test_a_half_written_file_is_named_and_put_aside(tmp_path, capsys):
    folder = run_into(tmp_path).folder
    half = folder / ".slow.control.seed-1.json.7.tmp"
    half.write_bytes(b'{"conf')
    assert run_into(tmp_path).found == ALL
    assert str(half) in capsys.readouterr().out
    assert not half.exists()
    aside = folder / "slow.control.seed-1.json.7.tmp.half"
    assert aside.read_bytes() == b'{"conf'


OTHER = {
    "settings": {"overrides": {"epochs": 5}},
    "model": {"study": STUDY._replace(model="another")},
    "data": {"study": STUDY._replace(load=lambda *_: np.ones(6, np.float32))},
    "preset": {"preset": "paper"},
}


@pytest.mark.parametrize("change", OTHER)
def test_runs_of_other_settings_stay_apart(change, tmp_path):
    first = run_into(tmp_path)
    before = contents(first.folder)
    second = run_into(tmp_path, **OTHER[change])
    assert second.folder != first.folder
    assert second.found == 0
    assert contents(first.folder) == before


def test_a_variant_of_other_settings_is_run_again(tmp_path, capsys):
    folder = run_into(tmp_path).folder
    variants = {**STUDY.variants, "fast": {"rate": 2.0}}
    done = run_into(tmp_path, STUDY._replace(variants=variants))
    assert done.folder == folder
    assert done.found == ALL // 2
    assert capsys.readouterr().out.count("moved aside") == ALL // 2
    assert len(list(folder.glob("*.other-*"))) == ALL // 2


def test_a_method_of_other_arguments_is_run_again(tmp_path, capsys):
    seen = {}

    def remember(job):
        seen[job.method] = dict(job.arguments)
        return run(job)

    def with_norm(norm):
        clipped = METHODS["control"]._replace(arguments={"norm": norm})
        return study_with(remember, methods=METHODS | {"control": clipped})

    folder = run_into(tmp_path, study_with(remember)).folder
    assert seen == {method: {} for method in METHODS}
    for norm in 1.0, 2.0:
        seen.clear()
        done = run_into(tmp_path, with_norm(norm))
        assert done.folder == folder
        assert (done.finished, done.found) == (ALL // 3, ALL - ALL // 3)
        assert seen == {"control": {"norm": norm}}
        assert capsys.readouterr().out.count("moved aside") == ALL // 3
    assert run_into(tmp_path, with_norm(2.0)).found == ALL
    # A method that has none is told no less than before there were any.
    shared = Configuration(NAME, "small", {}, "none", Data("none", [], ""))
    found = cells.configuration_of(STUDY, shared, "slow", "plain")
    assert "method_arguments" not in found


@pytest.mark.parametrize(
    ("size", "groups"),
    [
        (None, [[0, 1, 2, 3, 4]]),
        (1, [[0], [1], [2], [3], [4]]),
        (2, [[0, 1], [2, 3], [4]]),
        (9, [[0, 1, 2, 3, 4]]),
    ],
)
def test_seeds_run_together_as_told(size, groups, tmp_path):
    recorder = Recorder()
    preset = Preset({"epochs": 1, "seeds_at_once": size}, 5, ["fast"])
    study = study_with(recorder, presets={"small": preset})
    done = run_into(tmp_path, study, methods=["plain"])
    assert recorder.jobs == [(1.0, "plain", group) for group in groups]
    path = done.folder / "fast.plain.seed-4.json"
    assert seeds_together(path) == len(groups[-1])


def test_progress_adds_up(tmp_path):
    totals, steps = [], []
    plan = runner.plan(STUDY, NAME, "small", out=tmp_path)
    runner.run(
        plan,
        start=totals.append,
        advance=lambda label, count: steps.append((label, count)),
    )
    assert totals == [2 * 2 * len(METHODS)]
    assert sum(count for _, count in steps) == totals[0]
    assert steps[0] == ("plain slow", 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["curve", "final"])
def test_what_is_not_finite_diverged(where, bad, tmp_path):
    def diverge(job):
        curve = [1.0, bad if where == "curve" else 2.0]
        final = bad if where == "final" else 2.0
        return [Outcome({"score": curve}, {"score": final}) for _ in job.seeds]

    done = run_into(tmp_path, study_with(diverge), methods=["plain"])
    for path in done.folder.glob("*.seed-*.json"):
        assert cells.read(path).cell.diverged


def test_a_preset_may_choose_and_the_user_more():
    plan = runner.plan(STUDY, NAME, "smoke", out=None)
    assert (plan.variants, list(plan.seeds)) == (["slow"], [0, 1])
    assert list(plan.methods) == list(METHODS)
    plan = runner.plan(
        STUDY, NAME, "smoke", out=None, seeds=1, methods=["control"]
    )
    assert (plan.methods, list(plan.seeds)) == (["control"], [0])
    with pytest.raises(ValueError, match="no method 'wrong' in made-up"):
        runner.plan(STUDY, NAME, "smoke", out=None, methods=["wrong"])


def test_what_cannot_be_run_is_left_out():
    methods = METHODS | {"odd": Method("an idea", not_run="it is odd")}
    changed = STUDY._replace(methods=methods)
    plan = runner.plan(changed, NAME, "small", out=None)
    assert list(plan.methods) == list(METHODS)
    with pytest.raises(ValueError, match="'odd' of made-up cannot be run: it"):
        runner.plan(changed, NAME, "small", out=None, methods=["odd"])
