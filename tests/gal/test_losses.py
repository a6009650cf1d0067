"""The losses of GAL's objective: their derivatives of every kind."""

import functools

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
import optax
import pytest

from optaxmods import GradientAdjuster
from tests.helpers.gal_problem import (
    ADJUSTER,
    INPUTS,
    LABELS,
    THETA,
    WEIGHTS,
    D,
    N,
    assert_close,
    expected,
)
from tests.helpers.wide import enable_x64


@pytest.mark.parametrize("labels", ["integer", "float", "tree"])
def test_labels_closed_over_or_traced(labels):
    given = {
        "integer": LABELS,
        "float": jax.nn.one_hot(LABELS, D),
        "tree": {"labels": LABELS, "smoothing": jnp.float32(0.0)},
    }[labels]

    def loss_of(logits, given):
        if labels == "tree":
            given = given["labels"] + 0 * given["smoothing"].astype(int)
        if labels == "float":
            return optax.softmax_cross_entropy(logits, given)
        return optax.softmax_cross_entropy_with_integer_labels(logits, given)

    def step(weights, given):
        return ADJUSTER.loss(
            THETA, INPUTS @ weights, lambda z: loss_of(z, given)
        )[0]

    want = expected()[1][0]
    assert_close(jax.jit(jax.grad(step))(WEIGHTS, given), want)
    assert_close(jax.jit(jax.grad(lambda w: step(w, given)))(WEIGHTS), want)


def test_closed_over_values_get_their_plain_gradient():
    # A scalar regressor adjusts its last hidden layer; its output layer is
    # in the loss.
    output = jnp.asarray([1.0, -2.0, 0.5, 1.0, 3.0])
    targets = jnp.arange(float(N))

    def make_loss(output):
        return lambda hidden: (hidden @ output - targets) ** 2

    def adjusted(output):
        hidden = INPUTS @ WEIGHTS
        return ADJUSTER.loss(THETA, hidden, make_loss(output))[0]

    def plain(output):
        return make_loss(output)(INPUTS @ WEIGHTS).mean()

    assert_close(jax.grad(adjusted)(output), jax.grad(plain)(output))


def scanned(function, w, xs, ys):
    """The mean over examples, one by one."""
    losses = jax.lax.map(
        lambda example: function(w, *jax.tree.map(lambda x: x[None], example)),
        (xs, ys),
    )
    return losses.mean()


INNER = {
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "scan": lambda function: functools.partial(scanned, function),
    "cond": lambda function: (
        lambda *args: jax.lax.cond(
            args[1][0, 0] < 100, function, lambda *args: 0.0, *args
        )
    ),
    "shard_map": lambda function: jax.jit(
        jax.shard_map(
            function,
            mesh=jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,)),
            in_specs=P(),
            out_specs=P(),
        )
    ),
}


@pytest.mark.parametrize("given", ["labels", "a mask", "a key"])
@pytest.mark.parametrize("inner", INNER)
def test_derivatives_from_outside(inner, given):
    # What the loss closes over is traced inside, and differentiated outside.
    def loss_of(logits, labels):
        if given == "labels":
            return optax.softmax_cross_entropy_with_integer_labels(
                logits, labels
            )
        if given == "a mask":
            logits = jnp.where(labels, logits, 0)
        else:
            noise = jax.vmap(lambda key: jax.random.normal(key, (D,)))
            logits = logits + noise(labels)
        return jnp.sum(logits**2, axis=-1)

    def mean(weights, inputs, labels):
        return ADJUSTER.loss(
            THETA, inputs @ weights, lambda z: loss_of(z, labels)
        )[0]

    labels = {
        "labels": LABELS,
        "a mask": INPUTS @ WEIGHTS > 0,
        "a key": jax.random.split(jax.random.key(3), N),
    }[given]
    got = jax.grad(INNER[inner](mean))(WEIGHTS, INPUTS, labels)
    assert_close(got, jax.jit(jax.grad(mean))(WEIGHTS, INPUTS, labels))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_losses_of_another_dtype_than_the_features(dtype):
    def adjusted(weights):
        return ADJUSTER.loss(
            THETA,
            INPUTS @ weights,
            lambda z: optax.softmax_cross_entropy(
                z.astype(dtype), jax.nn.one_hot(LABELS, D, dtype=dtype)
            ),
        )[0]

    with enable_x64(dtype == "float64"):
        got = jax.jit(jax.grad(adjusted))(WEIGHTS)
    _, (want, _) = expected()
    eps = max(float(jnp.finfo(dtype).eps), 1e-6)
    chex.assert_trees_all_close(got, want, rtol=20 * eps, atol=4 * eps)


def test_second_derivatives_are_those_of_the_loss():
    # In the features, in what the loss closes over, and between the two.
    adjuster = GradientAdjuster((4,), accept="never")
    output = jnp.asarray([1.0, -2.0, 0.5, 1.0, 3.0])
    targets = jnp.arange(float(N))

    def make_loss(output):
        return lambda hidden: jnp.cosh(hidden @ output - targets / N)

    def adjusted(weights, output):
        hidden = INPUTS @ weights
        return adjuster.loss(THETA, hidden, make_loss(output))[0]

    def plain(weights, output):
        return make_loss(output)(INPUTS @ weights).mean()

    got, want = (
        jax.jit(jax.hessian(objective, argnums=(0, 1)))(WEIGHTS, output)
        for objective in (adjusted, plain)
    )
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-5)


def test_labels_with_an_infinite_slope():
    # That of the square root at 0, along which nobody moves.
    @jax.jit
    def slope(probabilities):
        def loss_fn(logits):
            cross = jnp.sqrt(probabilities) * jax.nn.log_softmax(logits)
            return -jnp.sum(cross, axis=-1)

        def adjusted(weights):
            return ADJUSTER.loss(THETA, INPUTS @ weights, loss_fn)[0]

        return jax.jvp(adjusted, (WEIGHTS,), (WEIGHTS,))[1]

    _, (want, _) = expected()
    assert_close(slope(jax.nn.one_hot(LABELS, D)), jnp.vdot(want, WEIGHTS))
