"""``nnx.Optimizer`` with every transformation, and GAL's two routes in it."""

import chex
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, agr, gal, lga
from tests.helpers.losses import cross_entropy
from tests.helpers.transformations import (
    TRANSFORMATIONS,
    make_params,
    make_updates,
    steps,
)


class Leaves(nnx.Module):
    """The tree of make_params as a model."""

    def __init__(self, tree):
        self.dense = nnx.Dict(
            {name: nnx.Param(leaf) for name, leaf in tree["dense"].items()}
        )
        self.stack = nnx.List([nnx.Param(leaf) for leaf in tree["stack"]])
        self.scale = nnx.Param(tree["scale"])


def assert_same(got, want, rtol=1e-6):
    """The same arrays but for rounding: XLA fuses each program its own way."""
    for ours, theirs in zip(
        jax.tree.leaves(got), jax.tree.leaves(want), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_loop_is_the_plain_one(name):
    tx, params = TRANSFORMATIONS[name](), make_params()
    model = Leaves(params)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = nnx.state(optimizer)

    @nnx.jit
    @chex.assert_max_traces(n=1)
    def step(model, optimizer, gradients):
        optimizer.update(model, gradients)

    chex.clear_trace_counter()  # It counts by name, over all tests.
    for number in range(4):
        gradients = nnx.state(Leaves(make_updates(params, number)))
        step(model, optimizer, gradients)
    after = nnx.state(optimizer)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, before)
    want, want_state = steps(tx, params, 4)
    assert_same(nnx.state(model), want)
    assert_same(optimizer.opt_state, want_state)
    assert optimizer.step[...] == 4


INPUTS = make_updates(jnp.ones((12, 5)))
LABELS = jnp.arange(12) % 3
WEIGHTS = jnp.linspace(0.5, 1.5, 12)
ADJUSTER = GradientAdjuster(hidden_sizes=(4,), magnitude=0.05)


class Network(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(5, 8, rngs=rngs)
        self.output = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.output(jnp.tanh(self.hidden(x)))


def logits_of(params):
    """Network without Flax, of the dictionary of its arrays."""
    hidden, output = params["hidden"], params["output"]
    x = jnp.tanh(INPUTS @ hidden["kernel"] + hidden["bias"][None])
    return x @ output["kernel"] + output["bias"][None]


losses_of = cross_entropy(LABELS)


def every_method():
    # Steps of SGD keep the errors of rounding as small as they come.
    return optax.chain(
        gal(ADJUSTER, 3, optimizer=optax.sgd(0.1)),
        lga(1e-3, status_every=2),
        agr(),
        optax.sgd(0.1, momentum=0.9),
    )


def plain_loop(params, count):
    """GAL by the loss, in plain optax: parameters, theta and the losses."""
    tx = every_method()
    state, losses = tx.init(params), []

    @jax.jit
    def step(params, state, number):
        def objective(params, theta):
            return ADJUSTER.loss(
                theta,
                logits_of(params),
                losses_of,
                tentative_step=1 / number,
                example_weights=WEIGHTS,
            )

        grad_fn = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
        (loss, _), (grads, taught) = grad_fn(params, adjuster_params(state))
        updates, state = tx.update(
            grads, state, params, adjuster_grads=taught, value=loss
        )
        return optax.apply_updates(params, updates), state, loss

    for number in range(1, count + 1):
        params, state, loss = step(params, state, jnp.float32(number))
        losses.append(loss)
    return params, adjuster_params(state), losses


def by_the_loss(model, optimizer, number):
    def objective(model, theta):
        return ADJUSTER.loss(
            theta,
            model(INPUTS),
            losses_of,
            tentative_step=1 / number,
            example_weights=WEIGHTS,
        )

    grad_fn = nnx.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    theta = adjuster_params(optimizer.opt_state)
    (loss, _), (grads, taught) = grad_fn(model, theta)
    optimizer.update(model, grads, adjuster_grads=taught, value=loss)
    return loss


def directly(model, optimizer, number):
    graphdef, params, rest = nnx.split(model, optimizer.wrt, ...)

    def features_of(params):
        return nnx.merge(graphdef, params, rest, copy=True)(INPUTS)

    def mean_of(features):
        return jnp.average(losses_of(features), weights=WEIGHTS)

    features, pullback = jax.vjp(features_of, params)
    loss, slopes = jax.value_and_grad(mean_of)(features)
    (grads,) = pullback(slopes)
    optimizer.update(
        model,
        grads,
        features=features,
        loss_fn=losses_of,
        pullback=pullback,
        tentative_step=1 / number,
        example_weights=WEIGHTS,
        value=loss,
    )
    return loss


@pytest.mark.parametrize("route", [by_the_loss, directly])
def test_gal_by_either_route(route):
    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, every_method(), wrt=nnx.Param)
    before = nnx.state(optimizer)
    params = nnx.to_pure_dict(nnx.state(model))
    first = adjuster_params(optimizer.opt_state)
    step = nnx.jit(route)
    losses = [step(model, optimizer, jnp.float32(k)) for k in (1, 2, 3, 4)]
    after = nnx.state(optimizer)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    want, want_theta, want_losses = plain_loop(params, 4)
    theta = adjuster_params(optimizer.opt_state)
    # A few roundings of float32, over four steps.
    assert_same(nnx.to_pure_dict(nnx.state(model)), want, rtol=1e-5)
    assert_same(theta, want_theta, rtol=1e-5)
    assert_same(losses, want_losses, rtol=1e-5)
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), theta, first)
    assert min(jax.tree.leaves(moved)) > 1e-4


def test_a_part_of_the_model_is_trained():
    model = Network(nnx.Rngs(0))
    head = nnx.All(nnx.Param, nnx.PathContains("output"))
    optimizer = nnx.Optimizer(model, every_method(), wrt=head)
    before = nnx.to_pure_dict(nnx.state(model))
    nnx.jit(directly)(model, optimizer, jnp.float32(1))
    after = nnx.to_pure_dict(nnx.state(model))
    chex.assert_trees_all_equal(after["hidden"], before["hidden"])
    for name in ("kernel", "bias"):
        assert jnp.all(after["output"][name] != before["output"][name])


def test_theta_comes_out_in_plain_arrays():
    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, every_method(), wrt=nnx.Param)
    theta = adjuster_params(optimizer.opt_state)
    leaves = jax.tree.leaves(
        theta, is_leaf=lambda node: isinstance(node, nnx.Variable)
    )
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    params = nnx.to_pure_dict(nnx.state(model))
    plain = adjuster_params(every_method().init(params))
    chex.assert_trees_all_equal(theta, plain)
