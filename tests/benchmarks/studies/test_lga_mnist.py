"""The study of LGA on MNIST."""

import jax.numpy as jnp
import pytest

from benchmarks import data
from benchmarks.contenders import lga
from benchmarks.models import TorchLeNet5
from benchmarks.runs import results, runner
from benchmarks.studies import lga_mnist
from benchmarks.study import Job
from benchmarks.training import operations
from tests.helpers.data_files import FOLDERS
from tests.helpers.trainable_files import TRAINABLE


@pytest.mark.parametrize("count", [64, 127, 640])
def test_status_moves_once_an_epoch(count):
    images = jnp.zeros((count, 1, 1, 1))
    examples = data.Examples(images, jnp.zeros(count, jnp.int32))
    settings = dict(lga_mnist.STUDY.presets["small"].settings)
    assert settings["gamma"] == 1e-8
    split = data.Split(examples, examples)
    arguments = lga.METHODS["lga+sgd"].arguments
    job = Job("lga+sgd", settings, [0], split, lambda: None, arguments)
    assert lga_mnist.make(job) is lga.maker(
        "lga+sgd", 1e-8, count // 64, **arguments
    )


def test_papers_table_is_whole():
    paper = lga_mnist.STUDY.paper
    assert len(paper.rows) == 7
    for row in paper.rows:
        assert len(row) == len(paper.header)
        numbers = [float(entry.strip("*")) for entry in row[1:]]
        assert all(10 < number < 100 for number in numbers)


def test_a_device_has_ten_minutes():
    preset = lga_mnist.STUDY.presets["device"]
    images, rates = 60_000, len(lga_mnist.LEARNING_RATES)
    epochs = preset.settings["epochs"]
    seconds = operations.seconds(
        TorchLeNet5(),
        (28, 28, 1),
        preset,
        rates,
        images,
        (epochs + 1) * (images + 10_000),
    )
    assert 0 < seconds < operations.SECONDS
    # All seeds take the same steps.
    assert not preset.settings["seeds_at_once"]
    steps = epochs * (images // preset.settings["batch_size"])
    groups = rates * len(preset.methods)
    assert groups * steps * lga_mnist.STEP < operations.SECONDS


def test_the_device_s_grid_runs_at_toy_size(tmp_path):
    TRAINABLE["mnist"](tmp_path / "data" / FOLDERS["mnist"][0])
    preset = lga_mnist.STUDY.presets["device"]
    plan = runner.plan(
        lga_mnist.STUDY,
        "lga-mnist",
        "device",
        out=tmp_path,
        seeds=2,
        methods=["lga+sgd"],
        variants=["lr 0.0001"],
        data_dir=tmp_path / "data",
        overrides={"epochs": 1, "limit_train": 64, "limit_test": 20},
    )
    assert {*plan.methods} <= {*lga_mnist.STUDY.to_run(preset)}
    folder = runner.run(plan).folder
    found = results.collect(lga_mnist.STUDY, folder)
    assert found.preset == "device"
    assert len(found.cells) == 2
    assert not any(cell.diverged for cell in found.cells)
