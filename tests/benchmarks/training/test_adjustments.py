"""What GAL's adjustments do, beside what the library says of them."""

import jax
import numpy as np

from benchmarks import data, models
from benchmarks.training import adjustments, classification, loop
import optaxmods
from tests.helpers.gal_runs import (
    CLASSES,
    RATE,
    SEEDS,
    at,
    examples,
    maker,
    runs_of,
    theta_of,
)

MODEL = models.MLP(sizes=(5,), num_classes=CLASSES)


def train(name, **settings):
    given = examples()
    return adjustments.train(
        MODEL,
        maker(name),
        data.Validated(given, given, given),
        **{"learning_rate": RATE, "seeds": SEEDS, "epochs": 2},
        batch_size=8,
        **settings,
    )


def test_the_last_point_is_what_the_adjuster_says():
    found = train("gal+adam", looked_at=10)
    end = runs_of(maker("gal+adam"))[-1]
    first = jax.tree.map(lambda x: x[:10], examples())
    adjuster = maker("gal+adam").adjuster
    for row, outcome in enumerate(found):
        logits = MODEL.apply({"params": at(end.params, row)}, first.images)
        given = (
            at(theta_of(end), row),
            logits,
            lambda z: loop.cross_entropy(z, first.labels),
        )
        _, metrics = adjuster.loss(*given)
        metrics = {**metrics, "wins": adjuster.compare(*given)}
        for name in "acceptance", "remainder", "cosine", "wins":
            np.testing.assert_allclose(
                outcome.final[name], metrics[name], rtol=1e-4, atol=1e-6
            )
            assert len(outcome.curves[name]) == 3


def test_other_curves_are_those_of_a_classifier():
    ours = train("adam")
    given = examples()
    theirs = classification.outcomes(
        classification.train(
            MODEL,
            maker("adam"),
            data.Validated(given, given, given),
            learning_rate=RATE,
            seeds=SEEDS,
            epochs=2,
            batch_size=8,
        )
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.final.keys() == other.final.keys()
        for name, curve in other.curves.items():
            np.testing.assert_allclose(mine.curves[name], curve, rtol=1e-4)


def test_methods_are_trained_on_what_they_minimize():
    plain, smoothed = (
        train("adam", objective=objective)[0].final["train_loss"]
        for objective in (loop.CLASSIFICATION, loop.smoothed(0.9))
    )
    assert plain < smoothed


def test_a_remainder_is_looked_at_with_the_theta_that_learnt():
    frozen, learnt = (
        train(name)[0].curves["remainder"]
        for name in ("gal-frozen+adam", "gal+adam")
    )
    assert frozen[0] == learnt[0]
    assert frozen[-1] != learnt[-1]
    assert isinstance(maker("gal+adam").adjuster, optaxmods.GradientAdjuster)
