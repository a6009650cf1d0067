"""The networks: sizes, shapes and the convolution that they are built on."""

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import models
from benchmarks.models import convolution

MNIST = (28, 28, 1)
CIFAR = (32, 32, 3)

# Counts by hand, or of the implementation that others compare with.
CLASSIFIERS = {
    "MLP": (models.MLP(), MNIST, 784 * 256 + 256 + 256 * 128 + 128 + 1290),
    "MLP with 3 classes": (
        models.MLP(sizes=(5,), num_classes=3),
        (2, 2, 1),
        4 * 5 + 5 + 5 * 3 + 3,
    ),
    "SmallCNN": (models.SmallCNN(), (8, 8, 1), 38282),
    "LeNet5": (models.LeNet5(), MNIST, 61706),
    "TorchLeNet5": (models.TorchLeNet5(), MNIST, 61706),
    "ConvNet": (models.ConvNet(), MNIST, 160 + 4640 + 1568 * 64 + 64 + 650),
    "SmallResNet": (models.SmallResNet(), CIFAR, 75290),
    "ResNet-20": (models.SmallResNet(blocks=3), CIFAR, 269722),
    "ResNet18": (models.ResNet18(), CIFAR, 11173962),
    "ResNet18 with 100 classes": (
        models.ResNet18(num_classes=100),
        CIFAR,
        11173962 + 90 * 513,
    ),
    "ResNet50": (models.ResNet50(), CIFAR, 23520842),
    "VGG11": (models.VGG11(), CIFAR, 9231114),
    "SmallConvNeXt": (
        models.SmallConvNeXt(),
        CIFAR,
        # The stem, its block, the layer between, two blocks, the end.
        (1568 + 64)
        + (8 * 32**2 + 58 * 32)
        + (64 + 8256)
        + 2 * (8 * 64**2 + 58 * 64)
        + (128 + 650),
    ),
    "SmallTinyViT": (
        models.SmallTinyViT(),
        CIFAR,
        # Two convolutions, two MBConv, two layers of attention, the end.
        (432 + 32 + 4608 + 64)
        + (4096 + 256 + 1152 + 256 + 4096 + 64)
        + (4096 + 256 + 1152 + 256 + 8192 + 128)
        + 2 * (4 * 4160 + 256 + 256 * 64 + 256 + 64 * 256 + 64 + 576 + 128)
        + (128 + 650),
    ),
}


def parameters(variables):
    leaves = jax.tree.leaves(variables["params"])
    return sum(math.prod(leaf.shape) for leaf in leaves)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_has_its_parameters_and_logits(name):
    model, shape, count = CLASSIFIERS[name]
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    assert parameters(variables) == count
    assert set(variables) <= {"params", "batch_stats"}
    for train in False, True:
        logits, changed = jax.eval_shape(
            lambda v, x, train=train: model.apply(
                v, x, train=train, mutable=["batch_stats"]
            ),
            variables,
            images,
        )
        assert logits.shape == (2, model.num_classes)
        assert logits.dtype == jnp.float32
        statistics = variables.get("batch_stats", {})
        assert jax.tree.structure(changed.get("batch_stats", {})) == (
            jax.tree.structure(statistics)
        )


def test_regressor_predicts_from_its_last_hidden_layer():
    model, inputs = models.Regressor(sizes=(5, 3)), np.ones((4, 13))
    variables = model.init(jax.random.key(0), inputs)
    assert parameters(variables) == 13 * 5 + 5 + 5 * 3 + 3 + 3 + 1
    features = model.apply(variables, inputs, train=True, method="features")
    assert features.shape == (4, 3)
    assert (features >= 0).all()
    predicted = model.apply(variables, features, method="predict")
    assert predicted.shape == (4,)
    np.testing.assert_array_equal(predicted, model.apply(variables, inputs))


