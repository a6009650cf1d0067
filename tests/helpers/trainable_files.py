"""Made-up data sets that are large enough for a study's smoke preset."""

import numpy as np
from PIL import Image

from tests.helpers.data_files import (
    BOSTON_HEADER,
    cifar_records,
    idx,
    random_images,
    write,
)


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


def write_tinyimagenet(folder):
    def image(path, level):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 64), level).save(path, "JPEG")

    wnids = [f"n{number:02}" for number in range(10)]
    write(folder / "wnids.txt", ("\n".join(wnids) + "\n").encode())
    boxes = []
    for number, wnid in enumerate(wnids):
        images = folder / "train" / wnid / "images"
        for index in range(8):
            image(images / f"{wnid}_{index}.JPEG", 20 * number + index)
        for index in range(4):
            name = f"val_{4 * number + index}.JPEG"
            image(folder / "val" / "images" / name, 20 * number + index)
            boxes.append(f"{name}\t{wnid}\t0\t0\t9\t9\n")
    write(folder / "val" / "val_annotations.txt", "".join(boxes).encode())


def write_wikitext2(folder):
    words = np.random.default_rng(0).choice([*"abcdefgh", "<unk>"], 1100)
    text = " \n " + " ".join(words) + " \n"
    for part in "train", "valid", "test":
        write(folder / f"wiki.{part}.tokens", text.encode())


def rows_of(values):
    return "\n".join(",".join(f"{x:f}" for x in row) for row in values) + "\n"


def write_california(folder):
    rows = np.random.default_rng(0).uniform(1, 100, (200, 9))
    write(folder / "cal_housing.data", rows_of(rows).encode())


def write_boston(folder):
    rows = np.random.default_rng(0).uniform(1, 100, (200, 14))
    text = f"{BOSTON_HEADER}\n{rows_of(rows)}"
    write(folder / "BostonHousing.csv", text.encode())


def write_dsb2018(folder):
    folder.mkdir(parents=True)
    images = random_images(12, 256, 256)
    maps = np.zeros_like(images)
    for number, (row, column) in enumerate([(90, 70), (180, 120)], start=1):
        maps[:, row : row + 20, column : column + 30] = number
    arrays = {"images": images, "label_maps": maps}
    np.savez_compressed(folder / "dsb2018_gray256.npz", **arrays)


TRAINABLE = {
    "mnist": write_mnist,
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "tinyimagenet": write_tinyimagenet,
    "wikitext2": write_wikitext2,
    "california": write_california,
    "boston": write_boston,
    "dsb2018": write_dsb2018,
}
