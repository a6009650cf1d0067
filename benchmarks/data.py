"""Data sets, each with one fixed split."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Examples(NamedTuple):
    """Images and their classes."""

    images: jax.Array  # shape=(examples, height, width, 1), dtype=float32.
    labels: jax.Array  # shape=(examples,), dtype=int32.


class Split(NamedTuple):
    """What a method learns from and what it is judged on."""

    train: Examples
    test: Examples


def digits() -> Split:
    """Returns scikit-learn's 8x8 digits: 1,437 to train on, 360 to test on.

    The images come with scikit-learn, so nothing is downloaded. The split is
    stratified by class and always the same: a run's seed changes the initial
    weights and the order of the batches, never which images are held out.
    Pixels are shifted and scaled by the training images' mean and standard
    deviation.
    """
    images, labels = map(np.asarray, load_digits(return_X_y=True))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
    )
    pixels = images.astype(np.float32).reshape(-1, 8, 8, 1)
    pixels = (pixels - pixels[train].mean()) / pixels[train].std()

    def examples(rows: Any) -> Examples:
        return Examples(
            images=jnp.asarray(pixels[rows]),
            labels=jnp.asarray(labels[rows], jnp.int32),
        )

    return Split(train=examples(train), test=examples(test))
