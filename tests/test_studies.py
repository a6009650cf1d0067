"""Every study at smoke, on made-up files where its data are not at hand."""

import itertools
import math

from data_files import (
    BOSTON_HEADER,
    cifar_records,
    idx,
    random_images,
    write,
)
import numpy as np
import pytest

from benchmarks import report, runner, study


def labels_of(count, classes):
    return np.arange(count) % classes


def write_mnist(folder):
    for part, count in ("train", 200), ("t10k", 100):
        images = random_images(count, 28, 28)
        labels = labels_of(count, 10).astype(np.uint8)
        write(folder / f"{part}-images-idx3-ubyte", idx(images))
        write(folder / f"{part}-labels-idx1-ubyte", idx(labels))


def write_cifar10(folder):
    for name, count in ("data_batch_1", 80), ("test_batch", 50):
        images = random_images(count, 32, 32, 3)
        records = cifar_records(images, labels_of(count, 10))
        write(folder / f"{name}.bin", records)


def write_cifar100(folder):
    for name, count in ("train", 100), ("test", 100):
        images = random_images(count, 32, 32, 3)
        fine = labels_of(count, 100)
        write(folder / f"{name}.bin", cifar_records(images, fine // 5, fine))


def write_wikitext2(folder):
    words = np.random.default_rng(0).choice([*"abcdefgh", "<unk>"], 1100)
    text = " \n " + " ".join(words) + " \n"
    for part in "train", "valid", "test":
        write(folder / f"wiki.{part}.tokens", text.encode())


def write_tables(folder):
    def lines(columns):
        numbers = np.random.default_rng(0).uniform(1, 9, (120, columns))
        return [",".join(f"{x:f}" for x in row) for row in numbers]

    for path, rows in (
        ("boston/BostonHousing.csv", [BOSTON_HEADER, *lines(14)]),
        ("CaliforniaHousing/cal_housing.data", lines(9)),
    ):
        write(folder / path, ("\n".join(rows) + "\n").encode())


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder / "mnist")
    write_cifar10(folder / "cifar-10-batches-bin")
    write_cifar100(folder / "cifar-100-binary")
    write_wikitext2(folder / "wikitext-2")
    write_tables(folder)
    return folder


@pytest.mark.parametrize("name", study.names())
def test_smoke(name, data_dir, tmp_path):
    found, totals, steps = study.find(name), [], []
    plan = runner.plan(found, name, "smoke", out=tmp_path, data_dir=data_dir)
    folder = runner.run(
        plan, totals.append, lambda label, count: steps.append(count)
    ).folder
    assert totals == [sum(steps)]  # Of the progress bar.
    result = report.collect(folder)
    preset = found.presets["smoke"]
    expected = {
        (variant, method, seed)
        for variant in preset.variants or found.variants
        for method in study.methods_to_run(found, preset)
        for seed in range(preset.seeds)
    }
    cells = result["cells"]
    assert {(c["variant"], c["method"], c["seed"]) for c in cells} == expected
    for cell in cells:
        assert not cell["diverged"]
        for metric in found.metrics:
            assert math.isfinite(cell["final"][metric.key])
    # What is drawn: at least a line, and of each seed as long a one.
    for variant, method, curve in itertools.product(
        {c["variant"] for c in cells},
        {c["method"] for c in cells},
        found.curves,
    ):
        drawn = [
            cell["curves"][curve.key]
            for cell in cells
            if (cell["variant"], cell["method"]) == (variant, method)
        ]
        (length,) = {len(values) for values in drawn}
        assert length >= 2
        assert np.isfinite(drawn).all()
    written = report.write(result, tmp_path / name, "smoke")
    assert {path.suffix for path in written} == {".json", ".md", ".png"}
