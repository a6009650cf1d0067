"""Tables, verdicts and files of made-up results."""

import collections
import json
import math
import shutil

from made_up import NAME, STUDY, contents, result_of, rewrite, run_into
import pytest

from benchmarks import cells, markdown, report, study, verdicts
from benchmarks.study import Method, Metric, Paper, Preset

NAN = math.nan
PNG = b"\x89PNG\r\n\x1a\n"
PLAIN = [0.50, 0.60, 0.70]
BETTER = [0.61, 0.71, 0.82]
WORSE = [0.39, 0.49, 0.58]
SPREAD = [0.40, 0.60, 0.80]
ONE = STUDY._replace(variants={"": {}})


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """Makes the made-up study the only one; returns how to change it."""

    def become(changed):
        monkeypatch.setattr(study, "find", {NAME: changed}.__getitem__)

    monkeypatch.setattr(study, "names", lambda: [NAME])
    become(STUDY)
    return become


def verdict_of(result, method="claimed", changed=ONE):
    (row,) = [r for r in verdicts.rows(changed, result) if r.method == method]
    return row.verdict


def table_row(text, method):
    (line,) = [x for x in text.splitlines() if x.startswith(f"| {method} |")]
    return [part.strip() for part in line.strip("|").split("|")]


VERDICTS = {
    "reproduced": ("claimed", BETTER, PLAIN),
    "better": ("control", BETTER, PLAIN),
    "harmful": ("claimed", WORSE, PLAIN),
    "no effect found": ("claimed", SPREAD, PLAIN),
    "not run, left out or not reached": ("claimed", [], PLAIN),
    "baseline": ("plain", PLAIN, PLAIN),
    "baseline not run": ("claimed", BETTER, []),
    "fewer than 2 pairs": ("claimed", [0.6], PLAIN),
    "diverged in 2 of 3": ("claimed", [NAN, 0.6, NAN], PLAIN),
    "baseline diverged in 1 of 3": ("claimed", BETTER, [0.5, NAN, 0.5]),
    "the same difference in every pair, no test": (
        "claimed",
        [0.75, 0.5, 0.25],
        [0.5, 0.25, 0.0],
    ),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict(verdict):
    method, ours, baseline = VERDICTS[verdict]
    result = result_of({"plain": baseline, method: ours})
    assert verdict_of(result, method) == verdict


def test_the_direction_flips_where_smaller_is_better():
    loss = ONE._replace(metrics=[Metric("score", "loss", False)])
    result = result_of({"plain": PLAIN, "claimed": BETTER, "control": WORSE})
    assert verdict_of(result, "claimed", loss) == "harmful"
    assert verdict_of(result, "control", loss) == "better"


def test_a_divergence_is_no_accuracy():
    result = result_of({"plain": PLAIN, "claimed": BETTER})
    result["cells"][-1]["diverged"] = True
    (row,) = [r for r in verdicts.rows(ONE, result) if r.method == "claimed"]
    assert row.verdict == "diverged in 1 of 3"
    assert math.isnan(row.summaries[0].mean)
    assert math.isnan(row.p)


def p_of_claimed(result):
    rows = verdicts.rows(STUDY, result)
    return [row.p for row in rows if row.method == "claimed"]


def test_what_a_preset_does_not_plan_is_told():
    smoke = ONE.presets["smoke"]._replace(
        methods=["plain"], variants=["slow", "fast"]
    )
    changed = STUDY._replace(
        presets={"smoke": smoke}, variants={**STUDY.variants, "other": {}}
    )
    # Somebody asked for one method more, which the run did not finish.
    result = result_of({"plain": PLAIN, "claimed": BETTER}, "smoke", "slow")
    found = {
        (row.variant, row.method): row.verdict
        for row in verdicts.rows(changed, result)
    }
    assert found["fast", "plain"] == "not run, left out or not reached"
    assert found["fast", "claimed"] == "not run, not part of this preset"
    page = markdown.page(changed, result, [])
    assert "settings that this preset leaves out: `other`." in page
    assert "methods that this preset leaves out: `claimed`, `control`." in page
    assert "leaves out" not in markdown.page(STUDY, result_of({}), [])


def test_what_cannot_be_run_is_listed_with_the_reason():
    methods = STUDY.methods | {"odd": Method("an idea", not_run="it is odd")}
    changed = ONE._replace(methods=methods)
    result = result_of({name: BETTER for name in STUDY.methods})
    page = markdown.page(changed, result, [])
    assert table_row(page, "odd")[-1] == "not run, it is odd"
    assert "- `odd`: an idea" in page
    # To repeat the run it need not be named.
    assert "--methods" not in page
    assert "odd" not in verdicts.sentence(changed, result)


def test_nothing_is_said_of_comparisons_where_there_are_none():
    names = ("first", "second")
    changed = ONE._replace(methods={name: Method(name) for name in names})
    result = result_of({"first": PLAIN, "second": BETTER})
    page = markdown.page(changed, result, [])
    assert table_row(page, "first") == ["first", "3", "60.0 ± 10.0", "0"]
    assert table_row(page, "method")[-1] == "diverged"
    for word in "verdict", "Verdict", "baseline", "Holm", *verdicts.WORDS:
        assert word not in page
    assert verdicts.sentence(changed, result) == (
        "no verdict: its methods are measured, not compared"
    )
    # But for what was not run.
    page = markdown.page(changed, result_of({"first": PLAIN}), [])
    left_out = "not run, left out or not reached"
    assert table_row(page, "second") == ["second", "0", "-", "0", left_out]
    assert table_row(page, "first")[-1] == "without a baseline"


def test_holm_is_over_all_variants():
    scores = {"plain": PLAIN, "claimed": BETTER, "control": SPREAD}
    result = result_of(scores, variant="slow")
    alone, none = p_of_claimed(result)
    assert math.isnan(none)
    more = result_of(scores, variant="fast")
    result["cells"] += more["cells"]
    assert p_of_claimed(result) == pytest.approx([2 * alone] * 2)


def test_a_smoke_run_is_not_judged():
    scores = {"plain": PLAIN, "claimed": BETTER}
    result = result_of(scores, "smoke", "slow")
    assert verdict_of(result) == "smoke run"
    sentence = verdicts.sentence(ONE, result)
    assert sentence == "smoke run: shows only that the program runs"
    page = markdown.page(ONE, result, [])
    assert "it shows only that the program runs" in page
    assert page.count("reproduced") == 1  # Where the words are explained.


def test_the_sentence_sums_up():
    scores = {"plain": PLAIN, "claimed": BETTER, "control": BETTER}
    result = result_of(scores, variant="slow")
    other = {"plain": PLAIN, "claimed": BETTER, "control": SPREAD}
    result["cells"] += result_of(other, variant="fast")["cells"]
    assert verdicts.sentence(STUDY, result) == (
        "claimed: reproduced in 2 of 2 settings; control: better in 1, no"
        " effect found in 1 of 2 settings"
    )
    result = result_of({"plain": PLAIN, "claimed": SPREAD, "control": SPREAD})
    assert verdicts.sentence(ONE, result) == (
        "claimed, control: no effect found"
    )


def test_the_page_has_the_numbers():
    # Differences 10, 20, 30 points: mean 20, deviation 10, and of two degrees
    # of freedom t is 2 sqrt(3), p is 0.0742 and the interval 20 -+ 24.84.
    result = result_of({"plain": [0.5] * 3, "claimed": [0.6, 0.7, 0.8]})
    page = markdown.page(ONE, result, ["small.curves.png"])
    assert table_row(page, "claimed") == [
        "claimed",
        "3",
        "70.0 ± 10.0",
        "0",
        "+20.0 [-4.8, +44.8]",
        "0.074",
        "no effect found",
    ]
    assert table_row(page, "plain") == [
        *["plain", "3", "50.0 ± 0.0", "0", "-", "-", "baseline"]
    ]
    assert table_row(page, "control") == [
        *["control", "0", "-", "0", "-", "-", verdicts.LEFT_OUT]
    ]
    for text in (
        "# A made-up study",
        "Does it work?",
        "six numbers",
        "Preset: small (epochs 2)",
        "two-sided t, Holm's correction over 1 test.",
        "![The curves, mean and range over the seeds](small.curves.png)",
        "jax 0.0.1",
        "abacus",
        "6 trainings took 12 s in all",
        "run made-up --preset small --methods 'plain,claimed' --out bench-out",
        "report --out bench-out",
    ):
        assert text in page
    assert "Not the preset's" not in page


def test_pairs_are_counted_where_seeds_differ():
    result = result_of({"plain": PLAIN[:2], "claimed": SPREAD})
    page = markdown.page(ONE, result, [])
    assert table_row(page, "claimed")[4].endswith("], 2 pairs")


def test_other_settings_than_the_preset_s_are_told():
    changed = ONE._replace(presets={"small": Preset({"epochs": 9}, 3)})
    page = markdown.page(changed, result_of({"plain": PLAIN}), [])
    assert "Not the preset's own settings, which are: epochs 9" in page


def test_the_paper_stands_beside():
    paper = Paper("Table 1", ["", "a|b"], [("net", "71.39")], "Other data.")
    page = markdown.page(
        ONE._replace(paper=paper), result_of({"plain": PLAIN}), []
    )
    assert "| net | 71.39 |" in page
    assert "a\\|b" in page
    assert page.index("## Ours") < page.index("Table 1") < page.index("Plots")
    assert "Other data." in page


def test_the_terminal_gets_the_table(capsys):
    scores = {"plain": [0.5] * 3, "claimed": [0.6, 0.7, 0.8]}
    report.print_table(result_of(scores, variant="slow"))
    printed = capsys.readouterr().out
    (line,) = [x for x in printed.splitlines() if "claimed" in x]
    assert "70.0 ± 10.0" in line
    assert "no effect found" in line
    assert "control" not in printed
    assert "Does it work?" in printed


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


def test_packed_results_make_the_same_page(tmp_path):
    folder = run_into(tmp_path / "first").folder
    rewrite(folder / "slow.plain.seed-0.json", final={"score": 1 / 3})
    rewrite(folder / "fast.control.seed-1.json", diverged=True)
    report.write_all(tmp_path / "first")
    packed = tmp_path / "first" / NAME / "small.json"
    (tmp_path / "second" / NAME).mkdir(parents=True)
    copy = tmp_path / "second" / NAME / "small.json"
    copy.write_bytes(packed.read_bytes())

    paths = report.write_all(tmp_path / "second")
    assert copy not in paths
    assert copy.read_bytes() == packed.read_bytes()
    for name in f"{NAME}/small.md", "README.md":
        first = (tmp_path / "first" / name).read_bytes()
        assert (tmp_path / "second" / name).read_bytes() == first


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


def test_a_packed_result_is_not_overwritten_by_another_run(tmp_path):
    run_into(tmp_path / "old", overrides={"epochs": 5})
    report.write_all(tmp_path / "old")
    folder = run_into(tmp_path).folder
    old = (tmp_path / "old" / NAME / "small.json").read_bytes()
    (tmp_path / NAME / "small.json").write_bytes(old)
    report.write_all(tmp_path)
    assert (tmp_path / NAME / "small.json").read_bytes() == old
    assert (tmp_path / NAME / f"{folder.name}.json").exists()


def packed_and_gone(out):
    """Packs a run and deletes its cells; returns what was packed."""
    folder = run_into(out).folder
    report.write_all(out)
    shutil.rmtree(folder)
    return json.loads((out / NAME / "small.json").read_text())


def all_files(out):
    return {path: path.read_bytes() for path in out.rglob("*.*")}


def test_a_run_takes_in_what_was_packed(tmp_path):
    old = packed_and_gone(tmp_path)
    folder = run_into(tmp_path, seeds=1, methods=["plain"]).folder
    rewrite(
        folder / "slow.plain.seed-0.json",
        final={"score": 0.25},
        versions={"jax": "0.0.1"},
        wall_seconds=1000,
    )
    report.write_all(tmp_path)
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
    report.write_all(tmp_path)
    assert all_files(tmp_path) == before


def test_methods_that_have_changed_are_not_mixed(tmp_path, found, capsys):
    old = packed_and_gone(tmp_path)
    methods = {**STUDY.methods, "control": Method("another one", "plain")}
    changed = STUDY._replace(methods=methods)
    found(changed)
    folder = run_into(tmp_path, changed, seeds=2).folder
    for _ in range(2):
        report.write_all(tmp_path)
        assert json.loads((tmp_path / NAME / "small.json").read_text()) == old
        new = (tmp_path / NAME / f"{folder.name}.json").read_text()
        assert len(json.loads(new)["cells"]) == 2 * 3 * 2
        assert capsys.readouterr().out == (
            f"{tmp_path / NAME / 'small.json'}: of methods that have changed;"
            " kept apart\n"
        )
    # Where the run has all that has changed, the others can be taken in.
    run_into(tmp_path, changed, methods=["control"])
    report.write_all(tmp_path)
    new = json.loads((tmp_path / NAME / "small.json").read_text())
    assert len(new["cells"]) == len(old["cells"])


def test_a_run_does_not_overwrite_what_cannot_be_read(tmp_path):
    folder = run_into(tmp_path).folder
    path = tmp_path / NAME / "small.json"
    path.write_bytes(b"<<<<<<< HEAD")
    report.write_all(tmp_path)
    assert path.read_bytes() == b"<<<<<<< HEAD"
    assert (tmp_path / NAME / f"{folder.name}.json").exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"study": "made-up"}', b"\xff"]
)
def test_a_damaged_packed_result_is_named(content, tmp_path, capsys):
    path = tmp_path / NAME / "small.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert report.write_all(tmp_path) == []
    assert str(path) in capsys.readouterr().out
    assert path.read_bytes() == content


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
