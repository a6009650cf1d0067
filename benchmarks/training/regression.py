"""Training of a regressor, with GAL on its last hidden layer, for seeds."""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Rows, Split
from benchmarks.models import Regressor
from benchmarks.study import Curve, Metric, Outcome
from benchmarks.training import loop

METRICS = (
    Metric("test_r2", "test R²", True, 1.0, 4),
    Metric("test_mse", "test MSE", False, 1.0, 4),
    Metric("test_mae", "test MAE", False, 1.0, 4),
)
CURVES = (
    Curve("train_mse", "training MSE", log=True),
    Curve("test_r2", "test R²"),
)


class Measured(NamedTuple):
    """Measurements of the test rows, and of the first training rows."""

    train_mse: jax.Array
    test_r2: jax.Array
    test_mse: jax.Array
    test_mae: jax.Array


def _squared_errors(
    model: Any, params: Any, features: jax.Array, targets: jax.Array
) -> jax.Array:
    predicted = model.apply({"params": params}, features, method="predict")
    return (predicted - targets) ** 2


# GAL adjusts the gradient of the last hidden layer. Of a single number, the
# prediction, v / |v| is a sign, of which theta gets no gradient.
LAST_HIDDEN_LAYER = loop.Objective("features", _squared_errors)


def train_and_measure(
    model: Regressor,
    make_optimizer: MakeOptimizer,
    data: Split[Rows],
    *,
    learning_rate: float,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    measure_every: int,
    on_epoch: Callable[[], None],
) -> list[Outcome]:
    """Trains one regressor a seed on the mean squared error.

    The arguments are those of ``classification.train``. Measured is before
    training and after every so many epochs.
    """
    runs = loop.epochs_of(
        model,
        make_optimizer,
        data.train,
        learning_rate=learning_rate,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        objective=LAST_HIDDEN_LAYER,
    )
    points = loop.measurements(
        runs,
        lambda runs: _measure(model, runs.params, data),
        on_epoch,
        every=measure_every,
    )
    curves = {
        name: np.stack([getattr(point, name) for point in points], axis=1)
        for name in Measured._fields
    }
    return [
        Outcome(
            curves={curve.key: curves[curve.key][row] for curve in CURVES},
            final={name: curve[row, -1] for name, curve in curves.items()},
        )
        for row in range(len(seeds))
    ]


@functools.partial(jax.jit, static_argnames="model")
def _measure(model: Regressor, params: Any, data: Split[Rows]) -> Measured:
    first = jax.tree.map(lambda x: x[: loop.MEASURED_TRAIN], data.train)

    def errors(params: Any, rows: Rows) -> jax.Array:
        predicted: Any = model.apply({"params": params}, rows.inputs)
        return predicted - rows.targets

    def measure_one(params: Any) -> Measured:
        test = errors(params, data.test)
        mse = jnp.mean(test**2)
        return Measured(
            train_mse=jnp.mean(errors(params, first) ** 2),
            test_r2=1 - mse / jnp.var(data.test.targets),
            test_mse=mse,
            test_mae=jnp.mean(jnp.abs(test)),
        )

    return jax.lax.map(measure_one, params)
