"""Texts whose words are masked and whose halves are swapped."""

import numpy as np
import pytest

from benchmarks.studies import agr_albert as albert

WORDS = np.arange(albert.WORDS * 60) % (albert.WORDS - 7)
COUNT = 1000


@pytest.fixture(scope="module")
def examples():
    found = albert.examples(WORDS, COUNT, np.random.default_rng(0))
    return np.asarray(found.images), np.asarray(found.labels)


def test_halves_are_swapped_as_the_label_says(examples):
    inputs, labels = examples
    size = 2 * albert.HALF
    assert inputs.shape == (COUNT, 1 + size + albert.MASKED)
    assert labels.shape == (COUNT, 1 + albert.MASKED)
    assert labels[:, 0].sum() == COUNT // 2
    texts, places = inputs[:, 1 : 1 + size].copy(), inputs[:, 1 + size :]
    assert np.all(inputs[:, 0] == albert.FIRST)
    # With its words put back a text is one of the stream.
    np.put_along_axis(texts, places - 1, labels[:, 1:], axis=1)
    expected = WORDS[: COUNT * size].reshape(COUNT, size)
    turned = np.roll(expected, albert.HALF, axis=1)
    swapped = labels[:, :1] == 1
    np.testing.assert_array_equal(texts, np.where(swapped, turned, expected))


def test_words_are_masked_as_in_bert(examples):
    inputs, labels = examples
    places = inputs[:, -albert.MASKED :]
    assert places.min() == 1
    assert places.max() == 2 * albert.HALF
    assert all(len(set(row)) == albert.MASKED for row in places.tolist())
    shown = np.take_along_axis(inputs, places, axis=1)
    told = labels[:, 1:]
    assert told.max() < albert.WORDS
    shares = [
        np.mean(shown == albert.MASK),
        np.mean(shown == told),
        np.mean((shown != albert.MASK) & (shown != told)),
    ]
    # Of so many draws four deviations.
    error = 4 * np.sqrt(0.25 / told.size)
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=error)
    others = np.ones(inputs.shape, bool)
    np.put_along_axis(others, places, False, axis=1)
    assert np.all(inputs[others] != albert.MASK)


def test_there_are_no_more_texts_than_words():
    found = albert.examples(WORDS[:100], 50, np.random.default_rng(0))
    assert len(found.labels) == 100 // (2 * albert.HALF)
