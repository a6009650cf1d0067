"""The default network: linear layers, joined where that is cheaper."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxmods import GradientAdjuster

D = 6


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
@pytest.mark.parametrize("examples", [1, 9, 100])
@pytest.mark.parametrize(
    "sizes", [(), (4,), (9, 3), (3, 9), (8, 2, 5), (5, 5, 5, 2)]
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
