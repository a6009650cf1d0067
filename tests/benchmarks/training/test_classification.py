"""Training of the networks: their seeds, statistics and evaluation."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import data, models
from benchmarks.contenders import agr
from benchmarks.training import classification

SEEDS = (3, 1, 4, 1000, 5)


class Normalized(nn.Module):
    """Batch normalization and a dense layer."""

    @nn.compact
    def __call__(self, images, train=False):
        features = images.reshape(images.shape[0], -1)
        features = nn.BatchNorm(use_running_average=not train, momentum=0.5)(
            features
        )
        return nn.Dense(3)(features)


@functools.cache
def small_split():
    rng = np.random.default_rng(0)

    def examples(count):
        images = 2 + rng.normal(size=(count, 4, 4, 3))
        labels = rng.integers(0, 3, size=count)
        return data.Examples(
            jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32)
        )

    return data.Split(train=examples(24), test=examples(11))


def trained(model, seeds, **settings):
    return classification.train(
        model,
        agr.maker("agr+adamw", 0.1, strength=1.0),
        small_split(),
        seeds=seeds,
        **{
            "learning_rate": 0.01,
            "epochs": 2,
            "batch_size": 6,
            **settings,
        },
    )


@pytest.mark.parametrize(
    "model",
    [
        models.MLP(sizes=(5,), num_classes=3),
        models.SmallResNet(num_classes=3, channels=(2,)),
    ],
    ids=["MLP", "SmallResNet"],
)
def test_seeds_alone_and_together_give_the_same(model):
    together = trained(model, SEEDS)
    for row, seed in enumerate(SEEDS[:2]):
        alone = trained(model, [seed])
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[row], theirs[0], rtol=1e-3)
    assert len(np.unique(together.train_loss)) == together.train_loss.size


def test_all_at_once_is_one_after_another():
    after_another = trained(Normalized(), [0, 1], vmapped=False)
    at_once = trained(Normalized(), [0, 1], vmapped=True)
    for ours, theirs in zip(at_once, after_another, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_batch_statistics_are_learned_and_used():
    split, batch_size = small_split(), 24
    # Nothing but the statistics changes at a rate of zero.
    curves = trained(
        Normalized(), [0], learning_rate=0.0, batch_size=batch_size
    )
    images = np.asarray(split.train.images).reshape(24, -1)
    variables = Normalized().init(
        jax.random.split(jax.random.key(0))[0], split.train.images[:1]
    )
    mean, variance = np.zeros(48), np.ones(48)
    for epoch in range(3):
        statistics = {"BatchNorm_0": {"mean": mean, "var": variance}}
        logits = Normalized().apply(
            {"params": variables["params"], "batch_stats": statistics},
            split.test.images,
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits, split.test.labels
        )
        np.testing.assert_allclose(
            curves.test_loss[0, epoch], losses.mean(), rtol=1e-5
        )
        mean = 0.5 * mean + 0.5 * images.mean(axis=0)
        variance = 0.5 * variance + 0.5 * images.var(axis=0)
    assert len(np.unique(curves.test_loss)) == 3


@pytest.mark.parametrize("at_once", [1, 4, 11, 12])
def test_evaluation_in_parts_is_that_of_the_whole(at_once, monkeypatch):
    model, examples = Normalized(), small_split().test
    variables = model.init(jax.random.key(0), examples.images)
    monkeypatch.setattr(classification, "EVALUATED_AT_ONCE", at_once)
    loss, accuracy = classification.evaluate(model, variables, examples)
    logits = np.asarray(model.apply(variables, examples.images), np.float64)
    labels = np.asarray(examples.labels)
    log_sums = np.log(np.exp(logits).sum(axis=1))
    losses = log_sums - logits[np.arange(len(labels)), labels]
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        accuracy, np.mean(logits.argmax(axis=1) == labels), rtol=1e-6
    )
