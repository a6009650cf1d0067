"""The data sets, read from small files in their official layouts."""

import os
import pathlib

import numpy as np
import pytest

from benchmarks import data
from benchmarks.data import splits
from tests.helpers.data_files import (
    CALIFORNIA,
    FOLDERS,
    IMAGES,
    cifar_records,
    random_images,
    write,
    write_boston,
    write_california,
    write_dsb2018,
    write_mnist,
    write_wikitext2,
)

REAL_DATA = os.environ.get("OPTAXMODS_TEST_DATA")


def standardized(images, num_train):
    values = images.astype(np.float64)
    mean = values[:num_train].mean(axis=(0, 1, 2), keepdims=True)
    deviation = values[:num_train].std(axis=(0, 1, 2), keepdims=True)
    return (values - mean) / deviation


def assert_split(split, images, labels, num_train):
    expected = standardized(images, num_train)
    parts = [
        (split.train, slice(num_train)),
        (split.test, slice(num_train, None)),
    ]
    for examples, rows in parts:
        assert examples.images.dtype == np.float32
        assert examples.labels.dtype == np.int32
        np.testing.assert_allclose(
            examples.images, expected[rows], rtol=1e-5, atol=1e-6
        )
        np.testing.assert_array_equal(examples.labels, labels[rows])


@pytest.mark.parametrize("beneath", [True, False])
@pytest.mark.parametrize("name", IMAGES)
def test_images_are_read_exactly(name, beneath, tmp_path):
    folder, write_set = IMAGES[name]
    expected = write_set(tmp_path / folder if beneath else tmp_path)
    assert_split(data.SETS[name].load(tmp_path), *expected)


def test_mnist_may_be_unpacked(tmp_path):
    expected = write_mnist(tmp_path / "mnist", pack=False)
    assert_split(data.mnist(tmp_path), *expected)


def test_a_constant_channel_becomes_zero():
    black = np.zeros((2, 4, 4, 1), np.uint8)
    train, test = splits.standardized_images(black, black + np.uint8(3))
    np.testing.assert_array_equal(train, np.zeros(black.shape))
    np.testing.assert_array_equal(test, np.full(black.shape, 3.0))


def test_wikitext2_is_numbered_by_frequency(tmp_path):
    write_wikitext2(tmp_path)
    text = data.wikitext2(tmp_path)
    # Three lines; twice a and b, which stand in the order of the alphabet.
    assert text.vocabulary == ("<eos>", "a", "b", "<unk>", "é")
    assert text.train.dtype == np.int32
    assert text.train.tolist() == [0, 2, 1, 2, 0, 1, 4, 3, 0]
    assert text.valid.tolist() == [1, 3, 0]
    assert text.test.tolist() == [2, 0, 0]


def assert_rows(split, inputs, targets, held_out):
    """Checks a split whose targets are all different."""
    train, test = (np.asarray(part.targets) for part in split)
    assert test.shape == (held_out,)
    together = np.concatenate([train, test])
    np.testing.assert_allclose(np.sort(together), np.sort(targets), rtol=1e-6)
    distances = np.abs(together[:, np.newaxis] - targets[np.newaxis])
    order = distances.argmin(axis=1)
    values = inputs[order]
    mean = values[: len(train)].mean(axis=0)
    deviation = values[: len(train)].std(axis=0)
    deviation[deviation == 0] = 1
    actual = np.concatenate([part.inputs for part in split])
    assert actual.dtype == np.float32
    np.testing.assert_allclose(
        actual, (values - mean) / deviation, rtol=1e-4, atol=1e-5
    )


def test_california_has_the_features_of_scikit_learn(tmp_path):
    write_california(tmp_path / "CaliforniaHousing")
    # What fetch_california_housing shows of these rows, to four digits and
    # more: income, age, rooms, bedrooms, population, occupants, place.
    rows = CALIFORNIA
    inputs = np.stack(
        [
            *(rows[:, 7], rows[:, 2], [6.984127, 6.238137, 8.288136]),
            *([1.023810, 0.971880, 1.073446], rows[:, 5]),
            *([2.555556, 2.109842, 2.802260], rows[:, 1], rows[:, 0]),
        ],
        axis=1,
    )
    targets = np.array([4.526, 3.585, 3.521])
    assert_rows(data.california(tmp_path), inputs, targets, held_out=1)


