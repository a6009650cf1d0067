"""Compiled contenders beside their baselines: rows, page and file."""

import json

import jax
import optax
import pytest

from benchmarks.costs import cases, common, programs
from benchmarks.costs.cases import Case, Contender, Result, Row
from benchmarks.costs.compiled import Counted
from benchmarks.costs.programs import Place

MADE_BY = {"command": "the command", "jax": "1"}
PLAIN = Counted(1000, 10, 4_000_000, 2**20, {})
AGR = Counted(1030, 12, 4_400_000, 2**21, {"all-reduce": 2})
ROW = Row("v5e:2x2", "a step", "agr", "adamw", 1.02, AGR, PLAIN)


def page_of(*rows, ratios=("cycles", "moved")):
    return cases.to_markdown(Result(MADE_BY, [*rows]), "Title", "Intro", ratios)


def test_a_row_is_set_against_its_baseline_and_its_limit():
    page = page_of(ROW, ROW._replace(method="other", limit=None))
    assert page.count("## v5e:2x2: a step") == 1
    assert (
        "| agr | **1.030** | 1.02 | 1.100 | 12 (10) | 2.0 (1.0)"
        " | 2 all-reduce (none) | adamw |" in page
    )
    assert "| other | 1.030 |  | 1.100 |" in page


def test_collectives_have_columns_where_there_are_some():
    alone = page_of(ROW._replace(counted=AGR._replace(travels={})))
    assert "collectives" in page_of(ROW)
    assert "collectives" not in alone


def test_bytes_may_be_what_is_limited():
    assert "| agr | **1.100** | 1.02 | 12 (10) |" in page_of(
        ROW, ratios=("moved",)
    )


def test_what_loops_has_no_ratio():
    loop = AGR._replace(loops=1)
    page = page_of(ROW._replace(counted=loop, limit=None))
    assert "| agr | in a loop |  | in a loop | 12 (10) |" in page
    both = ROW._replace(counted=loop, plain=PLAIN._replace(loops=1))
    assert "| **1.030** |" in page_of(both)


def tiny(title):
    place = Place(jax.devices()[0])
    return Case(
        "here",
        title,
        lambda tx: programs.update(
            tx, programs.kernels(place, 2, (3, 4)), place
        ),
        {
            "clipped": Contender(
                optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0)),
                "sgd",
                optax.sgd(1.0),
            )
        },
    )


def test_measured_cases_replace_their_rows_alone(tmp_path):
    path = tmp_path / "cost.json"
    both = [tiny("one"), tiny("two")]
    first = cases.result(path, MADE_BY, both, "")
    assert [row.case for row in first.rows] == ["one", "two"]
    old = [row._replace(counted=AGR) for row in first.rows]
    path.write_text(json.dumps(cases.to_json(Result(MADE_BY, old))))
    again = cases.result(path, MADE_BY, both, "here: two")
    assert again.rows == [old[0], first.rows[1]]
    other = cases.result(path, MADE_BY | {"jax": "2"}, both, "here: one")
    assert other.rows == [first.rows[0]]


def test_a_title_that_no_case_has_is_refused(tmp_path):
    with pytest.raises(common.RefusedError, match="no case has 'three' in"):
        cases.result(tmp_path / "cost.json", MADE_BY, [tiny("one")], "three")
