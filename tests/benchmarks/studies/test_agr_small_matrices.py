"""The data and the methods of the study of small matrices."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import data
from benchmarks.studies import agr_small_matrices


def test_columns_become_one_of_their_bins():
    rows = np.random.default_rng(0).standard_cauchy((320, 3))
    rows[:, 2] = rows[:, 2] > 0
    targets = jnp.arange(320.0)
    split = data.Split(
        data.Rows(jnp.asarray(rows, jnp.float32), targets),
        data.Rows(jnp.asarray([[1e9, -1e9, 1.0]]), jnp.ones(1)),
    )
    train, test = agr_small_matrices.one_hot(split, [0, 2])
    assert set(np.unique(train.inputs)) == {0, 1}
    np.testing.assert_array_equal(train.inputs.sum(axis=1), 2)
    # Sixteen bins of 20 rows each; of a column of two values no more than 3.
    np.testing.assert_array_equal(train.inputs[:, :16].sum(axis=0), 20)
    assert train.inputs.shape[1] <= 16 + 3
    np.testing.assert_array_equal(test.inputs[0, :16], np.eye(16)[15])
    assert train.targets is targets


def test_small_matrices_come_with_and_without_the_bound():
    methods = agr_small_matrices.METHODS
    halved = [name for name in methods if "-half" in name]
    assert len(halved) == 5
    for name in halved:
        method, whole = methods[name], methods[name.replace("-half", "")]
        assert method.arguments == {**whole.arguments, "max_alpha": 0.5}
        assert method.baseline == whole.baseline


@pytest.mark.parametrize("name", agr_small_matrices.DATA)
def test_targets_are_in_deviations(name):
    split = agr_small_matrices.load({}, None)[name]
    train = np.asarray(split.train.targets, np.float64)
    np.testing.assert_allclose([train.mean(), train.std()], [0, 1], atol=1e-5)
    inputs = np.asarray(split.train.inputs)
    columns = {"column": 1, "table": 10}.get(name)
    if columns:
        np.testing.assert_array_equal(inputs.sum(axis=1), columns)
    else:
        assert inputs.shape == (1437, 64)
