"""Counted operations, and the presets that are sized by them."""

import pytest

from benchmarks import models
from benchmarks.studies import agr_cifar10_resnet18, agr_ddpm
from benchmarks.training import operations

CIFAR = (32, 32, 3)
# Of 50,000 images a tenth is for validation; measured are the first 2,000 to
# train on, all to validate and all to test on, after each epoch and before.
TRAIN, MEASURED = 45_000, 2000 + 5000 + 10_000


def test_a_layer_takes_two_operations_a_weight_each_way():
    model = models.MLP(sizes=(64, 32))
    weights = 784 * 64 + 64 * 32 + 32 * 10
    # There is no gradient of the inputs.
    expected = 6 * weights - 2 * 784 * 64
    found = operations.of_example(model, (28, 28, 1))
    assert found == pytest.approx(expected, rel=0.05)


def test_resnet_18_takes_as_many_as_is_known():
    # 0.556 billion multiplications and additions forward, and twice back.
    found = operations.of_example(models.ResNet18(), CIFAR)
    assert found == pytest.approx(6 * 0.556e9, rel=0.02)


def test_presets_for_a_device_are_as_long_as_it_is_lent():
    classifier = agr_cifar10_resnet18.STUDY
    images = agr_ddpm.STUDY
    for found, model in (
        (classifier, models.ResNet18()),
        (images, agr_ddpm.MODELS["middle"]),
    ):
        preset = found.presets["device"]
        settings = preset.settings
        forward = (settings["epochs"] + 1) * MEASURED
        samples = settings.get("samples", 0)
        forward += samples * settings.get("sampling_steps", 0)
        seconds = operations.seconds(
            model, CIFAR, preset, len(found.variants), TRAIN, forward
        )
        assert 0.7 < seconds / operations.SECONDS < 1, found.title
