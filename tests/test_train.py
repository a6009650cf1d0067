"""The training loop against gradient descent in NumPy, seeds and batches."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import data, models, train


class ZeroLinear(nn.Module):
    """Softmax regression from all-zero weights."""

    @nn.compact
    def __call__(self, images, train=False):
        del train
        features = images.reshape(images.shape[0], -1)
        return nn.Dense(3, kernel_init=nn.initializers.zeros)(features)


class Linear(nn.Module):
    """Softmax regression from random weights."""

    @nn.compact
    def __call__(self, images, train=False):
        del train
        return nn.Dense(3)(images.reshape(images.shape[0], -1))


def small_split():
    rng = np.random.default_rng(0)

    def examples(count):
        images = rng.normal(size=(count, 2, 2, 1)).astype(np.float32)
        labels = rng.integers(0, 3, size=count).astype(np.int32)
        return data.Examples(jnp.asarray(images), jnp.asarray(labels))

    return data.Split(train=examples(24), test=examples(10))


def descent_scaled_by_value(learning_rate):
    def update(updates, state, params=None, **extra_args):
        del params
        step = -learning_rate * extra_args["value"]
        return jax.tree.map(lambda g: step * g, updates), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update
    )


def test_training_follows_gradient_descent():
    split = small_split()
    curves = train.train(
        ZeroLinear(),
        descent_scaled_by_value,
        split,
        learning_rate=0.7,
        seeds=[3],
        epochs=3,
        batch_size=24,  # One step an epoch, whose order does not matter.
    )

    def flat(examples):
        images = np.asarray(examples.images, np.float64)
        features = images.reshape(len(images), -1)
        ones = np.ones((len(images), 1))
        return np.hstack([features, ones]), np.asarray(examples.labels)

    def measure(weights, features, labels):
        logits = features @ weights
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        return loss, probabilities

    features, labels = flat(split.train)
    test_features, test_labels = flat(split.test)
    weights = np.zeros((5, 3))
    expected = []
    for _ in range(4):
        loss, probabilities = measure(weights, features, labels)
        test_loss, test_probabilities = measure(
            weights, test_features, test_labels
        )
        hits = test_probabilities.argmax(axis=1) == test_labels
        expected.append((loss, test_loss, hits.mean()))
        slope = features.T @ (probabilities - np.eye(3)[labels]) / len(labels)
        weights -= 0.7 * loss * slope
    for curve, values in zip(curves, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(np.asarray(curve)[0], values, rtol=1e-5)


def test_a_seed_fixes_everything():
    def run(seeds):
        curves = train.train(
            Linear(),
            optax.sgd,
            small_split(),
            learning_rate=0.5,
            seeds=seeds,
            epochs=2,
            batch_size=5,
        )
        return np.asarray(curves.train_loss)

    first = run([1, 2])
    np.testing.assert_array_equal(run([1, 2]), first)
    # To rounding: the order of the seeds may change how sums are vectorized.
    np.testing.assert_allclose(run([2, 1])[::-1], first, rtol=1e-5)
    assert len(np.unique(first)) == first.size


def test_an_epoch_visits_no_example_twice():
    seeds = jnp.arange(2, dtype=jnp.uint32)
    batches = [
        np.asarray(train.batch_indices(seeds, epoch, 23, 5))
        for epoch in range(2)
    ]
    orders = {
        tuple(order) for epoch in batches for order in epoch.reshape(2, -1)
    }
    assert batches[0].shape == (2, 4, 5)
    assert len(orders) == 4
    for order in orders:
        assert len(set(order)) == 20
        assert set(order) <= set(range(23))


def test_convolution_is_the_usual_one():
    keys = jax.random.split(jax.random.key(0))
    images = jax.random.normal(keys[0], (2, 7, 5, 3))
    kernel = jax.random.normal(keys[1], (3, 5, 3, 4))
    expected = jax.lax.conv_general_dilated(
        images,
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    actual = models.convolve_by_matmul(images, kernel, (1, 1), "SAME")
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="stride 1"):
        models.convolve_by_matmul(images, kernel, (2, 2), "SAME")


@pytest.mark.parametrize("learning_rate", [0.1, 0.5])
def test_an_optimizer_is_made_for_the_learning_rate(learning_rate):
    def after_one_step(make_optimizer, rate):
        curves = train.train(
            ZeroLinear(),
            make_optimizer,
            small_split(),
            learning_rate=rate,
            seeds=[0],
            epochs=1,
            batch_size=24,
        )
        return np.asarray(curves.train_loss)

    fixed = after_one_step(lambda rate: optax.sgd(learning_rate), 99.0)
    actual = after_one_step(optax.sgd, learning_rate)
    np.testing.assert_allclose(actual, fixed, rtol=1e-6)


def test_every_epoch_is_told():
    told = []
    train.train(
        ZeroLinear(),
        optax.sgd,
        small_split(),
        learning_rate=0.1,
        seeds=[0, 1],
        epochs=3,
        batch_size=24,
        on_epoch=lambda: told.append(1),
    )
    assert len(told) == 3


class Remembering(nn.Module):
    """Softmax regression that counts its training steps and drops out."""

    @nn.compact
    def __call__(self, images, train=False):
        steps = self.variable("batch_stats", "steps", lambda: jnp.zeros([]))
        if train and not self.is_initializing():
            steps.value += 1
        features = images.reshape(images.shape[0], -1)
        features = nn.Dropout(0.5, deterministic=not train)(features)
        return nn.Dense(3, kernel_init=nn.initializers.zeros)(features) * (
            1 + steps.value
        )


def test_statistics_are_carried_and_dropout_has_its_keys():
    def losses(model):
        curves = train.train(
            model,
            optax.sgd,
            small_split(),
            learning_rate=0.1,
            seeds=[0, 1],
            epochs=2,
            batch_size=12,
        )
        return np.asarray(curves.train_loss)

    remembering = losses(Remembering())
    np.testing.assert_array_equal(losses(Remembering()), remembering)
    np.testing.assert_allclose(remembering[:, 0], math.log(3), rtol=1e-6)
    assert len(np.unique(remembering[:, 1:])) == 4


@pytest.mark.parametrize("count", [2, 4, 5])
def test_parts_of_the_evaluation_add_up(count, monkeypatch):
    def losses():
        curves = train.train(
            Linear(),
            optax.sgd,
            small_split(),
            learning_rate=0.1,
            seeds=[0],
            epochs=0,
            batch_size=12,
        )
        return [np.asarray(curve) for curve in curves]

    whole = losses()
    monkeypatch.setattr(train, "EVALUATED_AT_ONCE", count)
    jax.clear_caches()
    for part, expected in zip(losses(), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-6)
    jax.clear_caches()


def test_outcomes_are_the_curves_seed_by_seed():
    loss = jnp.asarray([[2.0, 1.0], [2.0, math.nan]])
    first, second = train.outcomes(train.Curves(loss, 2 * loss, 0 * loss))
    assert first.curves["test_loss"] == [4.0, 2.0]
    assert first.final == {
        "train_loss": 1.0,
        "test_loss": 2.0,
        "test_accuracy": 0.0,
    }
    assert math.isnan(second.final["train_loss"])
