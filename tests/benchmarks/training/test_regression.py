"""Training of a regressor, with GAL and without, and its measurements."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import metrics

from benchmarks import data, models
from benchmarks.contenders import gal
from benchmarks.contenders.makers import WithAdjuster
from benchmarks.training import loop, regression
import optaxmods
from tests.helpers.gal_runs import (
    RATE,
    SEEDS,
    assert_close,
    at,
    rows,
    runs_of,
    theta_of,
)


@pytest.mark.parametrize("sizes", [(6,), (6, 5)])
def test_regression_is_gradient_descent_on_the_squared_error(sizes):
    model, given = models.Regressor(sizes=sizes), rows(16)

    def mse(params):
        predicted = model.apply({"params": params}, given.inputs)
        return jnp.mean((predicted - given.targets) ** 2)

    start, *_, end = runs_of(
        optax.sgd,
        model,
        given,
        batch_size=16,  # One step an epoch, whose order does not matter.
        objective=regression.LAST_HIDDEN_LAYER,
    )
    params = at(start.params, 0)
    for _ in range(2):
        step = jax.tree.map(lambda g: -RATE * g, jax.grad(mse)(params))
        params = optax.apply_updates(params, step)
    assert_close(at(end.params, 0), params)


def test_gal_adjusts_the_last_hidden_layer():
    model, given, step = models.Regressor(sizes=(6, 5)), rows(16), 1e-3
    make = gal.maker("gal+adam", 5, 0.05, step, hidden_sizes=(8,))

    def first_updates(objective):
        start = runs_of(make, model, given, epochs=0)[0]
        params, theta = at(start.params, 0), at(theta_of(start), 0)
        gradient = jax.jit(jax.grad(objective, has_aux=True))
        return params, gradient(params, theta)[0]

    def written_out(params, theta):
        weights = params["output"]
        hidden = model.apply(
            {"params": params}, given.inputs, method="features"
        )

        def losses(z):
            predicted = z @ weights["kernel"][:, 0] + weights["bias"][0]
            return (predicted - given.targets) ** 2

        return make.adjuster.loss(theta, hidden, losses)

    params, expected = first_updates(written_out)
    # Adam's first step is the sign of the gradient, times the rate: SGD shows
    # more of it.
    descend = WithAdjuster(
        make.adjuster,
        lambda rate, key: optax.chain(
            optaxmods.gal(make.adjuster, 5, key=key), optax.sgd(rate)
        ),
    )
    end = runs_of(
        descend,
        model,
        given,
        epochs=1,
        batch_size=16,
        objective=regression.LAST_HIDDEN_LAYER,
    )[-1]
    moved = jax.tree.map(lambda p, g: p - RATE * g, params, expected)
    assert_close(at(end.params, 0), moved)

    def plain(params, theta):
        return written_out(params, theta)[0] * 0 + jnp.mean(
            (model.apply({"params": params}, given.inputs) - given.targets) ** 2
        ), None

    # The output layer learns as without GAL, those before it do not.
    _, unadjusted = first_updates(plain)
    assert_close(expected["output"], unadjusted["output"])
    kernels = [g["hidden_1"]["kernel"] for g in (expected, unadjusted)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


def test_regression_is_measured_as_scikit_learn_does(monkeypatch):
    monkeypatch.setattr(loop, "MEASURED_TRAIN", 7)
    model, split = models.Regressor(sizes=(6,)), data.Split(rows(30), rows(11))
    epochs = []
    outcomes = regression.train_and_measure(
        model,
        optax.sgd,
        split,
        learning_rate=RATE,
        seeds=SEEDS,
        epochs=4,
        batch_size=8,
        measure_every=2,
        on_epoch=lambda: epochs.append(1),
    )
    assert len(epochs) == 4
    end = runs_of(
        optax.sgd,
        model,
        split.train,
        epochs=4,
        objective=regression.LAST_HIDDEN_LAYER,
    )[-1]
    for row, outcome in enumerate(outcomes):
        variables = {"params": at(end.params, row)}
        tested = split.test.targets, model.apply(variables, split.test.inputs)
        first = model.apply(variables, split.train.inputs[:7])
        expected = {
            "test_r2": metrics.r2_score(*tested),
            "test_mse": metrics.mean_squared_error(*tested),
            "test_mae": metrics.mean_absolute_error(*tested),
            "train_mse": metrics.mean_squared_error(
                split.train.targets[:7], first
            ),
        }
        assert set(outcome.final) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(outcome.final[name], value, rtol=1e-4)
        for curve in regression.CURVES:
            assert len(outcome.curves[curve.key]) == 3
            assert outcome.curves[curve.key][-1] == outcome.final[curve.key]
