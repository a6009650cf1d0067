"""What is trained on and what is tested on: samples, shares and scales."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.data.files import DataError

Part = TypeVar("Part")
# Of a number of rows and the table's name: those to train on, those to test on.
SplitIndices = Callable[[int, str], tuple[np.ndarray, np.ndarray]]


class Examples(NamedTuple):
    """Images and their classes."""

    images: jax.Array  # shape=(examples, height, width, channels), float32.
    labels: jax.Array  # shape=(examples,), dtype=int32.


class Rows(NamedTuple):
    """The rows of a table: what is known, and what is to be predicted."""

    inputs: jax.Array  # shape=(rows, features), dtype=float32.
    targets: jax.Array  # shape=(rows,), dtype=float32.


class Split(NamedTuple, Generic[Part]):
    """What a method learns from and what it is judged on."""

    train: Part
    test: Part


class Validated(NamedTuple, Generic[Part]):
    """A ``Split`` with a third part, on which settings are chosen."""

    train: Part
    valid: Part
    test: Part


def with_validation(split: Split[Examples], count: int) -> Validated[Examples]:
    """Takes so many training examples for validation, always the same.

    Classes keep their shares, as in ``stratified``.
    """
    labels = np.asarray(split.train.labels)
    if not 0 < count < len(labels):
        raise ValueError(
            f"{count} of {len(labels)} training examples cannot be held out"
        )
    held_out = stratified(labels, count)
    kept = np.setdiff1d(np.arange(len(labels)), held_out)

    def part(rows: np.ndarray) -> Examples:
        return jax.tree.map(lambda x: x[rows], split.train)

    return Validated(part(kept), part(held_out), split.test)


def stratified(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Returns the indices, ascending, of a sample in which classes keep shares.

    It is always the same sample, each class within one example of its share,
    and smaller ones are parts of larger ones.

    Args:
        labels: The class of each example.
        limit: How many to take; if there are not so many, or if None, all.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"a limit must be 1 or more, not {limit}")
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    order = np.random.default_rng(0).permutation(len(labels))
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        # Each class spread evenly from 0 to 1: any threshold cuts off the same
        # share of each.
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    chosen = order[np.argsort(position[order], kind="stable")]
    return np.sort(chosen[:limit])


def standardized_images(
    train: np.ndarray, test: np.ndarray
) -> tuple[jax.Array, jax.Array]:
    """Returns images shifted and scaled by the training images' channels.

    Args:
        train: shape=(examples, height, width, channels), dtype=uint8.
        test: Likewise.
    """
    levels = np.arange(256)
    scaled = np.empty((256, train.shape[-1]), np.float32)
    for channel in range(train.shape[-1]):
        # From the counts of the levels the moments are exact, without a copy
        # of all images in a wider type.
        pixels = train[..., channel].ravel()
        counts = np.bincount(pixels, minlength=256) / pixels.size
        mean = counts @ levels
        deviation = np.sqrt(counts @ (levels - mean) ** 2)
        scaled[:, channel] = (levels - mean) / (deviation or 1)

    def standardize(images: np.ndarray) -> jax.Array:
        values = np.empty(images.shape, np.float32)
        for channel in range(images.shape[-1]):
            values[..., channel] = scaled[images[..., channel], channel]
        return jnp.asarray(values)

    return standardize(train), standardize(test)


def window_means(images: np.ndarray, side: int) -> np.ndarray:
    """Returns square images of so many pixels a side, means of windows.

    Args:
        images: shape=(examples, height, width, channels); the height is a
            multiple of the side.
        side: Of those that come out.
    """
    window = images.shape[1] // side
    shape = (len(images), side, window, side, window, -1)
    return images.reshape(shape).mean(axis=(2, 4))


def split_indices(count: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of four fifths and of one fifth, always the same."""
    _check_count(count, name)
    order = np.random.default_rng(0).permutation(count)
    held_out = -(-count // 5)
    return order[held_out:], order[:held_out]


def quarter_indices(count: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns scikit-learn's three quarters and one quarter with the seed 1."""
    _check_count(count, name)
    train, test = train_test_split(np.arange(count), random_state=1)
    return np.asarray(train), np.asarray(test)


def _check_count(count: int, name: str) -> None:
    if count < 2:
        raise DataError(
            f"{name}: {count} example(s) cannot be split in two; get the whole "
            "set"
        )


def split_rows(
    inputs: np.ndarray,
    targets: np.ndarray,
    name: str,
    split: SplitIndices = split_indices,
) -> Split[Rows]:
    """Returns a table, split in two, with the inputs in training deviations.

    Targets keep their units. A constant column becomes zero.
    """
    train, test = split(len(targets), name)
    mean = inputs[train].mean(axis=0)
    deviation = inputs[train].std(axis=0)
    scaled = (inputs - mean) / np.where(deviation == 0, 1, deviation)

    def rows(indices: np.ndarray) -> Rows:
        return Rows(
            inputs=jnp.asarray(scaled[indices], jnp.float32),
            targets=jnp.asarray(targets[indices], jnp.float32),
        )

    return Split(train=rows(train), test=rows(test))
