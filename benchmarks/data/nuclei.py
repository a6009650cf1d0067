"""Nuclei under the microscope, each marked in a map of its image."""

import pathlib
import tokenize
from typing import NamedTuple
import zipfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.data import sources
from benchmarks.data.files import damaged, one_line
from benchmarks.data.splits import Split, split_indices, standardized_images


class Nuclei(NamedTuple):
    """Images, and for each pixel the number of its nucleus, or 0 for none."""

    images: jax.Array  # shape=(examples, height, width, 1), dtype=float32.
    label_maps: jax.Array  # shape=(examples, height, width), dtype=int32.


def dsb2018(data_dir: pathlib.Path | None = None) -> Split[Nuclei]:
    """Returns the gray 256x256 images of the 2018 Data Science Bowl.

    Of the 334 images 267 are to train on and 67, always the same, to test on.
    Pixels are shifted and scaled by the training images' mean and standard
    deviation.

    The file, dsb2018_gray256.npz, holds two arrays of bytes of shape
    [examples, height, width]: ``images`` and ``label_maps``.
    """
    path = sources.find("dsb2018", data_dir) / "dsb2018_gray256.npz"
    images, label_maps = _read(path)
    train, test = split_indices(len(images), "dsb2018")
    train_images, test_images = standardized_images(
        images[train, ..., np.newaxis], images[test, ..., np.newaxis]
    )
    maps = label_maps.astype(np.int32)
    return Split(
        train=Nuclei(train_images, jnp.asarray(maps[train])),
        test=Nuclei(test_images, jnp.asarray(maps[test])),
    )


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        # Opened as the archive it has to be, as numpy.load opens other things,
        # and without pickles, which run what code they like.
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise damaged(path, "is no whole .npz")
        with np.load(path, allow_pickle=False) as arrays:
            images, label_maps = arrays["images"], arrays["label_maps"]
    except (
        EOFError,
        KeyError,
        MemoryError,  # A header can name any shape.
        NotImplementedError,
        OSError,
        RuntimeError,
        SyntaxError,
        ValueError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise damaged(path, f"cannot be read ({one_line(error)})") from error
    for name, array in ("images", images), ("label_maps", label_maps):
        # A member without the magic string of .npy is read as plain bytes.
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
            raise damaged(path, f"its {name} are no bytes")
    if images.ndim != 3 or images.shape != label_maps.shape:
        raise damaged(
            path,
            f"its images are {images.shape} and its label maps "
            f"{label_maps.shape}: not the same three dimensions",
        )
    return images, label_maps
