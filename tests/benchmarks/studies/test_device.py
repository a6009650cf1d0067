"""Presets for a device, at toy size."""

import pytest

from benchmarks.models import SmallResNet
from benchmarks.runs import results, runner
from benchmarks.studies import agr_cifar10_resnet18, agr_ddpm
from benchmarks.studies._agr_images import cifar_study
from tests.helpers.data_files import FOLDERS
from tests.helpers.trainable_files import TRAINABLE


def resnet():
    return cifar_study(
        "a toy",
        lambda num_classes: SmallResNet(num_classes, channels=(2, 4)),
        10,
        device=agr_cifar10_resnet18.STUDY.presets["device"],
    )


TOYS = {
    "agr-cifar10-resnet18": (resnet, {"limit_train": 20, "limit_test": 10}),
    "agr-ddpm": (
        lambda: agr_ddpm.STUDY,
        {
            "model": "tiny",
            "side": 8,
            "limits": {"cifar10": [20, 10]},
            "samples": 10,
            "sampling_steps": 2,
            "judge_epochs": 1,
        },
    ),
}


@pytest.mark.parametrize("name", TOYS)
def test_a_device_runs_all_that_its_preset_names(name, tmp_path):
    make, toy = TOYS[name]
    found = make()
    data_dir = tmp_path / "data"
    for each in found.data_sets:
        TRAINABLE[each](data_dir / FOLDERS[each][0])
    toy |= {"batch_size": 8, "epochs": 1}
    assert set(toy) <= set(found.presets["device"].settings)
    variants = list(found.variants)[:1]
    plan = runner.plan(
        found,
        name,
        "device",
        out=tmp_path,
        data_dir=data_dir,
        variants=variants,
        overrides=toy,
    )
    result = results.collect(found, runner.run(plan).folder)
    preset = found.presets["device"]
    assert {cell.key for cell in result.cells} == {
        (variant, method, seed)
        for variant in variants
        for method in preset.methods
        for seed in range(preset.seeds)
    }
    assert not any(cell.diverged for cell in result.cells)
