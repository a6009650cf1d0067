"""What validation chooses, and the one test that is named before."""

import pytest

from benchmarks.reporting import pages, plots, verdicts
from benchmarks.study import Contender, Primary, Tuning
from tests.helpers.made_up import (
    NAN,
    PLAIN,
    STUDY,
    joined,
    result_of,
    table_row,
)

TUNED = STUDY._replace(
    tuning=Tuning(
        "valid",
        {
            "plain, tuned": Contender("plain", ["plain"]),
            "claimed, tuned": Contender(
                "any", ["claimed", "control"], "plain, tuned"
            ),
        },
        {"tuned": ["slow", "fast"]},
    ),
    primary=Primary("tuned", "claimed, tuned", "score"),
)
SCORES = {
    ("slow", "plain"): (PLAIN, 0.4),
    ("fast", "plain"): ([0.1, 0.2, 0.3], 0.3),  # Chosen, though worse.
    ("slow", "claimed"): ([0.9] * 3, 0.9),
    ("fast", "claimed"): ([NAN, 0.9, 0.9], 0.0),  # Diverged.
    ("slow", "control"): ([0.2, 0.4, 0.6], 0.2),  # Chosen.
}


def result_with_validation(scores):
    parts = []
    for (variant, method), (values, valid) in scores.items():
        part = result_of({method: values}, variant=variant)
        cells = [
            cell._replace(final={**cell.final, "valid": valid})
            for cell in part.cells
        ]
        parts.append(part._replace(cells=cells))
    whole = parts[0]
    for part in parts[1:]:
        whole = joined(whole, part)
    return whole


def test_validation_chooses_and_the_metric_judges():
    result = result_with_validation(SCORES)
    assert verdicts.choices(TUNED, result) == {
        ("tuned", "plain, tuned"): ("fast", "plain"),
        ("tuned", "claimed, tuned"): ("slow", "control"),
    }
    row = verdicts.rows(TUNED, result)[-1]
    # 0.2 - 0.1, 0.4 - 0.2, 0.6 - 0.3.
    effect = row.comparisons[0].effect
    assert effect.mean == pytest.approx(0.2)
    page = pages.page(TUNED, result, [])
    assert (
        "Validation chose: `plain, tuned` is `plain` at fast;"
        " `claimed, tuned` is `control` at slow." in page
    )
    assert "### Best setting" not in page
    assert plots.effects(TUNED, result)


def test_the_primary_test_is_not_corrected_and_corrects_no_other():
    result = result_with_validation(SCORES)
    rows = verdicts.rows(TUNED, result)
    found = verdicts.primary(rows)
    assert found
    row, comparison = found
    assert (row.variant, row.method) == ("tuned", "claimed, tuned")
    # Differences .1, .2, .3: t = 2 sqrt(3) of two degrees of freedom.
    assert (
        comparison.p == comparison.effect.p == pytest.approx(0.0742, abs=1e-4)
    )
    without = verdicts.rows(TUNED._replace(primary=None), result)
    assert verdicts.primary(without) is None
    assert verdicts.count_tests(without) == verdicts.count_tests(rows) + 1
    page = pages.page(TUNED, result, [])
    cells = table_row(page.partition("### tuned")[2], "claimed, tuned")
    assert cells[-1] == "0.074, not corrected"
    assert "Primary test, named before anything was run" in page
    assert "What came of it: **no effect found**" in page
    first = verdicts.sentences(TUNED, result)[0]
    assert first.startswith("primary test, claimed, tuned in score, % at tuned")


def test_nothing_is_chosen_where_nothing_was_run():
    gone = TUNED._replace(
        tuning=TUNED.tuning._replace(variants={"tuned": ["other"]})
    )
    result = result_with_validation(SCORES)
    assert verdicts.choices(gone, result) == {}
    assert verdicts.LEFT_OUT in pages.page(gone, result, [])
