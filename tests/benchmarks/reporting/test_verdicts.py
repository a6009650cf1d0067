"""Verdicts on made-up results."""

import math

import pytest

from benchmarks.reporting import verdicts
from benchmarks.study import Metric
from tests.helpers.made_up import (
    BETTER,
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
)


def verdict_of(result, method="claimed", changed=ONE):
    (row,) = [r for r in verdicts.rows(changed, result) if r.method == method]
    return row.verdict


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


def test_the_words_are_explained_on_the_screen():
    assert set(verdicts.SHORT) == set(verdicts.WORDS)
    for ours, control in (BETTER, WORSE), (SPREAD, BETTER), (WORSE, SPREAD):
        result = result_of(
            {"plain": PLAIN, "claimed": ours, "control": control}
        )
        rows = verdicts.rows(STUDY, result)
        used = {row.verdict for row in rows}
        legend = verdicts.legend(rows)
        for word in verdicts.WORDS:
            assert (f"{word} = " in legend) == (word in used)
    alone = verdicts.rows(STUDY, result_of({"plain": PLAIN}))
    assert verdicts.legend(alone) == ""


def test_the_direction_flips_where_smaller_is_better():
    loss = ONE._replace(metrics=[Metric("score", "loss", False)])
    result = result_of({"plain": PLAIN, "claimed": BETTER, "control": WORSE})
    assert verdict_of(result, "claimed", loss) == "harmful"
    assert verdict_of(result, "control", loss) == "better"


def test_a_divergence_is_no_accuracy():
    result = result_of({"plain": PLAIN, "claimed": BETTER})
    *others, last = result.cells
    result = result._replace(cells=[*others, last._replace(diverged=True)])
    (row,) = [r for r in verdicts.rows(ONE, result) if r.method == "claimed"]
    assert row.verdict == "diverged in 1 of 3"
    assert math.isnan(row.summaries[0].mean)
    assert math.isnan(row.comparisons[0].p)


def p_of_claimed(result):
    rows = verdicts.rows(STUDY, result)
    return [row.comparisons[0].p for row in rows if row.method == "claimed"]


def test_every_metric_is_tested():
    result = result_with_losses(
        {"plain": PLAIN, "claimed": SPREAD, "control": SPREAD},
        {"plain": PLAIN, "claimed": WORSE, "control": BETTER},
    )
    rows = {row.method: row for row in verdicts.rows(TWO, result)}
    assert rows["plain"].comparisons == []
    # What a paper claims is about the first metric alone.
    assert {
        name: [comparison.verdict for comparison in row.comparisons]
        for name, row in rows.items()
    } == {
        "plain": [],
        "claimed": ["no effect found", "better"],
        "control": ["no effect found", "harmful"],
    }
    assert rows["claimed"].verdict == "no effect found"
    assert verdicts.sentences(TWO, result) == [
        "score, %: no effect found",
        "loss: claimed better; control harmful",
    ]


def test_holm_is_over_all_metrics():
    scores = {"plain": PLAIN, "claimed": BETTER}
    (alone,) = [p for p in p_of_claimed(result_of(scores)) if p > 0]
    result = result_with_losses(scores, scores)
    rows = verdicts.rows(TWO, result)
    (row,) = [row for row in rows if row.method == "claimed"]
    assert [comparison.p for comparison in row.comparisons] == pytest.approx(
        [2 * alone] * 2
    )
    assert verdicts.count_tests(rows) == 2


def test_holm_is_over_all_variants():
    scores = {"plain": PLAIN, "claimed": BETTER, "control": SPREAD}
    result = result_of(scores, variant="slow")
    alone, none = p_of_claimed(result)
    assert math.isnan(none)
    more = result_of(scores, variant="fast")
    assert p_of_claimed(joined(result, more)) == pytest.approx([2 * alone] * 2)


def test_the_sentence_sums_up():
    scores = {"plain": PLAIN, "claimed": BETTER, "control": BETTER}
    result = result_of(scores, variant="slow")
    other = {"plain": PLAIN, "claimed": BETTER, "control": SPREAD}
    result = joined(result, result_of(other, variant="fast"))
    assert verdicts.sentences(STUDY, result) == [
        "score, %: claimed reproduced in 2 of 2 settings; control better in 1"
        " of 2 settings; else no effect found"
    ]
    result = result_of({"plain": PLAIN, "claimed": SPREAD, "control": SPREAD})
    assert verdicts.sentences(ONE, result) == ["score, %: no effect found"]
    result = result_of({"plain": PLAIN, "claimed": BETTER})
    assert verdicts.sentences(ONE, result) == [
        "score, %: claimed reproduced; control not run, left out or not reached"
    ]
