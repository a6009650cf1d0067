"""The study of GAL on regression tables."""

import jax
import numpy as np
import pytest
from sklearn import datasets, model_selection

from benchmarks import data
from benchmarks.runs import runner
from benchmarks.studies import gal_regression
from benchmarks.study import Job
from benchmarks.training import regression
import optaxmods


def test_split_is_scikit_learns_and_the_papers():
    inputs, targets = datasets.load_diabetes(return_X_y=True, scaled=False)
    train_inputs, test_inputs, train_targets, test_targets = (
        model_selection.train_test_split(inputs, targets, random_state=1)
    )
    split = data.diabetes(split=data.quarter_indices)
    np.testing.assert_allclose(split.test.targets, test_targets)
    np.testing.assert_allclose(split.train.targets, train_targets)
    mean, deviation = train_inputs.mean(axis=0), train_inputs.std(axis=0)
    np.testing.assert_allclose(
        split.test.inputs,
        (test_inputs - mean) / deviation,
        rtol=1e-4,
        atol=1e-5,
    )
    # MSE / (1 - R2) is the variance of what is tested on.
    papers = [r for r in gal_regression.PAPER.rows if r[1][0] in "BP"][2:4]
    for row in papers:
        mse, r2 = (float(x.strip("*").split("±")[0]) for x in row[3:])
        assert mse / (1 - r2) == pytest.approx(np.var(test_targets), rel=3e-4)


def test_a_row_alone_cannot_be_split():
    with pytest.raises(data.DataError, match="one: 1 example"):
        data.quarter_indices(1, "one")


def test_regression_takes_the_papers_settings(monkeypatch):
    calls = []
    monkeypatch.setattr(
        regression,
        "train_and_measure",
        lambda model, make, split, **given: calls.append((model, make, given)),
    )
    settings = gal_regression.STUDY.presets["small"].settings
    job = Job(
        "gal+adam",
        {**settings, **gal_regression.VARIANTS["Boston, 100 epochs"]},
        [0],
        {"boston": None},
        lambda: None,
    )
    for name in "gal+adam", "gal-larger+adam", "gal-released+adam":
        arguments = gal_regression.METHODS[name].arguments
        gal_regression.run(job._replace(method=name, arguments=arguments))
    adjusters = [make.adjuster for _, make, _ in calls]
    assert [a.magnitude for a in adjusters] == [0.001, 0.01, 0.001]
    assert [a.tentative_step for a in adjusters] == [1e-6, 1e-3, 1e-6]
    assert [a.convention for a in adjusters] == ["paper", "paper", "released"]
    assert {a.hidden_sizes for a in adjusters} == {(16, 4)}
    for model, _, given in calls:
        assert model.sizes == (100, 50)
        assert given["learning_rate"] == 1e-3


def test_the_scalar_output_is_listed_and_not_run():
    found = gal_regression.STUDY
    for preset in found.presets:
        plan = runner.plan(found, "gal-regression", preset, out=None)
        assert gal_regression.SCALAR not in plan.methods
    assert "theta" in found.methods[gal_regression.SCALAR].not_run
    with pytest.raises(ValueError, match="last hidden layer"):
        optaxmods.GradientAdjuster().init(jax.random.key(0), 1)


def test_papers_table_is_whole():
    paper = gal_regression.PAPER
    assert len(paper.rows) == 9
    assert {len(row) for row in paper.rows} == {len(paper.header)}