def lax_convolution(inputs, kernel, strides, padding):
    return jax.lax.conv_general_dilated(
        inputs,
        kernel,
        strides,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize(
    ("window", "strides", "padding"),
    [
        ((3, 3), (1, 1), "SAME"),
        ((3, 5), (1, 1), "SAME"),
        ((5, 5), (1, 1), "VALID"),
        ((3, 3), (1, 1), [(1, 1), (1, 1)]),
        ((3, 3), (2, 2), [(1, 1), (1, 1)]),
        ((3, 3), (2, 2), "SAME"),
        ((2, 4), (2, 1), "SAME"),
        ((1, 1), (2, 2), "VALID"),
    ],
)
@pytest.mark.parametrize("size", [(7, 5), (8, 6)])
def test_convolution_is_the_usual_one(window, strides, padding, size):
    keys = jax.random.split(jax.random.key(0))
    images = jax.random.normal(keys[0], (2, *size, 3))
    kernel = jax.random.normal(keys[1], (*window, 3, 4))

    def value_and_slopes(convolve):
        def total(images, kernel):
            output = convolve(images, kernel, strides, padding)
            return jnp.sum(jnp.sin(output)), output

        return jax.jit(jax.grad(total, (0, 1), has_aux=True))(images, kernel)

    for actual, expected in zip(
        jax.tree.leaves(value_and_slopes(convolution.convolve_by_matmul)),
        jax.tree.leaves(value_and_slopes(lax_convolution)),
        strict=True,
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("strides", "padding"),
    [((1, 1), "SAME"), ((2, 2), "SAME"), ((1, 2), [(1, 0), (2, 1)])],
)
def test_depthwise_convolution_is_the_usual_one(strides, padding):
    keys = jax.random.split(jax.random.key(0))
    images = jax.random.normal(keys[0], (2, 7, 6, 5))
    kernel = jax.random.normal(keys[1], (3, 3, 1, 5))

    def lax_depthwise(images, kernel):
        return jax.lax.conv_general_dilated(
            images,
            kernel,
            strides,
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=5,
        )

    def ours(images, kernel):
        return convolution.convolve(
            images, kernel, strides, padding, feature_group_count=5
        )

    def with_slopes(convolve):
        total = lambda *x: jnp.sum(jnp.sin(convolve(*x)))  # noqa: E731
        slopes = jax.grad(total, (0, 1))(images, kernel)
        return jax.tree.leaves((convolve(images, kernel), slopes))

    for actual, expected in zip(
        with_slopes(ours), with_slopes(lax_depthwise), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="each of 5 channels"):
        convolution.convolve_depthwise(
            images, jnp.ones((3, 3, 1, 10)), strides, padding
        )


def test_accelerators_get_the_usual_convolution(monkeypatch):
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    layer = convolution.Conv(4, (3, 3), strides=2, padding=1)
    variables = layer.init(jax.random.key(1), images)

    def operations():
        jaxpr = jax.make_jaxpr(layer.apply)(variables, images)
        return str(jaxpr)

    assert "conv_general_dilated" not in operations()
    on_cpu = layer.apply(variables, images)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "conv_general_dilated" in operations()
    np.testing.assert_allclose(
        layer.apply(variables, images), on_cpu, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("ours", "usual"),
    [
        (convolution.max_pool, nn.max_pool),
        (convolution.avg_pool, nn.avg_pool),
    ],
)
def test_pooling_is_the_usual_one(ours, usual):
    images = jax.random.normal(jax.random.key(0), (2, 7, 6, 3))
    expected = usual(images, (2, 2), strides=(2, 2))
    np.testing.assert_allclose(ours(images), expected, rtol=1e-6)
    slopes = jax.grad(lambda x: jnp.sum(jnp.sin(ours(x))))(images)
    expected = jax.grad(
        lambda x: jnp.sum(jnp.sin(usual(x, (2, 2), strides=(2, 2))))
    )(images)
    np.testing.assert_allclose(slopes, expected, rtol=1e-6, atol=1e-7)


def test_networks_follow_their_papers():
    """Shapes of the kernels, in the order of the layers."""

    def kernels(model, shape):
        images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        params = jax.eval_shape(model.init, jax.random.key(0), images)
        return sorted(
            leaf.shape
            for leaf in jax.tree.leaves(params["params"])
            if len(leaf.shape) > 1
        )

    assert kernels(models.LeNet5(), MNIST) == sorted(
        [(5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)]
    )
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    expected = [(3, 3, *pair) for pair in itertools.pairwise(widths)]
    assert kernels(models.VGG11(), CIFAR) == sorted([*expected, (512, 10)])
    # 20 layers, as its shortcuts have no parameters.
    assert len(kernels(models.SmallResNet(blocks=3), CIFAR)) == 20
    # 18, and three projections.
    assert len(kernels(models.ResNet18(), CIFAR)) == 21
    # 50, and four.
    assert len(kernels(models.ResNet50(), CIFAR)) == 54


@pytest.mark.parametrize("seed", range(3))
def test_torch_lenet_starts_uniform_within_its_fan_in(seed):
    images = jnp.zeros((1, *MNIST))
    params = models.TorchLeNet5().init(jax.random.key(seed), images)["params"]
    usual = models.LeNet5().init(jax.random.key(seed), images)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, usual)
    for name, layer in params.items():
        fan_in = math.prod(layer["kernel"].shape[:-1])
        bound = 1 / math.sqrt(fan_in)
        for leaf in layer.values():
            assert np.abs(leaf).max() <= bound, name
        # The largest of n is above 1 - 7 / n but for one draw in a thousand;
        # the deviation of uniform numbers is the bound over the root of 3.
        kernel = np.asarray(layer["kernel"])
        assert np.abs(kernel).max() > (1 - 7 / kernel.size) * bound, name
        assert np.any(layer["bias"] != 0)
        error = 6 / math.sqrt(kernel.size)
        assert np.std(kernel) * math.sqrt(3) / bound == pytest.approx(
            1, abs=error
        )
        assert abs(np.mean(kernel)) < error * bound


