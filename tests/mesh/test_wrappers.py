"""Wrappers, ensembles and Flax's loops on a mesh, as on one device."""

import functools

import chex
from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from optaxmods import (
    GalState,
    GradientAdjuster,
    adamw_agr,
    adan_agr,
    agr,
    agr_coefficients,
    gal,
    with_lga,
)
from optaxmods.flax import TrainState
from tests.helpers.split_matrices import (
    AUTO,
    EXPLICIT,
    SPECS,
    draw,
    make_mesh,
    put,
)
from tests.helpers.transformations import TRANSFORMATIONS

MASK = [True, False] * (len(SPECS) // 2)


def ours():
    return adan_agr(1e-2, weight_decay=0.1)


WRAPPED = {
    "MultiSteps": lambda: optax.MultiSteps(ours(), 2).gradient_transformation(),
    "masked": lambda: optax.masked(ours(), MASK),
    "partition": lambda: optax.partition(
        {True: ours(), False: optax.sgd(0.1)}, MASK
    ),
    "selective_transform": lambda: optax.selective_transform(
        ours(), freeze_mask=MASK
    ),
    "apply_if_finite": lambda: optax.apply_if_finite(ours(), 3),
    "inject_hyperparams": lambda: optax.inject_hyperparams(adan_agr)(
        optax.linear_schedule(1e-3, 1e-2, 2), strength=0.5
    ),
}


def assert_close(got, want):
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-6)


def steps(tx, params, count=2):
    """From initialization on: the last updates, and the state then."""
    state = tx.init(params)
    for _ in range(count):
        updates, state = tx.update(params, state, params)
        params = optax.apply_updates(params, updates)
    return updates, state


@pytest.mark.parametrize("axis_type", [AUTO, EXPLICIT])
@pytest.mark.parametrize("name", WRAPPED)
def test_inside_a_wrapper(name, axis_type):
    # Of MultiSteps every second one is a step of what it wraps.
    count = 4 if name == "MultiSteps" else 2
    train = jax.jit(functools.partial(steps, WRAPPED[name](), count=count))
    params = draw()
    want = train(params)
    mesh = make_mesh(axis_type, axis_type)
    with jax.set_mesh(mesh):
        sharded = put(params, mesh)
        got = train(sharded)
    assert_close(got, want)
    if axis_type == EXPLICIT:
        specs = [leaf.sharding.spec for leaf in got[0]]
        assert specs == [leaf.sharding.spec for leaf in sharded]


@pytest.mark.parametrize("name", ["agr", "adamw_agr", "chain", "lga"])
def test_an_ensemble_that_the_mesh_splits(name):
    train = jax.jit(jax.vmap(functools.partial(steps, TRANSFORMATIONS[name]())))
    params = draw(6)[4:]
    want = train(params)
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    with jax.set_mesh(mesh):
        specs = [P("data", None, "model"), P("data", None, None)]
        got = train(put(params, mesh, specs))
    assert_close(got, want)


@pytest.mark.skipif(
    jax.__version_info__ < (0, 10),
    reason="jnp.where refuses what the mesh splits beside what it does not",
)
def test_an_ensemble_of_theta_whose_gradients_are_not_all_split():
    # Those of the first layer are the same number in each model.
    adjuster = GradientAdjuster((4,))
    tx = gal(adjuster, 3)

    def step(theta):
        state = GalState(theta, optax.adam(1e-3).init(theta))
        constant = jax.tree.map(jnp.ones_like, theta["layer_0"])
        grads = theta | {"layer_0": constant}
        return tx.update({}, state, adjuster_grads=grads)[1]

    step = jax.jit(jax.vmap(step))
    keys = jax.random.split(jax.random.key(0), 8)
    thetas = jax.vmap(lambda key: adjuster.init(key, 3))(keys)
    want = step(thetas)
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    with jax.set_mesh(mesh):
        got = step(jax.tree.map(lambda x: jax.device_put(x, P("data")), thetas))
    assert_close(got, want)


@pytest.mark.parametrize(
    "adjusted",
    [
        lambda gradient: agr().update([gradient], optax.EmptyState())[0][0],
        lambda gradient: agr_coefficients([gradient])[0],
        lambda gradient: steps(adamw_agr(1e-2), [gradient])[0][0],
    ],
    ids=["agr", "agr_coefficients", "adamw_agr"],
)
@pytest.mark.parametrize("jit", [jax.jit, lambda function: function])
def test_a_gradient_that_an_ensemble_closes_over(jit, adjusted):
    # It is no argument of the mapped function; the mesh splits it all the same.
    scales, (gradient,) = np.arange(8.0), draw(1)
    want = scales * np.sum(adjusted(jnp.asarray(gradient, jnp.float32)))
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    with jax.set_mesh(mesh):
        (gradient,) = put([gradient], mesh, [P("data", "model")])
        (scales,) = put([scales], mesh, [P("data")])
        got = jit(jax.vmap(lambda scale: jnp.sum(adjusted(gradient)) * scale))(
            scales
        )
    assert_close(got, want)


def linen_steps(params):
    state = TrainState.create(
        apply_fn=None, params=params, tx=with_lga(ours(), 1e-3, status_every=1)
    )

    @jax.jit
    def step(state):
        loss = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state.params))
        return state.apply_gradients(
            grads=state.params, extra_args={"value": loss}
        )

    return step(step(state)).params


def nnx_steps(params):
    model = nnx.Linear(8, 8, rngs=nnx.Rngs(0))
    nnx.update(model, params)
    optimizer = nnx.Optimizer(
        model, with_lga(ours(), 1e-3, status_every=1), wrt=nnx.Param
    )

    @nnx.jit
    def step(model, optimizer):
        grads = nnx.state(model, nnx.Param)
        loss = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(grads))
        optimizer.update(model, grads, value=loss)

    step(model, optimizer)
    step(model, optimizer)
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


@pytest.mark.parametrize("axis_type", [AUTO, EXPLICIT])
@pytest.mark.parametrize("train", [linen_steps, nnx_steps])
def test_in_flax(train, axis_type):
    params = {"kernel": jnp.asarray(draw(1)[0]), "bias": jnp.arange(8.0)}
    specs = {"kernel": P("data", "model"), "bias": P("model")}
    want = train(params)
    with jax.set_mesh(make_mesh(axis_type, axis_type)):
        sharded = jax.tree.map(jax.device_put, params, specs)
        got = train(sharded)
    assert_close(got, want)
    for name, leaf in got.items():
        assert leaf.sharding.is_equivalent_to(sharded[name].sharding, leaf.ndim)
