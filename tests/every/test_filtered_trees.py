"""Trees with None, trees that are called, and models filtered by hand."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests.helpers.filtered_model import (
    Model,
    arrays_of,
    gradients_of,
    make_model,
)
from tests.helpers.transformations import losing, taught

PARAMS = {"k": jnp.array([[3.0, -1.0], [2.0, 1.0]]), "b": None}
FACTORIES = {
    "agr": optaxmods.agr,
    "adamw_agr": functools.partial(optaxmods.adamw_agr, 1e-2),
    "adan_agr": functools.partial(optaxmods.adan_agr, 1e-2),
    "agr_coefficients": lambda **given: optax.stateless(
        lambda updates, params: optaxmods.agr_coefficients(updates, **given)
    ),
}


def all_axes(updates):
    return jax.tree.map(lambda leaf: tuple(range(leaf.ndim)), updates)


def first_update(tx, gradients):
    return tx.update(gradients, tx.init(gradients), gradients)[0]


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize(
    "reduction_axes",
    [
        all_axes,
        {"k": (0, 1), "b": None},
        {"k": (-2, -1), "b": {"c": None, "d": ()}},
    ],
)
def test_axes_that_are_none_where_no_leaf_is(factory, reduction_axes):
    make = FACTORIES[factory]
    got = first_update(make(reduction_axes=reduction_axes), PARAMS)
    want = first_update(make(), {"k": PARAMS["k"]})
    assert got["b"] is None
    np.testing.assert_array_equal(got["k"], want["k"])


@pytest.mark.parametrize("name", ["agr", "adamw_agr", "adan_agr"])
def test_mesh_axes_that_are_none_where_no_leaf_is(name):
    for axis_name in (
        {"k": (), "b": None},
        lambda tree: jax.tree.map(lambda _: (), tree),
    ):
        tx = FACTORIES[name](axis_name=axis_name)
        first_update(tx, PARAMS)
    tx = FACTORIES[name](axis_name={"k": None, "b": None})
    with pytest.raises(ValueError, match="axis_name holds None at k; pass"):
        tx.init(PARAMS)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize(
    ("entries", "path"),
    [
        ({"head": {"k": None, "b": ()}}, "head/k"),
        ({"head": None}, "head/b"),
        (lambda tree: {"head": {"k": (0, 1), "b": None}}, "head/b"),
    ],
)
def test_none_where_a_leaf_is(factory, entries, path):
    params = {"head": {"k": PARAMS["k"], "b": jnp.ones(2)}}
    message = f'reduction_axes holds None at {path}; pass None, "all" or a'
    with pytest.raises(ValueError, match=message):
        first_update(FACTORIES[factory](reduction_axes=entries), params)


def test_none_beside_a_box():
    params = {"k": optax.tree.zeros_like(PARAMS["k"]), "b": [jnp.ones(2)]}
    with pytest.raises(ValueError, match="holds None at b/0;"):
        optaxmods.agr(reduction_axes={"k": (0, 1), "b": [None]}).init(params)


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_tree_that_can_be_called_is_read(factory):
    gradients = gradients_of(make_model(), table=jnp.ones((4, 2)))
    make = FACTORIES[factory]
    axes = Model(weight=(0, 1), bias=(0,), table=(), activation=None)
    plain = {"weight": (0, 1), "bias": (0,), "table": ()}
    got = first_update(make(reduction_axes=axes), gradients)
    want = first_update(make(reduction_axes=plain), gradients)
    for ours, theirs in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Nothing but empty entries is a tree, too.
    alone = first_update(make(reduction_axes=Model((), (), (), ())), gradients)
    assert isinstance(alone, Model)
    names = Model(weight="rows", bias=(), table=(), activation=None)
    if factory != "agr_coefficients":
        with pytest.raises(ValueError, match="axis_name names 'rows', which"):
            make(axis_name=names).update(gradients, make().init(gradients))


def test_a_tree_that_can_be_called_is_checked_at_once():
    axes = Model(weight=0.5, bias=(0,), table=(), activation=None)
    with pytest.raises(ValueError, match=r"axes holds 0.5 at weight; pass"):
        optaxmods.agr(reduction_axes=axes)


@jax.tree_util.register_static
class Rule:
    """A tree without a leaf, which could say nothing as a tree."""

    def __call__(self, updates):
        return all_axes(updates)


@pytest.mark.parametrize(
    "function", [Rule(), Rule, jax.tree_util.Partial(all_axes)]
)
def test_functions_that_are_trees_are_called(function):
    function = function() if isinstance(function, type) else function
    got = first_update(optaxmods.agr(reduction_axes=function), PARAMS)
    want = first_update(optaxmods.agr(), PARAMS)
    np.testing.assert_array_equal(got["k"], want["k"])


def with_theta(tx):
    adjuster = optaxmods.GradientAdjuster((2,))
    return optax.chain(taught(optaxmods.gal(adjuster, 2)), tx)


def kernels_decay(tree):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, tree)


SKIPPING = {
    "adamw_agr": lambda: optaxmods.adamw_agr(1e-2),
    "adamw_agr masked": lambda: optaxmods.adamw_agr(
        1e-2, mask=kernels_decay, nesterov=True
    ),
    "adan": lambda: optaxmods.adan(1e-2),
    "adan proximal": lambda: optaxmods.adan(
        1e-2, weight_decay=0.1, mask=kernels_decay
    ),
    "adan decoupled": lambda: optaxmods.adan(
        1e-2, weight_decay=0.1, proximal=False
    ),
    "adan_agr": lambda: optaxmods.adan_agr(1e-2, weight_decay=0.1),
    "adan_agr printed": lambda: optaxmods.adan_agr(
        1e-2, difference="printed", restart=1
    ),
    "scale_by_agr_adam": optaxmods.scale_by_agr_adam,
    "scale_by_agr_adan": optaxmods.scale_by_agr_adan,
    "chain": lambda: optax.chain(optaxmods.agr(), optax.adamw(1e-2)),
    "lga": lambda: losing(
        optax.chain(optaxmods.lga(1e-2, status_every=1), optax.adamw(1e-2))
    ),
    "with_lga": lambda: losing(
        optaxmods.with_lga(optax.adamw(1e-2), 1e-2, status_every=1)
    ),
    "with_lga of adan_agr": lambda: losing(
        optaxmods.with_lga(optaxmods.adan_agr(1e-2), 1e-2, status_every=1)
    ),
    "gal": lambda: with_theta(optaxmods.adamw_agr(1e-2)),
}


OF_MOMENTS = [
    name
    for name in SKIPPING
    if "adamw_agr" in name or "adan" in name or "scale_by" in name
]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", SKIPPING)
def test_no_update_beside_a_whole_model(name, jit):
    model, tx = make_model(), SKIPPING[name]()
    trained = {"weight": model.weight, "bias": model.bias}
    # optax.adamw takes no state that holds more than the gradients.
    held = arrays_of(model) if name in OF_MOMENTS else gradients_of(model)
    state, alone = tx.init(held), tx.init(trained)

    def update(gradients, state):
        return tx.update(gradients, state, model)

    update = jax.jit(update) if jit else update
    for step in range(2):
        gradients = gradients_of(model, step)
        updates, state = update(gradients, state)
        of_trained = {"weight": gradients.weight, "bias": gradients.bias}
        want, alone = tx.update(of_trained, alone, trained)
        assert updates.table is None
        assert updates.activation is None
        for key, leaf in want.items():
            np.testing.assert_allclose(
                getattr(updates, key), leaf, rtol=1e-5 if jit else 0
            )


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_whole_model_is_told_how_to_filter(factory):
    model = make_model()
    hint = (
        "activation is .*: put None in its place, as"
        r" eqx.filter\(model, eqx.is_inexact_array\) does\.$"
    )
    with pytest.raises(ValueError, match=hint):
        first_update(FACTORIES[factory](), model)
    first_update(FACTORIES[factory](), arrays_of(model))
    # A module of Linen is no tree.
    hint = "the only leaf is .*: pass a model's parameters, not the model"
    with pytest.raises(ValueError, match=hint):
        first_update(FACTORIES[factory](), nn.Dense(3))


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_moments_stay_where_no_update_came(name):
    model, tx = make_model(), SKIPPING[name]()
    seen = gradients_of(model, table=jnp.ones((4, 2)))
    _, state = tx.update(seen, tx.init(arrays_of(model)), model)

    def step(state, gradients):
        # lax.scan takes no state of another structure.
        return tx.update(gradients, state, model)[1], None

    gradients = jax.tree.map(lambda leaf: leaf[None], gradients_of(model))
    after, _ = jax.lax.scan(step, state, gradients)
    key = "v" if "adan" in name else "nu"

    def table(state):
        return optax.tree.get(state, key).table

    if "printed" not in name:  # Which starts again after each step.
        np.testing.assert_array_equal(table(after), table(state))
    tx.update(seen, after, model)  # It is trained again.


def test_moments_start_again_where_no_update_came():
    model = make_model()
    tx = optaxmods.scale_by_adan(restart=lambda count: count == 2)
    seen = gradients_of(model, table=jnp.ones((4, 2)))
    _, state = tx.update(seen, tx.init(arrays_of(model)))
    assert (state.m.table != 0).all()
    _, state = tx.update(gradients_of(model), state)
    assert (state.m.table == 0).all()


def test_as_adamw_does():
    model, gradients = make_model(), gradients_of(make_model())
    theirs, ours = optax.adamw(1e-2), optaxmods.adamw_agr(1e-2, strength=0.0)
    state = theirs.init(gradients)
    want, _ = theirs.update(gradients, state, model)
    got, after = ours.update(gradients, state, model)
    assert jax.tree.structure((got, after)) == jax.tree.structure((want, state))
    for mine, other in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
