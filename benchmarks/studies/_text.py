"""Text as the numbers of its words: what several studies share."""

import numpy as np

from benchmarks.data import Text


def frequent(words: np.typing.ArrayLike, text: Text, count: int) -> np.ndarray:
    """Returns words with all but the ``count`` most frequent ones unknown."""
    unknown = text.vocabulary.index("<unk>")
    # Words are numbered by how frequent they are.
    return np.where(np.asarray(words) < count, words, unknown)
