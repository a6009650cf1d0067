"""GAL and LGA with examples that two axes of a shard_map split."""

import functools

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, gal, lga

D, N, K = 5, 16, 3
AXES = ("data", "model")
KEYS = jax.random.split(jax.random.key(0), 4)
INPUTS = jax.random.normal(KEYS[0], (N, K))
LABELS = jax.random.randint(KEYS[1], (N,), 0, D)
KERNEL = jax.random.normal(KEYS[2], (K, D))
# One device has padding alone.
WEIGHTS = jnp.arange(N, dtype=jnp.float32).at[:2].set(0.0) / N


def losses_of(labels):
    return lambda z: optax.softmax_cross_entropy_with_integer_labels(z, labels)


def make(convention, axis_name):
    return GradientAdjuster(
        (4,),
        0.09,
        tentative_step=2.0,
        convention=convention,
        axis_name=axis_name,
    )


def mean_over(values, weights, axis_name):
    total, count = jnp.sum(weights * values), jnp.sum(weights)
    if axis_name:
        total, count = jax.lax.psum((total, count), axis_name)
    return total / count


def through_the_loss(adjuster, check_vma, inputs, labels, weights):
    theta = adjuster.init(KEYS[3], D)

    def objective(kernel, theta):
        return adjuster.loss(
            theta, inputs @ kernel, losses_of(labels), example_weights=weights
        )

    grad = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    result, grads = grad(KERNEL, theta)
    if adjuster.axis_name and not check_vma:
        grads = jax.lax.pmean(grads, adjuster.axis_name)
    return result, grads


def in_the_update(adjuster, check_vma, inputs, labels, weights):
    tx = gal(adjuster, D, optimizer=optax.sgd(1.0), key=KEYS[3])

    def features(kernel):
        return inputs @ kernel

    def plain(kernel):
        losses = losses_of(labels)(features(kernel))
        return mean_over(losses, weights, adjuster.axis_name)

    grads = jax.grad(plain)(KERNEL)
    if adjuster.axis_name and not check_vma:
        grads = jax.lax.pmean(grads, adjuster.axis_name)
    z, pullback = jax.vjp(features, KERNEL)
    updates, state = tx.update(
        grads,
        tx.init(KERNEL),
        features=z,
        loss_fn=losses_of(labels),
        pullback=pullback,
        example_weights=weights,
    )
    return updates, adjuster_params(state)


@functools.cache
def expected(route, convention):
    step = functools.partial(route, make(convention, None), True)
    return jax.jit(step)(INPUTS, LABELS, WEIGHTS)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize("route", [through_the_loss, in_the_update])
def test_weighted_examples_over_two_axes(route, convention, check_vma):
    mesh = jax.make_mesh((4, 2), AXES, axis_types=(AxisType.Auto,) * 2)
    mapped = jax.shard_map(
        functools.partial(route, make(convention, AXES), check_vma),
        mesh=mesh,
        in_specs=(P(AXES),) * 3,
        out_specs=P(),
        check_vma=check_vma,
    )
    chex.assert_trees_all_close(
        jax.jit(mapped)(INPUTS, LABELS, WEIGHTS),
        expected(route, convention),
        rtol=2e-4,
        atol=1e-6,
    )


def test_lga_averages_the_loss_over_two_axes():
    losses = jnp.arange(8.0)
    gradient = jnp.array([1.0, -0.5])

    def step(tx, loss):
        updates, state = tx.update(gradient, tx.init(gradient), value=loss)
        return updates, optax.tree.get(state, "lga_omega")

    mapped = jax.shard_map(
        lambda loss: step(lga(1e-2, status_every=1, axis_name=AXES), loss[0]),
        mesh=jax.make_mesh((4, 2), AXES, axis_types=(AxisType.Auto,) * 2),
        in_specs=P(AXES),
        out_specs=P(),
    )
    want = step(lga(1e-2, status_every=1), losses.mean())
    chex.assert_trees_all_close(jax.jit(mapped)(losses), want, rtol=1e-6)
    assert want[1] > 0
