"""Short trainings of small networks with GAL."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import data, models
from benchmarks.contenders import gal
from benchmarks.training import loop
import optaxmods

RATE, SEEDS = 0.01, (0, 5)
CLASSES, WIDTH = 3, 4


def maker(name, magnitude=0.05, step=0.5):
    contenders = gal.methods(
        *gal.FORMS, plain=name.split("+")[-1], hidden_sizes=(8,)
    )
    return gal.maker(
        name, CLASSES, magnitude, step, **contenders[name].arguments
    )


def examples(count=24):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, WIDTH)).astype(np.float32)
    labels = rng.integers(0, CLASSES, size=count).astype(np.int32)
    return data.Examples(jnp.asarray(images), jnp.asarray(labels))


def rows(count=40):
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(count, WIDTH)).astype(np.float32)
    targets = inputs[:, 0] - 2 * inputs[:, 1] ** 2 + 3
    return data.Rows(jnp.asarray(inputs), jnp.asarray(targets))


def runs_of(make, model=None, given=None, seeds=SEEDS, **settings):
    """Returns all seeds' runs before training and after each epoch."""
    if model is None:
        model, given = models.MLP(sizes=(5,), num_classes=CLASSES), examples()
    return list(
        loop.epochs_of(
            model,
            make,
            given,
            learning_rate=RATE,
            seeds=seeds,
            **{"epochs": 2, "batch_size": 8, **settings},
        )
    )


def theta_of(runs):
    return jax.vmap(optaxmods.adjuster_params)(runs.opt_state)


def at(tree, row):
    return jax.tree.map(lambda leaf: leaf[row], tree)


def assert_close(actual, expected, rtol=1e-4, atol=1e-6):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol),
        actual,
        expected,
    )


def is_same(a, b):
    equal = jax.tree.map(np.array_equal, a, b)
    return all(jax.tree.leaves(equal))