def test_shortcut_keeps_what_it_can_without_parameters():
    block = models.deep.ResidualBlock(channels=4, stride=2)
    inputs = jnp.abs(jax.random.normal(jax.random.key(0), (2, 6, 6, 2)))
    variables = block.init(jax.random.key(1), inputs)
    # Kernels of zeros leave the shortcut alone.
    variables = {
        **variables,
        "params": jax.tree.map(jnp.zeros_like, variables["params"]),
    }
    output = np.asarray(block.apply(variables, inputs))
    np.testing.assert_array_equal(output[..., 1:3], inputs[:, ::2, ::2])
    assert np.all(output[..., [0, 3]] == 0)


def test_evaluation_takes_the_running_statistics():
    model = models.SmallResNet(channels=(2, 4))
    images = 3 + jax.random.normal(jax.random.key(0), (6, 8, 8, 3))
    variables = model.init(jax.random.key(1), images)
    together = model.apply(variables, images)
    apart = jnp.concatenate([model.apply(variables, x[None]) for x in images])
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)

    trained, changed = model.apply(
        variables, images, train=True, mutable=["batch_stats"]
    )
    assert np.abs(trained - together).max() > 0.01
    # A tenth of the way from 0, the start, to the batch's mean.
    first = convolution.Conv(2, (3, 3), padding=1, use_bias=False).apply(
        {"params": variables["params"]["Conv_0"]}, images
    )
    np.testing.assert_allclose(
        changed["batch_stats"]["BatchNorm_0"]["mean"],
        0.1 * np.asarray(first).mean(axis=(0, 1, 2)),
        rtol=1e-4,
    )
    after = model.apply({**variables, **changed}, images)
    assert np.abs(after - together).max() > 1e-3


