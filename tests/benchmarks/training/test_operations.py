"""Operations of a training are counted."""

import flax.linen as nn
import pytest

from benchmarks.models import MLP
from benchmarks.study import Preset
from benchmarks.training import operations


class Two(nn.Module):
    """Two dense layers without biases."""

    @nn.compact
    def __call__(self, inputs, train=False):
        """Returns what the second makes of the first."""
        hidden = nn.Dense(50, use_bias=False)(inputs)
        return nn.Dense(20, use_bias=False)(hidden)


def test_a_product_is_counted_forwards_and_twice_backwards():
    # But for the gradient of the inputs, which nobody needs.
    products = 2 * (2 * 100 * 50 + 3 * 50 * 20)
    counted = operations.of_example(Two(), (100,))
    assert counted == pytest.approx(products, rel=0.05)


def test_a_preset_takes_what_its_runs_do():
    model, shape = MLP((8,)), (4, 4, 1)
    preset = Preset({"epochs": 3}, seeds=5, methods=["a", "b"])
    each = operations.of_example(model, shape) / operations.SUSTAINED
    found = operations.seconds(model, shape, preset, 4, train=10, forward=6)
    assert found == pytest.approx(2 * 5 * 4 * (3 * 10 + 2) * each)
