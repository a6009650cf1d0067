"""The default network: linear layers, joined where that is cheaper."""

import dataclasses
import functools
import itertools
import re

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster
from tests import oracles
from tests.helpers.gal_theta import layers_of

D = 6
# Features of which the pullback of the layers is written out.
WIDE = 4096


def written_out(theta, z, cotangent):
    """One layer after another, and the gradients of theta."""
    layers = [
        {name: np.asarray(leaf, np.float64) for name, leaf in layer.items()}
        for layer in (theta[f"layer_{i}"] for i in range(len(theta)))
    ]
    inputs = [z]
    for layer in layers:
        inputs.append(inputs[-1] @ layer["kernel"] + layer["bias"])
    gradients = {}
    for index in reversed(range(len(layers))):
        kernel = inputs[index].T @ cotangent
        bias = cotangent.sum(axis=0)
        gradients[f"layer_{index}"] = {"kernel": kernel, "bias": bias}
        cotangent = cotangent @ layers[index]["kernel"].T
    return inputs[-1], gradients


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("sizes", "examples"),
    [
        ((), 1),
        ((4,), 9),
        ((9, 3), 1),
        ((9, 3), 100),
        ((3, 9), 9),
        ((3, 9), 100),
        ((8, 2, 5), 1),
        ((8, 2, 5), 100),
        ((5, 5, 5, 2), 9),
        ((5, 5, 5, 2), 100),
    ],
)
def test_it_is_its_layers_one_after_another(sizes, examples):
    adjuster = GradientAdjuster(sizes)
    theta = adjuster.init(jax.random.key(0), D)
    generator = np.random.default_rng(0)
    z, cotangent = generator.standard_normal((2, examples, D))

    @jax.jit
    def both(theta, z, cotangent):
        v, pullback = jax.vjp(lambda t: adjuster.apply(t, z), theta)
        return v, *pullback(cotangent)

    v, got = both(theta, z, cotangent)
    want, gradients = written_out(theta, z, cotangent)
    np.testing.assert_allclose(v, want, rtol=1e-12, atol=1e-13)
    # Theta's gradient is float32, as theta is.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        got,
        gradients,
    )


@pytest.mark.usual_compilation
@pytest.mark.parametrize(
    ("examples", "share"), [(256, 0.4), (8 * 256, 0.2), (1, 1.0)]
)
def test_joined_layers_cost_less(examples, share):
    classes = 100
    adjuster = GradientAdjuster()
    theta = jax.eval_shape(
        lambda k: adjuster.init(k, classes), jax.random.key(0)
    )
    z = jax.ShapeDtypeStruct((examples, classes), jnp.float32)
    cost = jax.jit(adjuster.apply).lower(theta, z).compile().cost_analysis()
    widths = (classes, *adjuster.hidden_sizes, classes)
    # A product and a sum for each entry of the kernels, and the biases.
    each = sum(2 * a * b + b for a, b in itertools.pairwise(widths))
    assert cost is not None
    assert cost["flops"] <= share * examples * each


def test_every_array_is_drawn_by_itself_within_the_bound_of_its_fan_in():
    sizes = (D, 400, 400, 9, D)  # Two layers of one shape.
    theta = GradientAdjuster(sizes[1:-1]).init(jax.random.key(1), D)
    drawn = []
    for index, fan_in in enumerate(sizes[:-1]):
        layer = theta[f"layer_{index}"]
        for name in ("kernel", "bias"):
            shares = np.float64(layer[name]).ravel() * np.sqrt(fan_in)
            assert np.abs(shares).max() <= 1 + 1e-6
            # Of a uniform number: 1 / 3, the mean of few of them near it.
            error = 2 / np.sqrt(shares.size)
            assert abs(np.mean(shares**2) - 1 / 3) < error
            drawn.append(shares)
    for one, other in itertools.combinations(drawn, 2):
        size = min(one.size, other.size)
        assert not np.array_equal(one[:size], other[:size])


def wide_case(*shape, dtype=np.float64):
    generator = np.random.default_rng(1)
    z = jnp.asarray(3 * generator.standard_normal((*shape, WIDE)), dtype)
    labels = jnp.asarray(generator.integers(WIDE, size=shape))
    return z, labels


