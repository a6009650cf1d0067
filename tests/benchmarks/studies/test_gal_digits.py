"""The study of GAL under label noise."""

import numpy as np
import pytest

from benchmarks import data
from benchmarks.studies import gal_digits


def test_digits_have_a_tenth_of_wrong_labels():
    settings = gal_digits.STUDY.presets["small"].settings
    loaded, clean = gal_digits.load(settings, None), data.digits()
    wrong = np.mean(np.asarray(loaded.train.labels != clean.train.labels))
    assert wrong == pytest.approx(0.1, abs=1e-3)
    np.testing.assert_array_equal(loaded.test.labels, clean.test.labels)
    assert gal_digits.STUDY.metrics[0].key == "test_loss"
    assert not gal_digits.STUDY.metrics[0].larger_is_better
    assert gal_digits.STUDY.presets["small"].seeds == 20
