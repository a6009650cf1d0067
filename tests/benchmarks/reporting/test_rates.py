"""Loss over the rate, of made-up numbers."""

from benchmarks.reporting import pages, plots, rates, tables, verdicts
from benchmarks.study import Contender, Method, Primary, Tuning
from tests.helpers.made_up import (
    NAN,
    PNG,
    STUDY,
    joined,
    result_of,
    table_row,
)

METRIC = STUDY.metrics[0]._replace(larger_is_better=False, factor=1.0)
GRID = STUDY._replace(
    metrics=[METRIC],
    methods={
        "plain": Method("plain"),
        "plain-2x": Method("twice", arguments={"factor": 2}),
        "push-1": Method("pushed"),
    },
    variants={"slow": {"rate": 0.1}, "fast": {"rate": 1.0}},
    tuning=Tuning(
        "score",
        {
            "plain, tuned": Contender("plain", ["plain", "plain-2x"]),
            "push, tuned": Contender("push", ["push-1"], "plain, tuned"),
            "push again": Contender("push", ["push-1"], "plain, tuned"),
        },
        {"tuned": ["slow", "fast"]},
    ),
    primary=Primary("tuned", "push, tuned", "score"),
)
LINES = {"alone": ["plain", "plain-2x"], "gamma 1": ["push-1"]}
SCORES = {
    "slow": {
        "plain": [0.6, 0.8],
        "plain-2x": [0.4, 0.4],
        "push-1": [0.3, 0.5],
    },
    "fast": {
        "plain": [0.3, 0.4],
        "plain-2x": [NAN, 0.4],
        "push-1": [0.2, 0.2],
    },
}
RESULT = joined(
    *(result_of(SCORES[name], variant=name) for name in ("slow", "fast"))
)


def rate_of(study, place):
    variant, method = place
    factor = study.methods[method].arguments.get("factor", 1)
    return study.variants[variant]["rate"] * factor


ASKED = {"rows": {"sgd": LINES}, "rate_of": rate_of, "metric": METRIC}


def test_points_are_means_by_rate():
    found = rates.points(
        GRID, RESULT, ["slow", "fast"], LINES["alone"], rate_of, METRIC
    )
    assert [(rate, f"{mean:.2f}") for rate, mean in found] == [
        (0.1, "0.70"),
        (0.2, "0.40"),
        (1.0, "0.35"),
        (2.0, "nan"),
    ]


def test_a_flat_line_has_ratios_of_one():
    *_, table = rates.section(GRID, RESULT, **ASKED)
    rows = [line.split(" | ")[2:] for line in table.splitlines()[2:]]
    # 0.7 and 0.35: the geometric mean of 2 and 1; then 0.4 and 0.2.
    assert rows == [
        ["alone", "0.3", "1", "1.41", "2.00", "0 of 2 |"],
        ["gamma 1", "0.2", "1", "1.41", "2.00", "0 of 2 |"],
    ]
    nothing = RESULT._replace(cells=[])
    assert rates.section(GRID, nothing, **ASKED) == []
    assert rates.pictures(GRID, nothing, **ASKED) == {}


def test_a_diverged_rate_is_counted_apart():
    lines = {"sgd": {"twice": ["plain-2x"]}}
    *_, table = rates.section(GRID, RESULT, **{**ASKED, "rows": lines})
    assert table.endswith("| 0.4 | 0.2 | 1.00 | 1.00 | 1 of 2 |")


def test_the_picture_has_a_line_for_each_number():
    drawn = rates.pictures(GRID, RESULT, **ASKED)
    assert drawn["rates"].startswith(PNG)
    looks = rates._looks(["alone", "gamma 1", "gamma 2", "floor 1"])
    assert len({tuple(map(str, look)) for look in looks.values()}) == 4
    assert looks["alone"].color == "#000000"
    # Another kind of number has another kind of line.
    kinds = [looks[f"{kind} 1"].linestyle for kind in ("gamma", "floor")]
    assert kinds[0] != kinds[1]


def test_of_a_grid_the_chosen_alone_are_shown_in_full():
    assert verdicts.is_grid(GRID)
    assert not verdicts.is_grid(STUDY)
    page = pages.page(GRID, RESULT, [])
    _, _, chosen = page.partition("### tuned")
    assert table_row(chosen, "push, tuned")[1] == "no effect found"
    assert "### slow" not in page
    assert "### All of the grid: tuned" in page
    grid = chosen.partition("### All of the grid")[2]
    assert table_row(grid, "plain-2x")[1:] == ["0.4 ± 0.0", "-"]
    assert tables.of_run(GRID, RESULT)


def test_curves_of_a_grid_are_those_that_were_chosen():
    study, result = verdicts.only_chosen(GRID, RESULT)
    # Once, however many it is compared with.
    assert list(study.methods) == ["plain, tuned", "push, tuned"]
    scores = {
        name: [c.final["score"] for c in result.cells if c.method == name]
        for name in study.methods
    }
    assert scores == {"plain, tuned": [0.3, 0.4], "push, tuned": [0.2, 0.2]}
    assert {cell.variant for cell in result.cells} == {"tuned"}
    assert plots.curves(GRID, RESULT).startswith(PNG)
