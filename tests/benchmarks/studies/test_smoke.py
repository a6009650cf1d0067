"""Every study at smoke, on made-up files where its data are not at hand."""

import itertools
import math

import numpy as np
import pytest

from benchmarks import data, studies
from benchmarks.reporting import report
from benchmarks.runs import results, runner
from tests.helpers.data_files import FOLDERS
from tests.helpers.trainable_files import TRAINABLE


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, write_set in TRAINABLE.items():
        write_set(folder / FOLDERS[name][0])
    return folder


def test_every_set_is_at_hand(data_dir):
    assert all(data.available(name, data_dir) for name in data.SETS)


# Beside a study that is run: these differ from it in the model alone, which
# tests/benchmarks/models has.
CIFAR, MNIST = "agr-cifar10-vgg11", "agr-mnist-mlp"
TWINS = {
    "agr-cifar10-resnet18": (CIFAR, "ResNet18(num_classes=10)"),
    "agr-cifar100-resnet18": (CIFAR, "ResNet18(num_classes=100)"),
    "agr-cifar100-resnet50": (CIFAR, "ResNet50(num_classes=100)"),
    "agr-cifar100-vgg11": (CIFAR, "VGG11(num_classes=100)"),
    "agr-mnist-cnn": (MNIST, "ConvNet(num_classes=10)"),
    "agr-mnist-lenet": (MNIST, "LeNet5(num_classes=10)"),
}
# What they are called, where the study that is run has another name.
CALLED = {
    "ResNet-18": "VGG11",
    "ResNet-50": "VGG11",
    "a convolutional network": "a multilayer perceptron",
    "LeNet-5": "a multilayer perceptron",
}


# At toy size, by tests/benchmarks/studies/test_device.
ELSEWHERE = ("agr-ddpm",)


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_a_study_of_another_model_and_nothing_else(name):
    run, model = TWINS[name]
    twin, other = (studies.find(n)._asdict() for n in (name, run))
    of_all = ("smoke", "small", "paper")  # One has a fourth preset.
    for each in twin, other:
        each["presets"] = {n: each["presets"][n] for n in of_all}
    assert str(twin["model"]) == model
    told = ("title", "question", "data_sets", "data")
    for field in told:
        ours, theirs = (str(study[field]) for study in (twin, other))
        ours = ours.replace("100", "10")
        for of_twin, of_other in CALLED.items():
            ours = ours.replace(of_twin, of_other)
        assert ours == theirs
    assert twin["load"].func is other["load"].func
    assert twin["load"].args == tuple(twin["data_sets"])
    others = "model", "load", "run", "paper", "tables"
    for field in twin.keys() - {*told, *others}:
        assert twin[field] == other[field]


@pytest.mark.parametrize(
    "name", sorted(set(studies.names()) - {*TWINS, *ELSEWHERE})
)
def test_smoke(name, data_dir, tmp_path):
    found, totals, steps = studies.find(name), [], []
    plan = runner.plan(found, name, "smoke", out=tmp_path, data_dir=data_dir)
    folder = runner.run(
        plan, totals.append, lambda label, count: steps.append(count)
    ).folder
    assert totals == [sum(steps)]  # Of the progress bar.
    result = results.collect(found, folder)
    preset = found.presets["smoke"]
    expected = {
        (variant, method, seed)
        for variant in preset.variants or found.variants
        for method in found.to_run(preset)
        for seed in range(preset.seeds)
    }
    cells = result.cells
    assert {cell.key for cell in cells} == expected
    for cell in cells:
        assert not cell.diverged
        for metric in found.metrics:
            assert math.isfinite(cell.final[metric.key])
    # What is drawn: at least a line, and of each seed as long a one.
    for variant, method, curve in itertools.product(
        {cell.variant for cell in cells},
        {cell.method for cell in cells},
        found.curves,
    ):
        drawn = [
            cell.curves[curve.key]
            for cell in cells
            if (cell.variant, cell.method) == (variant, method)
        ]
        (length,) = {len(values) for values in drawn}
        assert length >= 2
        assert np.isfinite(drawn).all()
    written = report.write(found, result, tmp_path / name, "smoke")
    assert {path.suffix for path in written} == {".json", ".md", ".png"}