def small_transformer(**fields):
    model = models.SmallTransformer(
        vocabulary=11, width=8, heads=2, length=6, **fields
    )
    tokens = jax.random.randint(jax.random.key(0), (3, 6), 0, 11)
    return model, tokens, model.init(jax.random.key(1), tokens)


def test_transformer_has_its_parameters_and_logits():
    model, tokens, variables = small_transformer()
    assert model.apply(variables, tokens).shape == (3, 6, 11)
    assert model.apply(variables, tokens[:, :4]).shape == (3, 4, 11)
    layer = 4 * (64 + 8) + (8 * 32 + 32) + (32 * 8 + 8) + 2 * 16
    assert parameters(variables) == (
        (11 + 6) * 8 + 2 * layer + 16 + (8 * 11 + 11)
    )
    kernels = jax.tree.leaves(variables["params"])
    assert {leaf.ndim for leaf in kernels} == {1, 2}
    with pytest.raises(ValueError, match="7 tokens is longer than 6"):
        model.apply(variables, jnp.zeros((1, 7), jnp.int32))


@pytest.mark.parametrize("changed", range(6))
def test_transformer_does_not_see_what_comes_later(changed):
    model, tokens, variables = small_transformer()
    before = model.apply(variables, tokens)
    other = (tokens[:, changed] + 1) % 11
    after = model.apply(variables, tokens.at[:, changed].set(other))
    np.testing.assert_allclose(
        after[:, :changed], before[:, :changed], rtol=1e-6, atol=1e-7
    )
    # And it does see what came before.
    assert np.all(np.abs(after - before)[:, changed:].max(axis=(0, 2)) > 1e-6)


def test_transformer_drops_out_in_training_only():
    model, tokens, variables = small_transformer(dropout=0.5)
    still = model.apply(variables, tokens)
    np.testing.assert_array_equal(model.apply(variables, tokens), still)
    dropped = [
        model.apply(
            variables, tokens, train=True, rngs={"dropout": jax.random.key(i)}
        )
        for i in range(2)
    ]
    assert np.abs(dropped[0] - dropped[1]).max() > 1e-3
    # By default there is nothing to draw, and so no key is needed.
    model, tokens, variables = small_transformer()
    np.testing.assert_array_equal(
        model.apply(variables, tokens, train=True),
        model.apply(variables, tokens),
    )


def small_albert(**fields):
    model = models.SmallAlbert(
        vocabulary=11, masked=2, embedding=6, width=8, heads=2, **fields
    )
    tokens = jax.random.randint(jax.random.key(0), (3, 7), 0, 11)
    places = jnp.array([[1, 4], [2, 6], [5, 3]])
    inputs = jnp.concatenate([tokens, places], axis=1)
    return model, inputs, model.init(jax.random.key(1), inputs)


def test_layers_of_an_albert_share_their_weights():
    counts = {}
    for layers in 1, 3:
        model, inputs, variables = small_albert(layers=layers)
        order, words = model.apply(variables, inputs)
        assert (order.shape, words.shape) == ((3, 2), (3, 2, 11))
        counts[layers] = parameters(variables)
    assert counts[1] == counts[3]
    deep, inputs, variables = small_albert(layers=3)
    flat = deep.clone(layers=1).apply(variables, inputs)
    assert np.abs(deep.apply(variables, inputs)[1] - flat[1]).max() > 1e-3


def test_an_albert_tells_the_words_of_the_places_it_is_given():
    model, inputs, variables = small_albert()
    order, words = model.apply(variables, inputs)
    turned = jnp.concatenate([inputs[:, :7], inputs[:, :6:-1]], axis=1)
    same, other = model.apply(variables, turned)
    np.testing.assert_allclose(other, words[:, ::-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(same, order, rtol=1e-5, atol=1e-6)
    # Every word sees every other one, before and after it.
    for place in 0, 6:
        moved = inputs.at[:, place].set((inputs[:, place] + 1) % 11)
        change = np.abs(model.apply(variables, moved)[1] - words)
        assert np.all(change.max(axis=-1) > 1e-6)
