"""Pages and tables of made-up results."""

import pytest

from benchmarks.reporting import pages, plots, report, tables, verdicts
from benchmarks.study import Method, Metric, Paper, Preset
from tests.helpers.made_up import (
    BETTER,
    LOSS,
    NAN,
    ONE,
    PLAIN,
    SPREAD,
    STUDY,
    TWO,
    WORSE,
    joined,
    result_of,
    result_with_losses,
    table_row,
)


def test_the_page_has_every_metric():
    # Differences 10, 20, 30 points and as many units; see below.
    scores = {"plain": [0.0] * 3, "claimed": [0.1, 0.2, 0.3]}
    losses = {"plain": [10.0, 20.0, 30.0], "claimed": [9.0, 19.01, 29.0]}
    page = pages.page(TWO, result_with_losses(scores, losses), [])
    assert table_row(page, "claimed", "loss") == [
        "claimed",
        "**better**",
        "-1.00 [-1.01, -0.98]",
        # Of t = -299 and two degrees of freedom; Holm doubles the smaller.
        *("1e-05", "2e-05"),
    ]
    assert table_row(page, "claimed")[1] == "no effect found"
    assert "Holm's correction over 2 tests" in page


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
    page = pages.page(changed, result, [])
    assert "settings that this preset leaves out: `other`." in page
    assert "methods that this preset leaves out: `claimed`, `control`." in page
    assert "leaves out" not in pages.page(STUDY, result_of({}), [])


def test_what_cannot_be_run_is_listed_with_the_reason():
    methods = STUDY.methods | {"odd": Method("an idea", not_run="it is odd")}
    changed = ONE._replace(methods=methods)
    result = result_of({name: BETTER for name in STUDY.methods})
    page = pages.page(changed, result, [])
    assert table_row(page, "odd")[1] == "not run, it is odd"
    assert "- `odd`: an idea" in page
    # To repeat the run it need not be named.
    assert "--methods" not in page
    assert "odd" not in " ".join(verdicts.sentences(changed, result))


def test_a_metric_that_only_describes_is_not_compared():
    changed = TWO._replace(metrics=[*ONE.metrics, LOSS._replace(tested=False)])
    scores = {"plain": PLAIN, "claimed": BETTER}
    result = result_with_losses(scores, {"plain": PLAIN, "claimed": WORSE})
    both = [pages.page(each, result, []) for each in (TWO, changed)]
    for page, tests in zip(both, ("2 tests", "1 test,"), strict=True):
        assert f"Holm's correction over {tests}" in page
    assert ["\n| loss |" in page for page in both] == [True, False]
    assert "| score, % | loss |" in both[1]  # Beside each other.
    assert ["but loss is tested" in page for page in both] == [False, True]
    assert len(verdicts.sentences(changed, result)) == 1
    assert plots.effects(changed, result)


def test_nothing_is_said_of_comparisons_where_there_are_none():
    names = ("first", "second")
    changed = ONE._replace(methods={name: Method(name) for name in names})
    result = result_of({"first": PLAIN, "second": BETTER})
    page = pages.page(changed, result, [])
    assert table_row(page, "first") == ["first", "60.0 ± 10.0"]
    assert "\n3 seeds each, none diverged.\n" in page
    for word in "verdict", "Verdict", "baseline", "Holm", *verdicts.WORDS:
        assert word not in page
    assert verdicts.sentences(changed, result) == [
        "no verdict: its methods are measured, not compared"
    ]
    # But for what was not run.
    page = pages.page(changed, result_of({"first": PLAIN}), [])
    left_out = "not run, left out or not reached"
    assert table_row(page, "second") == ["second", left_out, "-"]
    assert table_row(page, "first")[1] == "without a baseline"


def test_a_smoke_run_is_not_judged():
    scores = {"plain": PLAIN, "claimed": BETTER}
    result = result_of(scores, "smoke", "slow")
    judged = {row.verdict for row in verdicts.rows(ONE, result)}
    assert judged == {"baseline", "smoke run", verdicts.LEFT_OUT}
    assert verdicts.sentences(ONE, result) == [
        "smoke run: shows only that the program runs"
    ]
    page = pages.page(ONE, result, [])
    assert "it shows only that the program runs" in page
    assert page.count("reproduced") == 1  # Where the words are explained.


def test_the_page_has_the_numbers():
    # Differences 10, 20, 30 points: mean 20, deviation 10, and of two degrees
    # of freedom t is 2 sqrt(3), p is 0.0742 and the interval 20 -+ 24.84.
    result = result_of({"plain": [0.5] * 3, "claimed": [0.6, 0.7, 0.8]})
    page = pages.page(ONE, result, ["small.curves.png"])
    assert table_row(page, "claimed") == [
        "claimed",
        "no effect found",
        "70.0 ± 10.0",
        "+20.0 [-4.8, +44.8]",
        "0.074",
        "0.074",
    ]
    assert table_row(page, "plain") == [
        *["plain", "baseline", "50.0 ± 0.0", *["-"] * 3]
    ]
    assert table_row(page, "control") == [
        *["control", verdicts.LEFT_OUT, *["-"] * 4]
    ]
    for text in (
        "# A made-up study",
        "Does it work?",
        "six numbers",
        "Preset: small (epochs 2)",
        "\n3 seeds each, none diverged.\n",
        "two-sided t, with Holm's correction over 1 test,",
        "![The curves, mean and range over the seeds](small.curves.png)",
        "jax 0.0.1",
        "abacus",
        "6 trainings took 12 s in all",
        "run made-up --preset small --methods plain,claimed --out bench-out",
        "report --out bench-out",
    ):
        assert text in page
    assert "Not the preset's" not in page