def taught(adjuster, theta, z, labels, **arguments):
    """The gradients in theta and in the features."""
    return jax.grad(
        lambda theta, z: adjuster.loss(
            theta,
            z,
            optax.softmax_cross_entropy_with_integer_labels,
            targets=labels,
            **arguments,
        )[0],
        argnums=(0, 1),
    )(theta, z)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("sizes", "block_size"), [((3,), None), ((3, 9), 4), ((8, 2, 5), None)]
)
def test_many_features_are_as_in_the_oracle(sizes, block_size):
    z, labels = wide_case(2, 5)
    adjuster = GradientAdjuster(sizes, 0.09, tentative_step=3.0)
    theta = adjuster.init(jax.random.key(0), WIDE)
    want = oracles.gal.gal(
        layers_of(theta),
        np.asarray(z),
        oracles.gal.cross_entropy(labels),
        3.0,
        0.09,
    )
    got, to_z = jax.jit(taught, static_argnums=0, static_argnames="block_size")(
        adjuster, theta, z, labels, block_size=block_size
    )
    np.testing.assert_allclose(to_z, want["z"], rtol=1e-9, atol=1e-15)
    for ours, theirs in zip(layers_of(got), want["theta"], strict=True):
        for one, other in zip(ours, theirs, strict=True):
            scale = np.abs(other).max()
            assert scale > 0
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("sizes", "mapped"), [((3,), False), ((5, 4), True)])
def test_many_features_with_an_activation(sizes, mapped):
    # A network of one's own has JAX's own pullback.
    z, labels = wide_case(2, 5)
    ours = GradientAdjuster(sizes, 0.09, activation=jnp.tanh)
    theta = ours.init(jax.random.key(0), WIDE)

    def by_hand(theta, x):
        for index in range(len(theta)):
            x = x if index == 0 else jnp.tanh(x)
            layer = theta[f"layer_{index}"]
            x = jnp.einsum("...i,io->...o", x, layer["kernel"])
            x += jnp.expand_dims(layer["bias"], tuple(range(x.ndim - 1)))
        return x

    theirs = GradientAdjuster((), 0.09, network=(lambda k, z: theta, by_hand))
    got, want = (
        jax.jit(jax.vmap(each, (None, 0, 0)) if mapped else each)(
            theta, z, labels
        )
        for each in (
            functools.partial(taught, ours),
            functools.partial(taught, theirs),
        )
    )
    for one, other in zip(
        jax.tree.leaves(got), jax.tree.leaves(want), strict=True
    ):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.usual_compilation
@pytest.mark.parametrize(
    "kind", [AxisType.Auto, AxisType.Explicit, AxisType.Manual]
)
def test_many_features_on_a_mesh(kind):
    z, labels = wide_case(4, 3, dtype=np.float32)
    adjuster = GradientAdjuster((8, 4), 0.09, tentative_step=3.0)
    theta = adjuster.init(jax.random.key(0), WIDE)
    hot = jax.nn.one_hot(labels, WIDE)
    want = jax.jit(in_one_hot, static_argnums=0)(adjuster, theta, z, hot)
    if kind == AxisType.Manual:
        mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
        shards = dataclasses.replace(adjuster, axis_name="data")
        got = jax.jit(
            jax.shard_map(
                functools.partial(in_one_hot, shards),
                mesh=mesh,
                in_specs=(P(), P("data"), P("data")),
                out_specs=(P(), P("data")),
            )
        )(theta, z, hot)
    else:
        mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2)
        with jax.set_mesh(mesh):
            split = NamedSharding(mesh, P("data", None, "model"))
            placed = [jax.device_put(each, split) for each in (z, hot)]
            got = jax.jit(in_one_hot, static_argnums=0)(
                adjuster, theta, *placed
            )
    for one, other in zip(
        jax.tree.leaves(got), jax.tree.leaves(want), strict=True
    ):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * scale)


def in_one_hot(adjuster, theta, z, hot):
    """The same as ``taught``, of labels that a mesh splits as the features."""
    return jax.grad(
        lambda theta, z: adjuster.loss(
            theta, z, lambda z: -jnp.sum(hot * jax.nn.log_softmax(z), axis=-1)
        )[0],
        argnums=(0, 1),
    )(theta, z)


@pytest.mark.skipif(
    jax.__version_info__ < (0, 10, 2),
    reason="other versions of XLA lay out products as they like",
)
@pytest.mark.usual_compilation
@pytest.mark.parametrize(("activation", "width"), [(None, 8), (jax.nn.relu, 4)])
def test_theta_has_no_row_for_each_of_many_features(activation, width):
    # Such products, a transposed copy of the slopes, and their sum took as long
    # as all the rest of the method. Layers are joined to the narrowest.
    sizes = (32, 8) if activation is None else (width, 8)
    adjuster = GradientAdjuster(sizes, activation=activation)
    theta = jax.eval_shape(lambda k: adjuster.init(k, WIDE), jax.random.key(0))
    z = jax.ShapeDtypeStruct((2, 32, WIDE), jnp.float32)
    labels = jax.ShapeDtypeStruct((2, 32), jnp.int32)
    lowered = jax.jit(functools.partial(taught, adjuster)).lower(
        theta, z, labels
    )
    assert not re.findall(
        rf"stablehlo.reduce.*dimensions = \[0, 1\].*-> tensor<{WIDE}xf32>",
        lowered.as_text(),
    )
    compiled = lowered.compile().as_text()
    assert f"f32[2,32,{WIDE}]" in compiled
    assert f"f32[{WIDE},64]" not in compiled
    over_examples = r"dot\([^\n]*lhs_contracting_dims=\{0\}"
    assert not re.search(
        rf"= f32\[{WIDE},{width}\]\S* {over_examples}", compiled
    )
