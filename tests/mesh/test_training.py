"""Whole training steps of a Transformer on a mesh, beside one device."""

import functools

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from optaxmods import (
    GradientAdjuster,
    adan_agr,
    adjuster_params,
    agr,
    gal,
    lga,
    scale_by_agr_adam,
    scale_by_agr_adan,
)
from tests.helpers import sharded_transformer as model
from tests.helpers.split_matrices import make_mesh
from tests.helpers.transformations import TRANSFORMATIONS

AXIS_TYPES = [AxisType.Auto, AxisType.Explicit]
ADJUSTER = GradientAdjuster((8,), 0.09, tentative_step=3.0)
THETA = {
    "layer_0": {"kernel": P("model", "data"), "bias": P("data")},
    "layer_1": {"kernel": P("data", "model"), "bias": P("model")},
}
STEPS = 2


def state_shardings(tx, params, mesh):
    """As docs/pods.rst has it."""

    def is_masked(node):
        return isinstance(node, optax.MaskedNode)

    def place(leaf, spec):
        return leaf if is_masked(leaf) else NamedSharding(mesh, spec)

    return optax.tree.map_params(
        tx,
        place,
        jax.eval_shape(tx.init, params),
        model.SPECS,
        transform_non_params=lambda leaf: NamedSharding(mesh, P()),
        is_leaf=is_masked,
    )


def assert_close(got, want, narrow=False):
    """To the rounding of sums in another order, in each leaf's dtype.

    Args:
      got: arrays.
      want: the same in one device's numbers.
      narrow: whether float32 numbers have gone into the float64 ones.
    """
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for ours, theirs in zip(
        jax.tree.leaves(got), jax.tree.leaves(want), strict=True
    ):
        is_wide = ours.dtype == jnp.float64 and not narrow
        rtol, atol = (1e-9, 1e-11) if is_wide else (1e-4, 1e-6)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def assert_shardings(tree, shardings):
    for leaf, sharding in zip(
        jax.tree.leaves(tree), jax.tree.leaves(shardings), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)


@jax.jit
def step_of_all(params, tokens, states):
    """Every transformation's updates and state, and one descent for all."""

    def loss_of(params):
        logits = model.logits_of(params, tokens[:, :-1])
        return model.cross_entropy(logits, tokens[:, 1:]).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    grads = model.split_as_params(grads)
    pairs = {
        name: optax.with_extra_args_support(make()).update(
            grads, states[name], params, value=loss.astype(jnp.float32)
        )
        for name, make in TRANSFORMATIONS.items()
    }
    params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
    updates = {name: pair[0] for name, pair in pairs.items()}
    return params, updates, {name: pair[1] for name, pair in pairs.items()}


def init_all(params):
    return {name: make().init(params) for name, make in TRANSFORMATIONS.items()}


def train_all(params, tokens, states):
    for _ in range(STEPS):
        params, updates, states = step_of_all(params, tokens, states)
    return updates, states


@functools.cache
def one_device():
    params = model.make_params(jnp.float64)
    return train_all(params, model.make_tokens(), init_all(params))


@functools.cache
def on_a_mesh(axis_type):
    """The states before and after, as they should be split, and updates."""
    mesh = make_mesh(axis_type)
    with jax.set_mesh(mesh):
        params = jax.device_put(
            model.make_params(jnp.float64), model.shardings(mesh, model.SPECS)
        )
        tokens = jax.device_put(
            model.make_tokens(), NamedSharding(mesh, model.TOKENS)
        )
        wanted = {
            name: state_shardings(make(), params, mesh)
            for name, make in TRANSFORMATIONS.items()
        }
        # On automatic axes optax's own moments would be whole.
        out = dict.fromkeys(TRANSFORMATIONS) | {"chain": wanted["chain"]}
        states = jax.jit(init_all, out_shardings=out)(params)
        return states, wanted, train_all(params, tokens, states)


@pytest.mark.parametrize("axis_type", AXIS_TYPES)
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_every_transformation(x64, name, axis_type):
    started, wanted, (updates, states) = on_a_mesh(axis_type)
    assert_shardings(started[name], wanted[name])
    assert_shardings(states[name], wanted[name])
    mesh = make_mesh(axis_type)
    assert_shardings(updates[name], model.shardings(mesh, model.SPECS))
    want_updates, want_states = one_device()
    assert_close(updates[name], want_updates[name])
    assert_close(states[name], want_states[name])


@pytest.mark.parametrize("axis_type", AXIS_TYPES)
def test_a_checkpoint_restores_onto_a_mesh_of_another_shape(
    x64, axis_type, tmp_path
):
    *_, (_, states) = on_a_mesh(axis_type)
    params = model.make_params(jnp.float64)
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(axis_type,) * 2)
    wanted = {
        name: state_shardings(make(), params, mesh)
        for name, make in TRANSFORMATIONS.items()
    }
    target = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=sharding
        ),
        states,
        wanted,
    )
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "states", states)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "states", target)
    assert_shardings(restored, wanted)
    chex.assert_trees_all_equal(
        *(jax.tree.map(np.asarray, tree) for tree in (restored, states))
    )


