"""GAL under JAX's transformations, on meshes, and where numbers break."""

import functools

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, gal
from tests.helpers.gal_problem import (
    ADJUSTER,
    INPUTS,
    LABELS,
    THETA,
    WEIGHTS,
    D,
    K,
    assert_close,
    expected,
    gradients,
    objective,
)
from tests.helpers.losses import cross_entropy


def test_without_jit():
    assert_close(gradients(), expected())


def test_vmap_over_seeds():
    keys = jax.random.split(jax.random.key(7), 3)
    thetas = jax.vmap(lambda key: ADJUSTER.init(key, D))(keys)
    grad = jax.grad(lambda t: objective(WEIGHTS, t, INPUTS, LABELS)[0])
    together = jax.jit(jax.vmap(grad))(thetas)
    for index in range(3):
        mine = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        alone = jax.jit(grad)(ADJUSTER.init(keys[index], D))
        assert_close(mine, alone)


def test_scan_over_micro_batches_is_the_big_batch():
    def body(total, part):
        _, grads = gradients(*part)
        return jax.tree.map(jnp.add, total, grads), None

    parts = INPUTS.reshape(4, 2, K), LABELS.reshape(4, 2)
    _, want = expected()
    total, _ = jax.lax.scan(body, jax.tree.map(jnp.zeros_like, want), parts)
    assert_close(jax.tree.map(lambda x: x / 4, total), want)


def test_rematerialization():
    remat = jax.checkpoint(lambda w, t: objective(w, t, INPUTS, LABELS)[0])
    assert_close(jax.grad(remat, argnums=(0, 1))(WEIGHTS, THETA), expected()[1])


def test_forward_mode():
    tangents = jax.tree.map(jnp.ones_like, (WEIGHTS, THETA))
    _, along = jax.jvp(
        lambda w, t: objective(w, t, INPUTS, LABELS)[0],
        (WEIGHTS, THETA),
        tangents,
    )
    want = jax.tree.reduce(
        jnp.add, jax.tree.map(jnp.vdot, expected()[1], tangents)
    )
    np.testing.assert_allclose(along, want, rtol=1e-4)


def test_loss_scaling():
    _, want = expected()
    scaled = jax.grad(
        lambda w, t: 1024 * objective(w, t, INPUTS, LABELS)[0], argnums=(0, 1)
    )(WEIGHTS, THETA)
    assert_close(jax.tree.map(lambda x: x / 1024, scaled), want)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_a_batch_split_over_a_mesh(axis_type):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        inputs = jax.device_put(INPUTS, NamedSharding(mesh, P("data", None)))
        labels = jax.device_put(LABELS, NamedSharding(mesh, P("data")))
        # JAX 0.7.2 differentiates no product with weights that are on no mesh.
        weights = jax.device_put(WEIGHTS, NamedSharding(mesh, P()))
        got = jax.jit(gradients)(inputs, labels, weights)
    assert_close(got, expected())


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("convention", ["paper", "released"])
def test_shard_map(check_vma, convention):
    adjuster = GradientAdjuster(
        (4,), 0.09, convention=convention, axis_name="data"
    )
    alone = GradientAdjuster((4,), 0.09, convention=convention)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    def step(inputs, labels):
        (loss, metrics), grads = gradients(inputs, labels, adjuster=adjuster)
        if not check_vma:  # As for any loss: nothing was summed by itself.
            grads = jax.lax.pmean(grads, "data")
        return (loss, metrics), grads

    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(P("data"), P("data")),
        out_specs=P(),
        check_vma=check_vma,
    )
    got = jax.jit(mapped)(INPUTS, LABELS)
    assert_close(got, gradients(adjuster=alone))


# Of the eight shards three have no weight, and the others' are unequal.
SHARES = jnp.array([0.0, 0, 1, 2, 0.5, 0, 3, 1])
SIGNED = jnp.array([0.0, 0, -1, 2, 0.5, 0, 3, -1])


