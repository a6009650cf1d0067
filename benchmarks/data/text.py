"""WikiText-2: articles as streams of words."""

import collections
from collections.abc import Iterator
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.data import sources
from benchmarks.data.files import damaged, read_lines

END = "<eos>"
UNKNOWN = "<unk>"


class Text(NamedTuple):
    """Streams of words, each word the number of its place in the vocabulary."""

    train: jax.Array  # shape=(words,), dtype=int32.
    valid: jax.Array  # Likewise.
    test: jax.Array  # Likewise.
    vocabulary: tuple[str, ...]


def wikitext2(data_dir: pathlib.Path | None = None) -> Text:
    """Returns WikiText-2: 2,088,628 words to train on, of 33,278 different.

    Every line, even an empty one, ends with ``<eos>``. The vocabulary is that
    of the training text, the most frequent words first and equally frequent
    ones in the order of their code points; a word of the other texts that it
    lacks is ``<unk>``.
    """
    folder = sources.find("wikitext2", data_dir)
    counts = collections.Counter(_words(folder, "train"))
    counts.setdefault(UNKNOWN, 0)
    vocabulary = sorted(counts, key=lambda word: (-counts[word], word))
    numbers = {word: number for number, word in enumerate(vocabulary)}
    unknown = numbers[UNKNOWN]

    def stream(part: str) -> jax.Array:
        words = (numbers.get(word, unknown) for word in _words(folder, part))
        return jnp.asarray(np.fromiter(words, np.int32))

    return Text(
        train=stream("train"),
        valid=stream("valid"),
        test=stream("test"),
        vocabulary=tuple(vocabulary),
    )


def _words(folder: pathlib.Path, part: str) -> Iterator[str]:
    path = folder / f"wiki.{part}.tokens"
    lines = read_lines(path)
    if not lines:
        raise damaged(path, "is empty")
    for line in lines:
        yield from line.split()
        yield END
