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


TWINS = ("agr-cifar100-resnet18", "agr-cifar100-vgg11")


@pytest.mark.parametrize("name", TWINS)
def test_cifar_100_has_more_classes_and_nothing_else(name):
    # So that one of each pair is enough to be run.
    twin = studies.find(name)._asdict()
    other = studies.find(name.replace("100", "10"))._asdict()
    told = ("title", "question", "data_sets", "data", "model")
    for field in told:
        assert str(twin[field]).replace("100", "10") == str(other[field])
    assert twin["load"].func is other["load"].func
    assert twin["load"].args == tuple(twin["data_sets"])
    for field in twin.keys() - {*told, "load", "run", "paper"}:
        assert twin[field] == other[field]


@pytest.mark.parametrize("name", sorted(set(studies.names()) - set(TWINS)))
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
