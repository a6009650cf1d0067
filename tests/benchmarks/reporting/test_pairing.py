"""What pairing buys, of made-up numbers."""

import math
import shutil

import numpy as np
import pytest

from benchmarks.reporting import pairing, repeats, report
from benchmarks.runs import runner
from benchmarks.study import Method, Outcome
from tests.helpers.made_up import (
    NAME,
    NAN,
    ONE,
    STUDY,
    joined,
    result_of,
    table_row,
)

# Deviations of 1, 1 and, of the differences, 0.5 and 2.
BASE = {0: 1.0, 1: 2.0, 2: 3.0}
NEAR = {0: 1.0, 1: 2.5, 2: 4.0}
AGAINST = {0: 3.0, 1: 2.0, 2: 1.0}
HEADER = "page"


def by_seed(values):
    return [values[seed] for seed in sorted(values)]


def test_the_ratio_is_that_of_the_standard_errors():
    found = pairing.gain(NEAR, BASE)
    assert found.pairs == 3
    # sqrt(1.5**2 + 1) / 0.5.
    assert found.ratio == pytest.approx(math.sqrt(3.25) / 0.5)
    # Where they go against each other pairing loses: sqrt(2) / 2.
    assert pairing.gain(AGAINST, BASE).ratio == pytest.approx(0.5**0.5)
    # Of independent values, drawn often, it is 1.
    draws = np.random.default_rng(0).normal(size=(2, 4000))
    ours, theirs = ({**dict(enumerate(row))} for row in draws)
    assert pairing.gain(ours, theirs).ratio == pytest.approx(1, abs=0.03)


def test_only_common_seeds_that_ended_well_count():
    assert pairing.gain({**NEAR, 7: 99.0}, {**BASE, 8: -99.0}).ratio == (
        pairing.gain(NEAR, BASE).ratio
    )
    assert pairing.gain({0: 1.0}, BASE) is None
    assert pairing.gain({**NEAR, 1: NAN}, BASE) is None
    shifted = {seed: value + 0.1 for seed, value in BASE.items()}
    assert math.isnan(pairing.gain(shifted, BASE).ratio)


def page_of(scores):
    return result_of({name: by_seed(values) for name, values in scores.items()})


def section_of(result, found=None, aa=None):
    studies = {NAME: ONE} | ({repeats.NAME: aa} if aa else {})
    return pairing.section(studies, {NAME: [result]}, found)


def test_a_page_has_its_ratio_and_the_seeds_that_it_saves():
    page = page_of({"plain": BASE, "claimed": NEAR, "control": AGAINST})
    heading, _, table = section_of(page)
    assert heading == "## What pairing buys"
    ratios = math.sqrt(3.25) / 0.5, 0.5**0.5
    median = sum(ratios) / 2
    assert table_row(f"\n{table}", NAME, HEADER) == [
        *(NAME, "score, %", "2", "3", f"{median:.2f}"),
        *(f"{min(ratios):.2f}", f"{max(ratios):.2f}"),
        # Of three pairs, as the variance falls with the square.
        *(f"{3 * median**2:.0f}", "-"),
    ]
    assert section_of(page._replace(preset="smoke")) == []
    assert section_of(page_of({"plain": BASE})) == []


def test_equal_differences_are_counted_and_have_no_ratio():
    shifted = {seed: value + 1 for seed, value in BASE.items()}
    page = page_of({"plain": BASE, "claimed": NEAR, "control": shifted})
    *_, table = section_of(page)
    row = table_row(f"\n{table}", NAME, HEADER)
    assert row[2] == "1 of 2"
    assert row[4] == row[5] == row[6]


def test_baselines_beside_themselves_are_those_of_the_page():
    def aa_cells(variant, values):
        part = result_of(
            {k: by_seed(v) for k, v in values.items()}, variant=variant
        )
        cells = [
            cell._replace(final={"first": cell.final["score"]})
            for cell in part.cells
        ]
        return part._replace(cells=cells)

    methods = {
        "once": STUDY.methods["plain"],
        "again": STUDY.methods["claimed"]._replace(baseline="once"),
    }
    aa = STUDY._replace(
        methods=methods,
        variants={"x": {"page": NAME}, "y": {"page": "another"}},
    )
    mine = aa_cells("x", {"once": BASE, "again": NEAR})
    found = joined(mine, aa_cells("y", {"once": BASE, "again": AGAINST}))
    page = page_of({"plain": BASE, "claimed": AGAINST})
    *_, table = section_of(page, found, aa)
    row = table_row(f"\n{table}", NAME, HEADER)
    assert row[-1] == f"{math.sqrt(3.25) / 0.5:.2f}"
    same = aa_cells("x", {"once": BASE, "again": BASE})
    *_, table = section_of(page, same, aa)
    assert table_row(f"\n{table}", NAME, HEADER)[-1] == "the same"


def test_the_report_writes_it_on_the_aa_study_s_page(tmp_path):
    def run_of(study, scores):
        first, second = scores
        methods = {first: Method("plain"), second: Method("more", first)}
        return study._replace(
            methods=methods,
            run=lambda job: [
                Outcome({"score": [0, score]}, {"score": score})
                for score in map(scores[job.method].get, job.seeds)
            ],
        )

    where = {"page": NAME, "variant": "", "baseline": "plain"}
    both = {
        repeats.NAME: run_of(
            ONE._replace(variants={"x": where}), {"once": BASE, "again": NEAR}
        ),
        NAME: run_of(ONE, {"plain": BASE, "claimed": NEAR}),
    }
    # What was run is packed, and its page made from that alone.
    for name, study in both.items():
        presets = {"small": study.presets["small"]}
        both[name] = study._replace(presets=presets)
        plan = runner.plan(both[name], name, "small", out=tmp_path)
        folder = runner.run(plan).folder
        report.write_all({name: both[name]}, tmp_path)
        shutil.rmtree(folder)
    report.write_all(both, tmp_path)
    text = (tmp_path / repeats.NAME / "small.md").read_text()
    ratio = f"{math.sqrt(3.25) / 0.5:.2f}"
    assert table_row(text, NAME, HEADER)[4] == ratio
    assert "What pairing buys" not in (tmp_path / NAME / "small.md").read_text()
