"""AGR, clipping or a better rate under heavy tails."""

import numpy as np

from benchmarks import data
from benchmarks.studies import agr_heavy_tails_tuned as tuned
from benchmarks.study import Job


def test_rates_are_chosen_on_examples_that_nothing_else_sees():
    clean = data.digits()
    settings = tuned.STUDY.presets["small"].settings
    split = tuned.part(Job("adamw", settings, [0], clean, lambda: None))
    assert [len(part.labels) for part in split] == [1150, 287, 360]
    whole = np.asarray(clean.train.images).reshape(1437, -1)
    parts = [np.asarray(part.images).reshape(-1, 64) for part in split[:2]]
    ours = np.concatenate(parts)
    order = lambda rows: rows[np.lexsort(rows.T)]  # noqa: E731
    np.testing.assert_array_equal(order(ours), order(whole))
    counts = np.bincount(np.asarray(split.valid.labels), minlength=10)
    assert counts.min() >= 27
    assert split.test is clean.test


def test_every_method_has_the_same_rates_and_seeds_of_its_own():
    study = tuned.STUDY
    for variants in study.tuning.variants.values():
        rates = [study.variants[name]["learning_rate"] for name in variants]
        assert rates == [1e-3, 3e-3, 1e-2]
    assert study.presets["small"].settings["first_seed"] == 200
    primary = study.primary
    assert study.tuning.contenders[primary.method].methods == ["agr+adamw"]
    assert primary.metric == study.metrics[0].key == "test_loss"
