"""Training on any task, and the numbers that are told of it."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.data import Examples, Validated
from benchmarks.models import MLP, DenseAutoencoder
from benchmarks.training import tasks

GENERATOR = np.random.default_rng(0)


def softmax_losses(logits, labels):
    shifted = logits - logits.max(-1, keepdims=True)
    sums = np.log(np.exp(shifted).sum(-1))
    return sums - np.take_along_axis(shifted, labels[:, None], 1)[:, 0]


def numbers_of(task, outputs, targets):
    found = tasks.TASKS[task].numbers(outputs, jnp.asarray(targets))
    return {name: np.asarray(each) for name, each in found.items()}


def test_numbers_of_classes_and_rotations():
    classes, turns = (
        GENERATOR.normal(size=(7, 5)),
        GENERATOR.normal(size=(7, 4)),
    )
    labels = np.stack([np.arange(7) % 5, np.arange(7) % 4], axis=1)
    found = numbers_of("class and rotation", (classes, turns), labels)
    of_class = softmax_losses(classes, labels[:, 0])
    of_turn = softmax_losses(turns, labels[:, 1])
    np.testing.assert_allclose(found["loss_cls"], of_class, rtol=1e-5)
    np.testing.assert_allclose(found["loss_rot"], of_turn, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], of_class + of_turn, rtol=1e-5)
    hits = turns.argmax(-1) == labels[:, 1]
    np.testing.assert_array_equal(found["accuracy_rot"], hits)
    losses = tasks.TASKS["class and rotation"].losses((classes, turns), labels)
    np.testing.assert_allclose(losses, of_class + of_turn, rtol=1e-5)


def test_numbers_of_masks_and_pixels():
    logits = np.array([[[3.0, -2.0], [0.5, -1.0]], [[-1.0, -1.0], [-1, -9]]])
    targets = np.array([[[1.0, 1.0], [0.0, 0.0]], np.zeros((2, 2))])
    found = numbers_of("mask", logits, targets)
    shares = 1 / (1 + np.exp(-logits))
    losses = -np.log(np.where(targets > 0, shares, 1 - shares))
    np.testing.assert_allclose(
        found["loss"], losses.mean(axis=(1, 2)), rtol=1e-5
    )
    # One of three that are marked in either; nothing in both is a match.
    np.testing.assert_allclose(found["overlap"], [1 / 3, 1.0], rtol=1e-6)
    grey = numbers_of(
        "pixels", np.zeros((1, 3, 3, 1)), np.full((1, 3, 3, 1), 0.3)
    )
    np.testing.assert_allclose(grey["loss"], np.log(2), rtol=1e-6)


def examples_of(count, seed):
    images = np.random.default_rng(seed).normal(size=(count, 4, 4, 1))
    labels = (images.mean(axis=(1, 2, 3)) > 0).astype(np.int32)
    return Examples(jnp.asarray(images, jnp.float32), jnp.asarray(labels))


@pytest.mark.parametrize("count", [1, 249, 250, 251, 600])
def test_means_are_over_all_examples(count):
    model, examples = MLP(sizes=(), num_classes=2), examples_of(count, 3)
    kernel = np.random.default_rng(1).normal(size=(16, 2)).astype(np.float32)
    dense = {"kernel": kernel, "bias": np.zeros(2, np.float32)}
    variables = {"params": {"Dense_0": dense}}
    found = tasks.means(model, "classes", variables, examples)
    logits = np.asarray(examples.images).reshape(count, -1) @ kernel
    labels = np.asarray(examples.labels)
    np.testing.assert_allclose(
        found["loss"], softmax_losses(logits, labels).mean(), rtol=1e-4
    )
    hits = (logits.argmax(-1) == labels).mean()
    np.testing.assert_allclose(found["accuracy"], hits, rtol=1e-5)


def trained(seeds, rate=0.3, epochs=3):
    data = Validated(*(examples_of(n, s) for s, n in enumerate((96, 40, 50))))
    return tasks.train(
        MLP(sizes=(8,), num_classes=2),
        optax.sgd,
        data,
        "classes",
        learning_rate=rate,
        seeds=seeds,
        epochs=epochs,
        batch_size=8,
    )


def test_training_learns_and_a_seed_fixes_its_run():
    first, second = trained([3, 4])
    for part in tasks.PARTS:
        curve = first.curves[f"{part}_loss"]
        assert len(curve) == 4
        assert curve[-1] < curve[0]
        assert first.final[f"{part}_loss"] == curve[-1]
    assert first.curves["train_loss"] != second.curves["train_loss"]
    other = trained([3, 4], rate=0.1)[0]
    for name, curve in first.curves.items():
        assert other.curves[name][0] == curve[0]  # Before training.
    assert other.curves["train_loss"][1] != first.curves["train_loss"][1]


def test_an_autoencoder_is_its_own_target():
    images = examples_of(32, 0).images / 4
    data = Validated(*[Examples(images, images)] * 3)
    (outcome,) = tasks.train(
        DenseAutoencoder(sizes=(12,), code=4),
        optax.adam,
        data,
        "squared error",
        learning_rate=1e-2,
        seeds=[0],
        epochs=20,
        batch_size=8,
    )
    spread = float(jnp.mean(images**2))
    curve = outcome.curves["train_loss"]
    assert curve[-1] < 0.9 * spread < curve[0] * 1.2


def test_numbers_of_boxes():
    # Half over, apart, the same.
    outputs = np.array(
        [[0.5, 0.5, 0.4, 0.2], [0.1, 0.1, 0.2, 0.2], [0.3, 0.6, 0.2, 0.4]]
    )
    targets = np.array(
        [[0.7, 0.5, 0.4, 0.2], [0.5, 0.1, 0.2, 0.2], [0.3, 0.6, 0.2, 0.4]]
    )
    found = numbers_of("boxes", outputs, targets)
    np.testing.assert_allclose(found["overlap"], [1 / 3, 0, 1], atol=1e-6)
    # Of the smallest box around both a third is in neither of the second.
    generalized = np.array([1 / 3, -1 / 3, 1])
    distance = np.abs(outputs - targets).sum(-1)
    expected = 5 * distance + 2 * (1 - generalized)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["found_50"], [0, 0, 1])
    np.testing.assert_array_equal(found["found_75"], [0, 0, 1])
    losses = tasks.TASKS["boxes"].losses(outputs, targets)
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)
