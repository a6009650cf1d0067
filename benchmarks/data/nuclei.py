"""Nuclei under the microscope, each marked in a map of its image."""

import pathlib
import tokenize
from typing import NamedTuple
import zipfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from benchmarks.data import sources
from benchmarks.data.files import damaged, one_line
from benchmarks.data.splits import (
    Examples,
    Split,
    split_indices,
    standardized_images,
    window_means,
)


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


def windows_with_boxes(
    part: Nuclei, *, side: int, window: int, jitter: int, limit: int | None
) -> Examples:
    """Returns a window around each nucleus, and the nucleus's box in it.

    A window's centre is off the box's by up to ``jitter`` pixels each way. What
    of it lies outside the image is 0, the training images' mean; a nucleus that
    does not fit is left out. Order and offsets are always the same.

    Args:
        part: Images and maps.
        side: Of the windows that come out, in means of pixels.
        window: Of the windows in pixels.
        jitter: In pixels.
        limit: How many windows to take; all if None.

    Returns:
        As labels the boxes, of shape [examples, 4]: the centre's place across
        and down, width and height, in shares of the window.
    """
    images, half = np.asarray(part.images), window // 2
    padding = half + jitter
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(images, around)
    random = np.random.default_rng(0)
    seen, boxes = [], []
    for image, numbers in zip(padded, np.asarray(part.label_maps), strict=True):
        for found in ndimage.find_objects(numbers):
            if found is None:
                continue
            low = np.array([edge.start for edge in found])
            high = np.array([edge.stop for edge in found])
            offset = random.integers(-jitter, jitter + 1, 2)
            start = (low + high) // 2 + offset - half
            if np.any(low < start) or np.any(high > start + window):
                continue
            down, across = start + padding
            seen.append(image[down : down + window, across : across + window])
            centre, size = (low + high) / 2 - start, high - low
            boxes.append([*centre[::-1], *size[::-1]])
    order = random.permutation(len(seen))[:limit]
    pixels = window_means(np.asarray(seen)[order], side)
    shares = np.asarray(boxes)[order] / window
    return Examples(
        jnp.asarray(pixels, jnp.float32), jnp.asarray(shares, jnp.float32)
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
