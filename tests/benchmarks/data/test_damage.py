"""Damaged and hostile files: one line each, and no code is run."""

import gzip
import os
import pickle
import zipfile

import numpy as np
import pytest

from benchmarks import data
from tests.helpers.data_files import FOLDERS, idx, write, write_dsb2018


def cut(content):
    return content[:-1]


def first_label(label):
    return lambda content: bytes([label]) + content[1:]


def unzipped(change):
    return lambda content: gzip.compress(change(gzip.decompress(content)))


def replaced(content):
    return lambda _: content


DAMAGES = [
    ("mnist", "train-images-idx3-ubyte.gz", cut, "no whole .gz"),
    ("mnist", "train-images-idx3-ubyte.gz", replaced(b"hello"), "whole .gz"),
    ("mnist", "t10k-images-idx3-ubyte.gz", unzipped(cut), "2351 values, but"),
    (
        "mnist",
        "t10k-labels-idx1-ubyte.gz",
        unzipped(replaced(idx(np.arange(2, dtype=np.uint8)))),
        "2 labels, but t10k-images-idx3-ubyte.gz 3 images",
    ),
    (
        "mnist",
        "t10k-labels-idx1-ubyte.gz",
        unzipped(replaced(idx(np.array([1, 10, 2], np.uint8)))),
        "example 1 has the label 10",
    ),
    (
        "mnist",
        "t10k-images-idx3-ubyte.gz",
        unzipped(replaced(idx(np.zeros((3, 8, 8), np.uint8)))),
        "(8, 8), not (28, 28)",
    ),
    (
        "mnist",
        "train-labels-idx1-ubyte.gz",
        unzipped(lambda content: b"\1" + content[1:]),
        "no idx header",
    ),
    ("cifar10", "data_batch_3.bin", cut, "no whole records of 3073"),
    ("cifar10", "data_batch_1.bin", replaced(b""), "no whole records"),
    (
        "cifar10",
        "test_batch.bin",
        first_label(10),
        "example 0 has the label 10",
    ),
    ("cifar100", "train.bin", cut, "no whole records of 3074"),
    (
        "cifar100",
        "test.bin",
        first_label(20),
        "label 20, which is not below 20",
    ),
    ("tinyimagenet", "wnids.txt", replaced(b"n02\nn01\nn03\n"), "names n03"),
    ("tinyimagenet", "wnids.txt", replaced(b"n02\nn02\n"), "there twice"),
    ("tinyimagenet", "wnids.txt", replaced(b"n02\n"), "line 2 names no class"),
    ("tinyimagenet", "val/val_annotations.txt", replaced(b""), "no images"),
    (
        "tinyimagenet",
        "val/val_annotations.txt",
        replaced(b"../../n02_0.JPEG\tn02\t0\t0\t9\t9\n"),
        "line 1",
    ),
    (
        "tinyimagenet",
        "val/val_annotations.txt",
        replaced(b"val_7.JPEG\tn02\t0\t0\t9\t9\n"),
        "val_7.JPEG",
    ),
    (
        "tinyimagenet",
        "train/n02/images/n02_0.JPEG",
        lambda content: content[: len(content) // 2],
        "no whole JPEG",
    ),
    ("tinyimagenet", "train/n02/images/n02_0.JPEG", replaced(b""), "JPEG"),
    ("wikitext2", "wiki.valid.tokens", cut, "last line is cut off"),
    ("wikitext2", "wiki.valid.tokens", replaced(b""), "is empty"),
    ("wikitext2", "wiki.train.tokens", replaced(b"\xff\n"), "is not UTF-8"),
    ("california", "cal_housing.data", cut, "last line is cut off"),
    ("california", "cal_housing.data", replaced(b"1,2\n"), "row 1 is not 9"),
    ("california", "cal_housing.data", replaced(b"a\n"), "no number"),
    ("california", "cal_housing.data", replaced(b""), "no rows"),
    (
        "california",
        "cal_housing.data",
        replaced(2 * b"1,2,3,4,5,6,0,8,9\n"),
        "without households",
    ),
    (
        "california",
        "cal_housing.data",
        replaced(b"1,2,3,4,5,6,7,8,nan\n"),
        "row 1 is not 9 finite",
    ),
    ("boston", "BostonHousing.csv", cut, "last line is cut off"),
    ("boston", "BostonHousing.csv", replaced(b""), "header"),
    ("boston", "BostonHousing.csv", replaced(b"1,2,3\n"), "header"),
    ("dsb2018", "dsb2018_gray256.npz", cut, "no whole .npz"),
    ("dsb2018", "dsb2018_gray256.npz", replaced(b"hello"), "no whole .npz"),
]


@pytest.mark.parametrize(("name", "file", "damage", "message"), DAMAGES)
def test_damage_is_one_line(name, file, damage, message, tmp_path):
    folder, write_set = FOLDERS[name]
    write_set(tmp_path / folder)
    path = tmp_path / folder / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError) as caught:
        data.SETS[name].load(tmp_path)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert text.startswith(str(tmp_path / folder))
    assert text.endswith("; replace it by a whole copy")


def test_one_row_cannot_be_split(tmp_path):
    write(tmp_path / "cal_housing.data", b"1,2,3,4,5,6,7,8,9\n")
    with pytest.raises(data.DataError, match="california: 1 example"):
        data.california(tmp_path)


class Trap:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_not_loaded(tmp_path):
    sprung = tmp_path / "sprung"
    objects = np.array([Trap(sprung)], object)
    write_dsb2018(tmp_path / "dsb2018", images=objects)
    with pytest.raises(data.DataError, match="allow_pickle=False"):
        data.dsb2018(tmp_path)
    path = tmp_path / "dsb2018" / "dsb2018_gray256.npz"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(data.DataError, match=r"no whole \.npz"):
        data.dsb2018(tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in "images", "label_maps":
            archive.writestr(name, pickle.dumps(Trap(sprung)))
    with pytest.raises(data.DataError, match="are no bytes"):
        data.dsb2018(tmp_path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 4, 4))}, "images are no bytes"),
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "not the same three"),
        ({"images": np.zeros((5, 6, 7, 1), np.uint8)}, "not the same three"),
    ],
)
def test_maps_have_to_fit_the_images(arrays, message, tmp_path):
    write_dsb2018(tmp_path / "dsb2018", **arrays)
    with pytest.raises(data.DataError, match=message):
        data.dsb2018(tmp_path)
