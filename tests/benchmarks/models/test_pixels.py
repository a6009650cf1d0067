"""Networks whose outputs are images, or several heads."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.models import (
    BoxNet,
    ConvAutoencoder,
    DenseAutoencoder,
    TwoHeadedLeNet5,
    UNet,
    pixels,
)


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (DenseAutoencoder(), (3, 28, 28, 1), (3, 28, 28, 1)),
        (ConvAutoencoder(), (2, 32, 32, 3), (2, 32, 32, 3)),
        (UNet(), (2, 32, 32, 1), (2, 32, 32)),
    ],
)
def test_outputs_are_images(model, shape, expected):
    variables = model.init(jax.random.key(0), jnp.zeros(shape))
    outputs = model.apply(variables, jnp.ones(shape), train=True)
    assert outputs.shape == expected
    assert np.isfinite(outputs).all()


def test_each_head_sees_its_own_image():
    model = TwoHeadedLeNet5()
    images = jax.random.normal(jax.random.key(1), (2, 28, 28, 2))
    variables = model.init(jax.random.key(0), images)
    classes, turns = model.apply(variables, images)
    assert (classes.shape, turns.shape) == ((2, 10), (2, 4))
    changed = images.at[..., 1].set(0.0)
    other_classes, other_turns = model.apply(variables, changed)
    np.testing.assert_allclose(other_classes, classes, rtol=1e-4, atol=1e-5)
    assert not np.allclose(other_turns, turns)


class Doubled(nn.Module):
    @nn.compact
    def __call__(self, features):
        return pixels._doubled(features, 5)


def test_doubling_is_a_transposed_convolution():
    features = jax.random.normal(jax.random.key(0), (2, 3, 4, 6))
    variables = Doubled().init(jax.random.key(1), features)
    ours = Doubled().apply(variables, features)
    kernel = variables["params"]["Conv_0"]["kernel"]
    theirs = jax.lax.conv_transpose(features, kernel, (2, 2), "SAME")
    assert ours.shape == (2, 6, 8, 5)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_boxes_are_from_0_to_1():
    images = 9 * jax.random.normal(jax.random.key(0), (5, 16, 16, 1))
    variables = BoxNet().init(jax.random.key(1), images)
    boxes = BoxNet().apply(variables, images)
    assert boxes.shape == (5, 4)
    assert 0 < boxes.min() < boxes.max() < 1
