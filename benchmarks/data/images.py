"""Images and their classes: MNIST, CIFAR, Tiny-ImageNet, digits.

Each loader looks for its files in ``data_dir`` or downloads them, as
``sources.find`` says. A ``limit_train`` or ``limit_test`` takes a sample,
always the same, in which the classes keep their shares. Pixels are shifted and
scaled by the mean and standard deviation, channel by channel, of the training
images that are taken.

A part of a set will do: fewer images or classes, a batch of CIFAR less.
"""

from collections.abc import Sequence
import gzip
import pathlib
from typing import Any
import zlib

import jax.numpy as jnp
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmarks.data import sources
from benchmarks.data.files import damaged, one_line, read_bytes, read_lines
from benchmarks.data.splits import (
    Examples,
    Split,
    standardized_images,
    stratified,
)

_TINY_SIDE = 64


def digits(
    data_dir: pathlib.Path | None = None,
    *,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> Split[Examples]:
    """Returns scikit-learn's 8x8 digits: 1,437 to train on, 360 to test on.

    The images come with scikit-learn, so nothing is downloaded and ``data_dir``
    is not looked at. The split is stratified by class and always the same: a
    run's seed changes the initial weights and the order of the batches, never
    which images are held out.
    """
    del data_dir
    images, labels = map(np.asarray, load_digits(return_X_y=True))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
    )
    train = train[stratified(labels[train], limit_train)]
    test = test[stratified(labels[test], limit_test)]
    pixels = images.astype(np.float32).reshape(-1, 8, 8, 1)
    pixels = (pixels - pixels[train].mean()) / pixels[train].std()

    def examples(rows: Any) -> Examples:
        return Examples(
            images=jnp.asarray(pixels[rows]),
            labels=jnp.asarray(labels[rows], jnp.int32),
        )

    return Split(train=examples(train), test=examples(test))