def test_boston_targets_are_medv(tmp_path):
    write_boston(tmp_path / "boston")
    inputs = 10.0 * np.arange(6)[:, np.newaxis] + np.arange(13)
    inputs[:, 3] = 0
    targets = 10.0 * np.arange(6) + 13
    assert_rows(data.boston(tmp_path), inputs, targets, held_out=2)


def test_diabetes_is_split_four_to_one():
    split = data.diabetes()
    assert split.train.inputs.shape == (353, 10)
    assert split.test.inputs.shape == (89, 10)
    np.testing.assert_allclose(split.train.inputs.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(split.train.inputs.std(axis=0), 1, atol=1e-5)
    # The mean of all 442 that scikit-learn's description of the table implies.
    total = split.train.targets.sum() + split.test.targets.sum()
    assert float(total) / 442 == pytest.approx(152.1335, abs=1e-3)


def test_dsb2018_keeps_images_and_maps_together(tmp_path):
    images = write_dsb2018(tmp_path / "dsb2018")
    split = data.dsb2018(tmp_path)
    assert split.train.images.shape == (4, 6, 7, 1)
    assert split.test.images.shape == (1, 6, 7, 1)
    assert split.train.label_maps.dtype == np.int32
    maps = np.concatenate([part.label_maps for part in split])
    order = [
        next(i for i in range(5) if np.array_equal(images[i] // 64, one))
        for one in maps
    ]
    assert sorted(order) == list(range(5))
    expected = standardized(images[order][..., np.newaxis], 4)
    np.testing.assert_allclose(
        np.concatenate([part.images for part in split]), expected, rtol=1e-5
    )


@pytest.mark.parametrize("limit", [1, 7, 10, 55, 1000, 2000])
def test_samples_keep_the_classes_shares(limit):
    rng = np.random.default_rng(1)
    labels = rng.choice(4, p=[0.5, 0.3, 0.15, 0.05], size=1000)
    chosen = splits.stratified(labels, limit)
    taken = min(limit, 1000)
    assert len(set(chosen.tolist())) == taken
    counts = np.bincount(labels[chosen], minlength=4)
    shares = np.bincount(labels) * taken / 1000
    assert np.abs(counts - shares).max() <= 1
    assert set(chosen) <= set(splits.stratified(labels, limit + 13))


def test_limits_take_samples(tmp_path):
    labels = np.tile(np.arange(10), 4)
    images = random_images(40, 32, 32, 3)
    for name in "data_batch_1", "test_batch":
        write(tmp_path / f"{name}.bin", cifar_records(images, labels))
    split = data.cifar10(tmp_path, limit_train=20, limit_test=10)
    assert np.bincount(split.train.labels).tolist() == [2] * 10
    assert np.bincount(split.test.labels).tolist() == [1] * 10
    chosen = splits.stratified(labels, 20)
    # Scaled by what is trained on, not by what was left out.
    expected = standardized(images[chosen], 20)
    np.testing.assert_allclose(
        split.train.images, expected, rtol=1e-5, atol=1e-6
    )
    assert data.digits(limit_train=50).train.images.shape == (50, 8, 8, 1)
    with pytest.raises(ValueError, match="1 or more, not 0"):
        data.cifar10(tmp_path, limit_train=0)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_missing_file_is_named(name, tmp_path):
    folder, write_set = FOLDERS[name]
    assert not data.available(name, tmp_path)
    with pytest.raises(data.DataError, match=f"{name}: .* has no .*--data-dir"):
        data.SETS[name].load(tmp_path)
    write_set(tmp_path / folder)
    assert data.available(name, tmp_path)
    assert not data.available(name)


def test_what_is_missing_is_named(tmp_path):
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert not data.available("mnist", tmp_path)
    with pytest.raises(data.DataError) as caught:
        data.mnist(tmp_path)
    assert f"{tmp_path / 'mnist'} has no t10k-labels-idx1-ubyte.gz;" in str(
        caught.value
    )
    with pytest.raises(data.DataError, match="no such folder"):
        data.mnist(tmp_path / "elsewhere")


def test_the_cache_is_used(cache):
    write_dsb2018(cache / "dsb2018")
    assert data.available("dsb2018")
    assert data.dsb2018().train.images.shape == (4, 6, 7, 1)
    path = cache / "dsb2018" / "dsb2018_gray256.npz"
    path.write_bytes(b"spoilt")
    with pytest.raises(data.DataError, match=f"delete {path.parent} to have"):
        data.dsb2018()


def test_a_set_without_address_asks_for_the_folder(cache):
    with pytest.raises(data.DataError, match="no public address"):
        data.dsb2018()
    assert not cache.exists()


def test_the_list_is_complete():
    assert set(data.SETS) == {*FOLDERS, "digits", "diabetes"}
    for name, entry in data.SETS.items():
        assert entry.load is getattr(data, name)
        assert entry.description
        assert entry.licence
    assert data.available("digits")
    assert data.available("diabetes", pathlib.Path("anywhere"))
    with pytest.raises(ValueError, match="no set 'digit'; digits, mnist"):
        data.available("digit")


def test_digits_are_split_by_class():
    split = data.digits()
    train_counts = np.bincount(split.train.labels)
    test_counts = np.bincount(split.test.labels)
    assert train_counts.sum() == 1437
    assert test_counts.sum() == 360
    shares = (train_counts + test_counts) * 360 / 1797
    assert np.abs(test_counts - shares).max() < 1
    assert split.train.images.shape == (1437, 8, 8, 1)
    assert float(split.train.images.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(split.train.images.std()) == pytest.approx(1.0, abs=1e-5)
    together = np.concatenate([split.train.images, split.test.images])
    # All images of the set are different, so none is in both parts.
    assert len(np.unique(together.reshape(1797, -1), axis=0)) == 1797


COUNTS = {
    # The classes' counts, as published.
    "mnist": (
        (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    ),
    "cifar10": ((5000,) * 10, (1000,) * 10),
    "cifar100": ((500,) * 100, (100,) * 100),
    "tinyimagenet": ((500,) * 200, (50,) * 200),
}
SIZES = {
    "california": (16512, 4128),
    "boston": (404, 102),
    "dsb2018": (267, 67),
}


def real(name):
    """Returns a whole set from the folder in OPTAXMODS_TEST_DATA."""
    if not REAL_DATA:
        pytest.skip("OPTAXMODS_TEST_DATA does not name a folder of data sets")
    folder = pathlib.Path(REAL_DATA)
    if not data.available(name, folder):
        pytest.skip(f"{folder} does not hold {name}")
    return data.SETS[name].load(folder)


@pytest.mark.parametrize("name", COUNTS)
def test_real_images(name):
    for part, counts in zip(real(name), COUNTS[name], strict=True):
        assert tuple(np.bincount(part.labels).tolist()) == counts
        assert len(part.images) == sum(counts)
        assert abs(float(part.images.mean())) < 0.05
        assert float(part.images.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", SIZES)
def test_real_tables_and_nuclei(name):
    split = real(name)
    for part, size in zip(split, SIZES[name], strict=True):
        assert {len(array) for array in part} == {size}
        assert all(np.isfinite(array).all() for array in part)
    if name == "california":
        targets = np.concatenate([part.targets for part in split])
        assert targets.mean() == pytest.approx(2.06855817, abs=1e-5)
    if name == "boston":
        targets = np.concatenate([part.targets for part in split])
        assert targets.mean() == pytest.approx(22.532806, abs=1e-5)


def test_real_wikitext2():
    text = real("wikitext2")
    assert len(text.train) == 2_088_628
    assert len(text.valid) == 217_646
    assert len(text.test) == 245_569
    assert len(text.vocabulary) == 33_278