def everything(adjuster, inputs, labels, shares):
    """Gradients by the loss, compare's share, and both direct forms."""
    by_the_loss = gradients(
        inputs, labels, adjuster=adjuster, example_weights=shares
    )
    loss_fn = cross_entropy(labels)
    tx = gal(adjuster, D, optimizer=optax.trace(0.0))
    features, pullback = jax.vjp(lambda weights: inputs @ weights, WEIGHTS)
    added, state = tx.update(
        jnp.zeros_like(WEIGHTS),
        tx.init(None)._replace(gal_theta=THETA),
        features=features,
        loss_fn=loss_fn,
        pullback=pullback,
        example_weights=shares,
    )
    directly = added, state.gal_opt_state.trace
    made, state = tx.update(
        None,
        tx.init(None)._replace(gal_theta=THETA),
        WEIGHTS,
        features=features,
        loss_fn=loss_fn,
        pullback=pullback,
        example_weights=shares,
    )
    made = made, state.gal_opt_state.trace
    better = adjuster.compare(THETA, features, loss_fn, example_weights=shares)
    return by_the_loss, directly, better, made


@pytest.mark.parametrize(
    ("convention", "check_vma", "shares"),
    [
        ("paper", True, SHARES),
        ("paper", False, -SIGNED),
        ("released", True, SIGNED),
        ("released", False, SHARES),
        ("released", False, -SIGNED),
    ],
)
def test_weights_split_over_two_axes(convention, check_vma, shares):
    names = ("data", "model")
    adjuster, alone = (
        GradientAdjuster((4,), 0.09, convention=convention, axis_name=axes)
        for axes in (names, None)
    )
    mesh = jax.make_mesh((4, 2), names, axis_types=(AxisType.Auto,) * 2)

    def step(*parts):
        (metrics, grads), *rest = everything(adjuster, *parts)
        if not check_vma:
            grads = jax.lax.pmean(grads, names)
        return (metrics, grads), *rest

    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(P(names),) * 3,
        out_specs=P(),
        check_vma=check_vma,
    )
    got = jax.jit(mapped)(INPUTS, LABELS, shares)
    want = jax.jit(functools.partial(everything, alone))(INPUTS, LABELS, shares)
    assert_close(got, want)
    (_, metrics), (_, to_theta) = want[0]
    assert metrics["acceptance"] > 0
    assert optax.tree.norm(want[1][0]) > 1e-2
    assert optax.tree.norm(to_theta) > 1e-3
    assert 0 < want[2] < 1


def test_rows_without_a_gradient():
    # Float labels that the softmax meets exactly.
    logits = jnp.zeros((2, D))
    labels = jnp.full((2, D), 1 / D).at[1].set(jax.nn.one_hot(0, D))

    def loss(logits, theta):
        return ADJUSTER.loss(
            theta, logits, lambda z: optax.softmax_cross_entropy(z, labels)
        )

    (to_logits, to_theta), metrics = jax.grad(
        loss, argnums=(0, 1), has_aux=True
    )(logits, THETA)
    chex.assert_tree_all_finite((to_logits, to_theta, metrics))
    np.testing.assert_allclose(to_logits[0], 0.0, atol=1e-8)
    assert np.abs(to_logits[1]).max() > 0.1


def plain_gradient():
    loss = lambda z: optax.softmax_cross_entropy_with_integer_labels(  # noqa: E731
        z, LABELS
    ).mean()
    return jax.grad(lambda w: loss(INPUTS @ w))(WEIGHTS)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_network_without_a_direction(value):
    theta = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), THETA)
    (loss, metrics), (grads, to_theta) = jax.value_and_grad(
        objective, argnums=(0, 1), has_aux=True
    )(WEIGHTS, theta, INPUTS, LABELS)
    assert np.isfinite(loss)
    assert_close(grads, plain_gradient())
    np.testing.assert_allclose(metrics["cosine"], 0.0)
    if value == 0:
        assert metrics["finite"]
        chex.assert_trees_all_equal(
            to_theta, jax.tree.map(jnp.zeros_like, to_theta)
        )
    else:
        assert not metrics["finite"]


def test_no_gradient_flows_through_the_metrics():
    slope = jax.grad(
        lambda w: sum(
            jnp.float32(value)
            for value in objective(w, THETA, INPUTS, LABELS)[1].values()
        )
    )(WEIGHTS)
    np.testing.assert_array_equal(slope, 0.0)