SHAPES = jax.eval_shape(model.make_params)
KERNELS = jax.tree.map(lambda leaf: leaf.ndim > 1, SHAPES)
WRAPPED = {
    "masked": lambda: optax.masked(adan_agr(1e-2), KERNELS),
    "partition": lambda: optax.partition(
        {True: adan_agr(1e-2), False: optax.adamw(1e-2)}, KERNELS
    ),
    "selective_transform": lambda: optax.selective_transform(
        adan_agr(1e-2), freeze_mask=KERNELS
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_moments_are_split_inside_wrappers(name):
    tx, mesh = WRAPPED[name](), make_mesh(AxisType.Auto)
    with jax.set_mesh(mesh):
        params = jax.device_put(
            model.make_params(), model.shardings(mesh, model.SPECS)
        )
        want = tx.init(params)  # Without jit, each is split as its parameter.
        out = state_shardings(tx, params, mesh)
        got = jax.jit(tx.init, out_shardings=out)(params)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    moments = [
        pair
        for pair in zip(
            jax.tree.leaves(got), jax.tree.leaves(want), strict=True
        )
        if pair[0].ndim
    ]
    assert moments
    for ours, theirs in moments:
        assert ours.sharding.is_equivalent_to(theirs.sharding, ours.ndim)


@pytest.mark.parametrize("axis_type", AXIS_TYPES)
@pytest.mark.parametrize(
    "tx", [scale_by_agr_adam(), scale_by_agr_adan()], ids=["adam", "adan"]
)
def test_second_moments_wider_than_parameters_are_split_as_they_are(
    tx, axis_type
):
    mesh = make_mesh(axis_type)
    with jax.set_mesh(mesh):
        params = jax.device_put(
            optax.tree.cast(model.make_params(), jnp.bfloat16),
            model.shardings(mesh, model.SPECS),
        )
        for state in (tx.init(params), jax.jit(tx.init)(params)):
            second = state.nu if hasattr(state, "nu") else state.n
            for leaf, param in zip(
                *map(jax.tree.leaves, (second, params)), strict=True
            ):
                assert leaf.dtype == jnp.float32
                assert leaf.sharding.is_equivalent_to(param.sharding, leaf.ndim)


@pytest.mark.parametrize("axis_type", AXIS_TYPES)
def test_moments_are_split_by_the_shapes_alone(axis_type):
    # Automatic axes are the compiler's: no shape knows of them.
    tx = adan_agr(1e-2)
    mesh = make_mesh(axis_type)
    with jax.set_mesh(mesh):
        params = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding
            ),
            model.make_params(),
            model.shardings(mesh, model.SPECS),
        )
        state = jax.eval_shape(tx.init, params)
    for leaf, param in zip(
        jax.tree.leaves(optax.tree.get(state, "n")),
        jax.tree.leaves(params),
        strict=True,
    ):
        if axis_type == AxisType.Explicit:
            assert leaf.sharding.spec == param.sharding.spec
        else:
            assert leaf.sharding is None


def is_matrix(params):
    """The last two axes of kernels, and nothing of stacked scales."""
    axes = jax.tree.map(lambda leaf: (-2, -1) if leaf.ndim > 1 else (), params)
    return axes | {"layers": axes["layers"] | {"scale": ()}}


def all_three():
    return optax.chain(
        gal(ADJUSTER, model.VOCABULARY),
        agr(reduction_axes=is_matrix),
        lga(1e-3, status_every=1),
        scale_by_agr_adam(reduction_axes=is_matrix),
        optax.scale(-1e-2),
    )


@jax.jit
def step_of_three(params, state, tokens):
    def objective(params, theta):
        logits = model.logits_of(params, tokens[:, :-1])
        return ADJUSTER.loss(
            theta, logits, lambda z: model.cross_entropy(z, tokens[:, 1:])
        )

    (loss, metrics), (grads, adjuster_grads) = jax.value_and_grad(
        objective, argnums=(0, 1), has_aux=True
    )(params, adjuster_params(state))
    updates, state = all_three().update(
        model.split_as_params(grads),
        state,
        params,
        adjuster_grads=adjuster_grads,
        value=loss,
    )
    return optax.apply_updates(params, updates), state, metrics


def train(params, state, tokens):
    for _ in range(STEPS):
        params, state, metrics = step_of_three(params, state, tokens)
    return params, state, metrics


def split_theta(shardings, theta):
    """The shardings of a state with its theta, and the moments of theta."""
    gal_state, *others = shardings
    adam, *rest = gal_state.gal_opt_state
    adam = adam._replace(mu=theta, nu=theta)
    return (
        gal_state._replace(gal_theta=theta, gal_opt_state=(adam, *rest)),
        *others,
    )


@pytest.mark.parametrize("axis_type", AXIS_TYPES)
def test_all_three_with_theta_split_over_the_vocabulary(x64, axis_type):
    tx, tokens = all_three(), model.make_tokens()
    params = model.make_params(jnp.float64)
    want = train(params, tx.init(params), tokens)
    mesh = make_mesh(axis_type)
    with jax.set_mesh(mesh):
        specs = model.shardings(mesh, model.SPECS)
        theta = model.shardings(mesh, THETA)
        out = split_theta(state_shardings(tx, params, mesh), theta)
        params = jax.device_put(params, specs)
        state = jax.jit(tx.init, out_shardings=out)(params)
        tokens = jax.device_put(tokens, NamedSharding(mesh, model.TOKENS))
        got = train(params, state, tokens)
    assert_close(got, want, narrow=True)  # Theta is float32.
    assert_shardings(got[0], specs)
    assert_shardings(got[1], out)
