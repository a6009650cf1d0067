"""A whole training step, lowered for every platform, and run from that."""

import chex
import jax
import jax.export
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
import optax
import pytest

import optaxmods
from tests.helpers.losses import cross_entropy
from tests.helpers.transformations import TRANSFORMATIONS

PLATFORMS = ("cpu", "cuda", "tpu")
LABELS = jnp.array([2, 0, 1, 1])
adjuster = optaxmods.GradientAdjuster(())


def make_params():
    kernel = jnp.sin(jnp.arange(12.0)).reshape(4, 3)
    return {"kernel": kernel, "bias": jnp.ones(3)}


def features_of(params):
    """Logits [4, 3], where the inputs are the rows of a unit matrix."""
    return jnp.tanh(params["kernel"]) + params["bias"][None]


loss_fn = cross_entropy(LABELS)


def plain(tx, params, state):
    grads = jax.grad(lambda p: loss_fn(features_of(p)).mean())(params)
    return tx.update(grads, state, params)


def by_the_loss(tx, params, state):
    def objective(params, theta):
        return adjuster.loss(theta, features_of(params), loss_fn)

    grads, adjuster_grads = jax.grad(objective, argnums=(0, 1), has_aux=True)(
        params, optaxmods.adjuster_params(state)
    )[0]
    return tx.update(grads, state, params, adjuster_grads=adjuster_grads)


def directly(tx, params, state):
    features, pullback = jax.vjp(features_of, params)
    grads = jax.grad(lambda p: loss_fn(features_of(p)).mean())(params)
    return tx.update(
        grads,
        state,
        params,
        features=features,
        loss_fn=loss_fn,
        pullback=pullback,
    )


def with_gal():
    return optax.chain(optaxmods.gal(adjuster, 3), optaxmods.adamw_agr(1e-2))


CASES = {name: (make, plain) for name, make in TRANSFORMATIONS.items()} | {
    "gal by the loss": (with_gal, by_the_loss),
    "gal directly": (with_gal, directly),
}


def flat_step(tx, update, params):
    """A step from leaves to leaves, which need no registered classes."""
    treedef = jax.tree.structure((params, jax.eval_shape(tx.init, params)))

    @jax.jit
    def step(leaves):
        params, state = treedef.unflatten(leaves)
        updates, state = update(tx, params, state)
        return jax.tree.leaves((optax.apply_updates(params, updates), state))

    return step, jax.tree.leaves((params, tx.init(params)))


def exported(step, leaves):
    """The step as StableHLO, which its ``call`` runs."""
    portable = jax.export.export(step, platforms=PLATFORMS)(leaves)
    assert portable.platforms == PLATFORMS
    return portable


def assert_agree(got, want):
    # The two programs are fused, and so rounded, each in its own way.
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_a_step_for_every_platform(name):
    make, update = CASES[name]
    step, leaves = flat_step(make(), update, make_params())
    portable = exported(step, leaves)
    assert_agree(portable.call(leaves), step(leaves))


every_mesh = pytest.mark.parametrize(
    "axis_type", [AxisType.Auto, AxisType.Explicit]
)


@every_mesh
def test_a_step_on_a_mesh(axis_type):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    tx = optaxmods.adan_agr(1e-2)
    params = jnp.sin(jnp.arange(8.0)).reshape(4, 2)

    def update(tx, params, state):
        grads = jax.grad(lambda p: jnp.sum(jnp.tanh(p) ** 2))(params)
        return tx.update(grads, state, params)

    step, leaves = flat_step(tx, update, params)
    want = step(leaves)
    with jax.set_mesh(mesh):
        split = jax.device_put(params, P("data", "model"))
        step, leaves = flat_step(tx, update, split)
        portable = exported(step, leaves)
        assert portable.nr_devices == 8
        got = portable.call(leaves)
    assert got[0].sharding.is_equivalent_to(split.sharding, 2)
    assert_agree(got, want)


@every_mesh
@pytest.mark.parametrize(
    "name", ["agr", "adan_agr", "with_lga", "gal by the loss", "gal directly"]
)
def test_every_method_on_a_mesh(name, axis_type):
    make, update = CASES[name]
    step, leaves = flat_step(make(), update, make_params())
    want = step(leaves)
    mesh = jax.make_mesh(
        (2, 2),
        ("data", "model"),
        axis_types=(axis_type,) * 2,
        devices=jax.devices()[:4],
    )
    with jax.set_mesh(mesh):
        # The classes stay whole: explicit axes pick no label out of a split.
        specs = {"kernel": P(("data", "model"), None), "bias": P(None)}
        split = jax.tree.map(jax.device_put, make_params(), specs)
        step, leaves = flat_step(make(), update, split)
        portable = exported(step, leaves)
        assert portable.nr_devices == 4
        got = portable.call(leaves)
    for leaf, param in zip(got[:2], jax.tree.leaves(split), strict=True):
        assert leaf.sharding.is_equivalent_to(param.sharding, leaf.ndim)
    assert_agree(got, want)