def mnist(
    data_dir: pathlib.Path | None = None,
    *,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> Split[Examples]:
    """Returns MNIST: 60,000 28x28 images of ten digits, and 10,000 to test.

    The files may be compressed (.gz) or not.
    """
    folder = sources.find("mnist", data_dir)
    train = _read_mnist(folder, "train", limit_train)
    test = _read_mnist(folder, "t10k", limit_test)
    return _examples(train, test)


def _read_mnist(
    folder: pathlib.Path, part: str, limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    path, images = _read_idx(folder / f"{part}-images-idx3-ubyte", 3)
    labels_path, labels = _read_idx(folder / f"{part}-labels-idx1-ubyte", 1)
    if images.shape[1:] != (28, 28):
        raise damaged(path, f"its images are {images.shape[1:]}, not (28, 28)")
    if len(images) != len(labels):
        raise damaged(
            labels_path,
            f"has {len(labels)} labels, but {path.name} {len(images)} images",
        )
    _check_labels(labels_path, labels, 10)
    chosen = stratified(labels, limit)
    return images[chosen, ..., np.newaxis], labels[chosen]


def _read_idx(
    name: pathlib.Path, dimensions: int
) -> tuple[pathlib.Path, np.ndarray]:
    """Reads the array of bytes in a file, or in that file with .gz added."""
    packed = name.with_name(f"{name.name}.gz")
    path = packed if packed.is_file() else name
    content = read_bytes(path)
    if path == packed:
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise damaged(
                path, f"is no whole .gz ({one_line(error)})"
            ) from error
    start = 4 + 4 * dimensions
    # Two zeros, the type (8 for bytes), then the number of dimensions.
    if len(content) < start or content[:4] != bytes((0, 0, 8, dimensions)):
        raise damaged(path, f"has no idx header of {dimensions} dimension(s)")
    shape = tuple(map(int, np.frombuffer(content, ">u4", dimensions, 4)))
    values = np.frombuffer(content, np.uint8, offset=start)
    # In Python's integers, as a product of damaged lengths may be huge.
    expected = 1
    for length in shape:
        expected *= length
    if len(values) != expected:
        raise damaged(
            path, f"has {len(values)} values, but its header says {expected}"
        )
    return path, values.reshape(shape)


def cifar10(
    data_dir: pathlib.Path | None = None,
    *,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> Split[Examples]:
    """Returns CIFAR-10: 50,000 32x32 images in ten classes, 10,000 to test.

    Reads the binary version: data_batch_1.bin to data_batch_5.bin, or those of
    them that are there, and test_batch.bin.
    """
    folder = sources.find("cifar10", data_dir)
    batches = [folder / f"data_batch_{batch}.bin" for batch in range(1, 6)]
    train = _read_cifar(
        [path for path in batches if path.is_file()], (10,), limit_train
    )
    test = _read_cifar([folder / "test_batch.bin"], (10,), limit_test)
    return _examples(train, test)


def cifar100(
    data_dir: pathlib.Path | None = None,
    *,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> Split[Examples]:
    """Returns CIFAR-100: 50,000 32x32 images in 100 classes, 10,000 to test.

    Reads the binary version. The labels are those of the 100 fine classes.
    """
    folder = sources.find("cifar100", data_dir)
    train = _read_cifar([folder / "train.bin"], (20, 100), limit_train)
    test = _read_cifar([folder / "test.bin"], (20, 100), limit_test)
    return _examples(train, test)


def _read_cifar(
    paths: Sequence[pathlib.Path], classes: Sequence[int], limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads records of labels, of which the last counts, and of RGB planes."""
    size = len(classes) + 3 * 32 * 32
    batches = []
    for path in paths:
        content = np.frombuffer(read_bytes(path), np.uint8)
        if not len(content) or len(content) % size:
            raise damaged(
                path,
                f"its {len(content)} bytes are no whole records of {size} each",
            )
        batches.append(content.reshape(-1, size))
        for column, number in enumerate(classes):
            _check_labels(path, batches[-1][:, column], number)
    records = np.concatenate(batches)
    labels = records[:, len(classes) - 1]
    chosen = stratified(labels, limit)
    planes = records[chosen, len(classes) :].reshape(-1, 3, 32, 32)
    return planes.transpose(0, 2, 3, 1), labels[chosen]


def tinyimagenet(
    data_dir: pathlib.Path | None = None,
    *,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> Split[Examples]:
    """Returns Tiny-ImageNet: 100,000 64x64 images in 200 classes.

    The 10,000 images of ``val`` are those to test on, as the labels of ``test``
    were never published. A label is the number of its class's line in
    wnids.txt, from zero. Without limits the images take 5 GB of memory, and
    twice that while they are read.
    """
    folder = sources.find("tinyimagenet", data_dir)
    path = folder / "wnids.txt"
    classes = {
        name.strip(): label for label, name in enumerate(read_lines(path))
    }
    if len(classes) != len(read_lines(path)) or "" in classes:
        raise damaged(path, "has a line that is empty or is there twice")
    train = _decode(_tiny_train(folder, classes), limit_train)
    test = _decode(_tiny_val(folder, classes), limit_test)
    return _examples(train, test)


def _tiny_train(
    folder: pathlib.Path, classes: dict[str, int]
) -> list[tuple[pathlib.Path, int]]:
    found = []
    for name, label in classes.items():
        images = folder / "train" / name / "images"
        paths = sorted(images.glob("*.JPEG"))
        if not paths:
            raise damaged(
                images, f"holds no .JPEG, though wnids.txt names {name}"
            )
        found += [(path, label) for path in paths]
    return found


def _tiny_val(
    folder: pathlib.Path, classes: dict[str, int]
) -> list[tuple[pathlib.Path, int]]:
    """Reads val_annotations.txt: image, class and bounding box a line."""
    path = folder / "val" / "val_annotations.txt"
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        name, _, rest = line.partition("\t")
        label = classes.get(rest.partition("\t")[0])
        # A name is no path: what is read lies in the folder.
        if label is None or pathlib.PurePath(name).name != name:
            raise damaged(path, f"line {number} names no class of wnids.txt")
        found.append((folder / "val" / "images" / name, label))
    if not found:
        raise damaged(path, "holds no images")
    return found


def _decode(
    found: Sequence[tuple[pathlib.Path, int]], limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([label for _, label in found])
    # Chosen first, as decoding is what takes the time.
    chosen = stratified(labels, limit)
    images = np.empty((len(chosen), _TINY_SIDE, _TINY_SIDE, 3), np.uint8)
    for image, index in zip(images, chosen, strict=True):
        image[:] = _read_jpeg(found[index][0])
    return images, labels[chosen]


def _read_jpeg(path: pathlib.Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            if image.size != (_TINY_SIDE, _TINY_SIDE):
                raise damaged(path, f"is {image.size}, not 64x64")
            # Some are gray.
            return np.asarray(image.convert("RGB"))
    except (
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise damaged(path, f"is no whole JPEG ({one_line(error)})") from error


def _check_labels(path: pathlib.Path, labels: np.ndarray, classes: int) -> None:
    if not len(labels):
        raise damaged(path, "holds no examples")
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise damaged(
            path,
            f"example {wrong[0]} has the label {labels[wrong[0]]}, which is "
            f"not below {classes}",
        )


def _examples(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> Split[Examples]:
    train_images, test_images = standardized_images(train[0], test[0])
    return Split(
        train=Examples(train_images, jnp.asarray(train[1], jnp.int32)),
        test=Examples(test_images, jnp.asarray(test[1], jnp.int32)),
    )
