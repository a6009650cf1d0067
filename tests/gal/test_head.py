"""GAL with the last layer inside: what is particular to the layer.

Under JAX's transformations, on meshes and in other dtypes it is tried together
with blocks of logits.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optaxmods import GradientAdjuster
from tests import oracles
from tests.helpers.gal_blocks import (
    ADJUSTER,
    HEAD,
    SHAPES,
    THETA,
    D,
    K,
    by_hidden,
    by_logits,
    cross_entropy,
    drawn,
    gradients,
    overshot,
)
from tests.helpers.gal_problem import assert_close
from tests.helpers.gal_theta import layers_of


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("step", "name"), [(0.03, "even"), (3.0, "uneven")])
def test_the_layer_s_gradients_are_the_oracle_s_pulled_back(step, name):
    hidden, labels, weights = drawn(SHAPES[name])
    (loss, _), (to_head, to_hidden, _) = gradients(
        by_hidden,
        jnp.float64(HEAD),
        jnp.float64(hidden),
        THETA,
        labels=labels,
        adjuster=GradientAdjuster((4, 3), 0.09, step),
        loss_fn=cross_entropy,
        example_weights=jnp.float64(weights),
        block_size=4,
    )
    states, head = np.float64(hidden), np.float64(HEAD)
    want = oracles.gal.gal(
        layers_of(THETA),
        states @ head,
        oracles.gal.cross_entropy(labels),
        step,
        0.09,
        weights=np.float64(weights),
    )
    np.testing.assert_allclose(loss, want["loss"], rtol=1e-6)
    np.testing.assert_allclose(
        to_hidden, want["z"] @ head.T, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        to_head,
        states.reshape(-1, K).T @ want["z"].reshape(-1, D),
        rtol=1e-4,
        atol=1e-6,
    )


def shuffled(params, bias, hidden):
    """A layer of several leaves, integers among them."""
    kernel = params["kernel"][:, params["order"]].astype(hidden.dtype)
    return hidden @ kernel + jnp.broadcast_to(bias, (*hidden.shape[:-1], D))


@pytest.mark.parametrize(
    ("name", "dtype", "block_size"),
    [
        ("even", "bfloat16", 4),
        ("uneven", "float32", 4),
        ("uneven", "float32", None),
    ],
)
def test_params_of_every_kind(name, dtype, block_size):
    hidden, labels, _ = drawn(SHAPES[name])
    others = {"order": jnp.array([1, 0, 3, 2, 4]), "key": jax.random.key(0)}
    inputs = HEAD, hidden.astype(dtype), jnp.arange(D, dtype=dtype) / 8

    def inside(head, hidden, bias):
        # The layer closes over its bias.
        return ADJUSTER.loss(
            THETA,
            hidden,
            overshot,
            targets=labels,
            head=(
                lambda params, hidden: shuffled(params, bias, hidden),
                {"kernel": head, **others},
            ),
            block_size=block_size,
        )[0]

    def outside(head, hidden, bias):
        logits = shuffled({"kernel": head, **others}, bias, hidden)
        return ADJUSTER.loss(THETA, logits, lambda z: overshot(z, labels))[0]

    def plain(head, hidden, bias):
        logits = shuffled({"kernel": head, **others}, bias, hidden)
        return overshot(logits.astype(jnp.float32), labels).mean()

    got = jax.jit(jax.grad(inside, argnums=(0, 1, 2)))(*inputs)
    adjusted = jax.jit(jax.grad(outside, argnums=(0, 1)))(*inputs)
    want = *adjusted, jax.jit(jax.grad(plain, argnums=2))(*inputs)
    chex.assert_trees_all_equal_dtypes(got, want)
    eps = max(float(jnp.finfo(dtype).eps), 1e-5)
    chex.assert_trees_all_close(got, want, rtol=8 * eps, atol=8 * eps)


def sizes(program):
    """The numbers of entries of all arrays of a traced program."""
    for equation in program.eqns:
        yield from (out.aval.size for out in equation.outvars)
        for value in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda value: hasattr(value, "eqns"),
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from sizes(inner)


def test_there_are_never_all_logits():
    hidden, labels, _ = drawn((128,))
    adjuster = GradientAdjuster(
        network=(lambda key, z: (), lambda theta, z: jnp.sin(z))
    )

    def largest(loss):
        grad = functools.partial(
            gradients, labels=labels, adjuster=adjuster, block_size=16
        )
        traced = jax.make_jaxpr(functools.partial(grad, loss))(HEAD, hidden, ())
        return max(sizes(traced.jaxpr))

    assert largest(by_logits) == 128 * D
    assert largest(by_hidden) == 128 * K


@pytest.mark.parametrize("name", SHAPES)
def test_compare(name):
    hidden, labels, weights = drawn(SHAPES[name])
    want = jax.jit(
        lambda z: ADJUSTER.compare(
            THETA, z, lambda z: overshot(z, labels), example_weights=weights
        )
    )(hidden @ HEAD)

    def compared(block_size, hidden):
        return ADJUSTER.compare(
            THETA,
            hidden,
            overshot,
            targets=labels,
            head=(lambda head, hidden: hidden @ head, HEAD),
            example_weights=weights,
            block_size=block_size,
        )

    for block_size in (4, None):
        got = jax.jit(functools.partial(compared, block_size))(hidden)
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert 0 < want < 1


def test_released_makes_the_logits_whole():
    hidden, labels, _ = drawn(SHAPES["even"])
    adjuster = GradientAdjuster((4, 3), 0.09, convention="released")
    got, want = (
        gradients(loss, HEAD, hidden, THETA, labels=labels, adjuster=adjuster)
        for loss in (by_hidden, by_logits)
    )
    assert_close(got, want)