def test_seeds_and_divergence_have_columns_where_they_differ():
    result = result_of({"plain": PLAIN, "claimed": [NAN, 0.6, 0.7]})
    page = pages.page(ONE, result, [])
    assert table_row(page, "claimed") == [
        *["claimed", "diverged in 1 of 3", "-", "1", *["-"] * 3]
    ]
    assert "\n3 seeds each.\n" in page
    result = result_of({"plain": PLAIN[:2], "claimed": SPREAD})
    page = pages.page(ONE, result, [])
    assert table_row(page, "plain")[2:4] == ["2", "55.0 ± 7.1"]
    assert "\nNone diverged.\n" in page


def best_settings_of(changed, result):
    _, _, text = pages.page(changed, result, []).partition("### Best")
    text = text.partition("Mean ± standard")[0]
    return [x for x in text.splitlines() if x.startswith("|")][2:]


def two_variants(slow, fast):
    result = result_of(slow, variant="slow")
    return joined(result, result_of(fast, variant="fast"))


def test_the_best_setting_of_each_method():
    tuned = STUDY._replace(tuned=["rate"])
    result = two_variants(
        {"plain": PLAIN, "claimed": WORSE, "control": [NAN] * 3},
        {"plain": WORSE, "claimed": BETTER, "control": PLAIN},
    )
    assert best_settings_of(tuned, result) == [
        "| plain | slow | 60.0 ± 10.0 |",
        "| claimed | fast | 71.3 ± 10.5 |",
        "| control | fast | 60.0 ± 10.0 |",
    ]
    page = pages.page(tuned, result, [])
    assert "chosen on the same data that it is shown for" in page
    smaller = tuned._replace(metrics=[Metric("score", "loss", False, 1.0, 2)])
    assert best_settings_of(smaller, result)[:2] == [
        "| plain | fast | 0.49 ± 0.10 |",
        "| claimed | slow | 0.49 ± 0.10 |",
    ]


def test_there_is_a_best_setting_only_where_one_is_chosen():
    two = two_variants({"plain": PLAIN}, {"plain": WORSE})
    assert best_settings_of(STUDY, two) == []  # Its rate is not tuned.
    tuned = STUDY._replace(tuned=["rate"])
    one = two_variants({"plain": PLAIN}, {"plain": [NAN]})
    assert best_settings_of(tuned, one) == []
    gone = tuned._replace(variants={"slow": {"rate": 0.1}})
    assert best_settings_of(gone, two) == []


@pytest.mark.parametrize(
    ("devices", "versions", "line"),
    [
        (1, 1, None),
        (2, 1, "The cells come from 2 devices, so"),
        (1, 3, "The cells come from 3 sets of package versions, so"),
        (2, 2, "come from 2 devices and 2 sets of package versions, so"),
    ],
)
def test_a_page_tells_of_several_devices_and_versions(devices, versions, line):
    result = result_of({"plain": PLAIN, "claimed": BETTER})
    result = result._replace(
        devices=devices * result.devices, versions=versions * result.versions
    )
    page = pages.page(ONE, result, [])
    if line is None:
        assert "The cells come from" not in page
    else:
        assert line in page


def test_pairs_are_counted_where_seeds_differ():
    result = result_of({"plain": PLAIN[:2], "claimed": SPREAD})
    page = pages.page(ONE, result, [])
    assert table_row(page, "claimed")[4].endswith("], 2 pairs")


def test_other_settings_than_the_preset_s_are_told():
    changed = ONE._replace(presets={"small": Preset({"epochs": 9}, 3)})
    page = pages.page(changed, result_of({"plain": PLAIN}), [])
    assert "Not the preset's own settings, which are: epochs 9" in page


def test_the_paper_stands_beside():
    paper = Paper("Table 1", ["", "a|b"], [("net", "71.39")], "Other data.")
    page = pages.page(
        ONE._replace(paper=paper), result_of({"plain": PLAIN}), []
    )
    assert "| net | 71.39 |" in page
    assert "a\\|b" in page
    assert page.index("## Ours") < page.index("Table 1") < page.index("Plots")
    assert "Other data." in page


def test_settings_stand_in_one_line():
    settings = {"optimizer": "adam", "arguments": {"b1": 0.8}, "limit_a": None}
    assert tables.listed(settings) == "optimizer adam, b1 0.8, limit a all"


def test_the_terminal_gets_the_table(capsys):
    scores = {"plain": [0.5] * 3, "claimed": [0.6, 0.7, 0.8]}
    report.print_table(STUDY, result_of(scores, variant="slow"))
    printed = capsys.readouterr().out
    (line,) = [x for x in printed.splitlines() if "│ claimed" in x]
    assert "70.0 ± 10.0" in line
    assert "│ control" not in printed
    (line,) = [x for x in printed.splitlines() if "score, %:" in x]
    assert line.startswith("score, %: claimed not run")
    assert max(map(len, printed.splitlines())) <= 80
    assert "Does it work?" in printed


def test_the_terminal_explains_its_words(capsys):
    scores = {"plain": PLAIN, "claimed": BETTER, "control": WORSE}
    report.print_table(STUDY, two_variants(scores, scores))
    lines = " ".join(capsys.readouterr().out.split())
    assert "claimed reproduced in 2 of 2 settings" in lines
    assert "(reproduced = better than the baseline, p < 0.05" in lines
    assert "; harmful = worse, p < 0.05)" in lines
