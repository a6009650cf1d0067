"""What optax's users expect of any transformation, for each of ours."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest
from transformations import TRANSFORMATIONS, make_params, make_updates

import optaxmods

every_transformation = pytest.mark.parametrize("name", TRANSFORMATIONS)


def steps(tx, params, count=4, start=0, jit=True):
    """The parameters and the state after a few steps."""
    update = jax.jit(tx.update) if jit else tx.update
    state = tx.init(params)
    for step in range(start, start + count):
        updates, state = update(make_updates(params, step), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@every_transformation
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_update_returns_what_came(name, dtype):
    params = make_params(dtype)
    tx = TRANSFORMATIONS[name]()
    state = tx.init(params)
    updates = make_updates(params)
    returned, after = jax.jit(tx.update)(updates, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(returned, updates)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert all(
        a.weak_type == b.weak_type
        for a, b in zip(
            jax.tree.leaves(jax.eval_shape(tx.init, params)),
            jax.tree.leaves(after),
            strict=True,
        )
    )


# optax.adamw in the chain promotes such updates.
@pytest.mark.parametrize("name", sorted(set(TRANSFORMATIONS) - {"chain"}))
@pytest.mark.parametrize(
    ("dtype", "params_dtype"), [("bfloat16", "float32"), ("float32", "float16")]
)
def test_gradients_of_another_dtype_than_the_parameters(
    name, dtype, params_dtype
):
    params = make_params(params_dtype)
    updates = make_updates(make_params(dtype))
    tx = TRANSFORMATIONS[name]()
    state = tx.init(params)
    returned, after = tx.update(updates, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(returned, updates)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


@pytest.mark.parametrize(
    "factory", [optaxmods.scale_by_agr_adam, optaxmods.scale_by_agr_adan]
)
def test_a_state_of_another_shape_is_seen_at_trace_time(factory):
    tx = factory()
    state = tx.init(jnp.ones((3, 4)))
    with pytest.raises(AssertionError, match="shape"):
        jax.eval_shape(tx.update, jnp.ones((1, 4)), state)


@pytest.mark.usefixtures("x64")
@every_transformation
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_wide_and_complex_leaves(name, dtype):
    params = make_params(dtype)
    tx = TRANSFORMATIONS[name]()
    updates = make_updates(params)
    returned, state = tx.update(updates, tx.init(params), params)
    chex.assert_trees_all_equal_shapes_and_dtypes(returned, updates)
    chex.assert_tree_all_finite(returned)
    chex.assert_tree_all_finite(state)


@every_transformation
def test_jit_traces_once_and_changes_nothing(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    chex.clear_trace_counter()  # It counts by name, over all tests.
    once = chex.assert_max_traces(tx.update, n=1)
    traced = steps(optax.GradientTransformation(tx.init, once), params)
    plain = steps(tx, params, jit=False)
    chex.assert_trees_all_close(traced, plain, rtol=1e-4, atol=1e-6)


@every_transformation
def test_scan_and_cond(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    gradients = [make_updates(params, step) for step in range(4)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)

    def body(carry, gradient):
        params, state = carry
        updates, state = jax.lax.cond(
            True,
            lambda: tx.update(gradient, state, params),
            lambda: (gradient, state),
        )
        return (optax.apply_updates(params, updates), state), None

    scanned, _ = jax.lax.scan(body, (params, tx.init(params)), stacked)
    chex.assert_trees_all_close(
        scanned, steps(tx, params), rtol=1e-4, atol=1e-6
    )


@every_transformation
def test_vmap_over_seeds_keeps_models_apart(name):
    tx = TRANSFORMATIONS[name]()
    models = [jax.tree.map(lambda x, s=s: x * s, make_params()) for s in (1, 3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)

    def train(params):
        updates, state = tx.update(params, tx.init(params), params)
        return updates, state

    together = jax.vmap(train)(stacked)
    for index, model in enumerate(models):
        mine = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        chex.assert_trees_all_close(mine, train(model), rtol=1e-5)


@every_transformation
def test_donation_of_an_unjitted_init(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    state = tx.init(params)
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(set(buffers)) == len(buffers)
    donating = jax.jit(tx.update, donate_argnums=1)
    _, after = donating(make_updates(params), state, params)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    chex.assert_tree_all_finite(after)


@every_transformation
def test_abstract_parameters(name):
    params = make_params()
    abstract = jax.eval_shape(lambda: params)
    tx = TRANSFORMATIONS[name]()
    state = jax.eval_shape(tx.init, abstract)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(params))
    updates, _ = jax.eval_shape(tx.update, abstract, state, abstract)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)


@every_transformation
def test_unknown_extra_arguments_are_ignored(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    state = tx.init(params)
    with_extras = tx.update(params, state, params, value=1.0, unknown="word")
    chex.assert_trees_all_equal(with_extras, tx.update(params, state, params))


@every_transformation
def test_masked(name):
    params = make_params()
    mask = jax.tree.map(lambda leaf: leaf.ndim == 2, params)
    tx = TRANSFORMATIONS[name]()
    masked = optax.masked(tx, mask)
    updates = make_updates(params)
    ours, _ = masked.update(updates, masked.init(params), params)
    all_of_it, _ = tx.update(updates, tx.init(params), params)
    want = jax.tree.map(
        lambda masked, inside, outside: inside if masked else outside,
        mask,
        all_of_it,
        updates,
    )
    chex.assert_trees_all_close(ours, want, rtol=1e-6)


@every_transformation
def test_partition(name):
    params = make_params()
    labels = {"dense": "ours", "stack": "frozen", "scale": "ours"}
    tx = TRANSFORMATIONS[name]()
    partitioned = optax.partition(
        {"ours": tx, "frozen": optax.set_to_zero()}, labels
    )
    updates = make_updates(params)
    got, _ = partitioned.update(updates, partitioned.init(params), params)
    want, _ = tx.update(updates, tx.init(params), params)
    chex.assert_trees_all_close(got["dense"], want["dense"], rtol=1e-6)
    chex.assert_trees_all_equal(
        got["stack"], jax.tree.map(jnp.zeros_like, params["stack"])
    )


@every_transformation
def test_named_chain_and_state_access(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    named = optax.named_chain(("ours", tx), ("rate", optax.scale(-1.0)))
    updates = make_updates(params)
    got, state = named.update(updates, named.init(params), params)
    want, inner = tx.update(updates, tx.init(params), params)
    chex.assert_trees_all_close(got, jax.tree.map(jnp.negative, want))
    chex.assert_trees_all_equal(state["ours"], inner)


@every_transformation
def test_multi_steps_sees_the_accumulated_gradient(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    accumulating = optax.MultiSteps(tx, every_k_schedule=2)
    parts = [make_updates(params, seed) for seed in (0, 1)]
    state = accumulating.init(params)
    for part in parts:
        got, state = accumulating.update(part, state, params)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *parts)
    want, _ = tx.update(mean, tx.init(params), params)
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-7)


@every_transformation
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_apply_if_finite(name, bad):
    params = make_params()
    guarded = optax.apply_if_finite(TRANSFORMATIONS[name](), 3)
    state = guarded.init(params)
    broken = make_updates(params)
    broken["dense"]["kernel"] = broken["dense"]["kernel"].at[0, 0].set(bad)
    updates, after = guarded.update(broken, state, params)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, updates))
    assert after.total_notfinite == 1
    chex.assert_trees_all_equal(after.inner_state, state.inner_state)


@every_transformation
def test_map_params_finds_the_moments(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    state = tx.init(params)
    marked = optax.tree.map_params(
        tx, lambda leaf: -1, state, transform_non_params=lambda leaf: 1
    )
    for leaf, mark in zip(
        jax.tree.leaves(state), jax.tree.leaves(marked), strict=True
    ):
        is_count = leaf.dtype == jnp.int32
        assert mark == (1 if is_count else -1)


HYPERPARAMETERS = {
    "agr": (optaxmods.agr, {"strength": 0.5}),
    "scale_by_agr_adam": (
        optaxmods.scale_by_agr_adam,
        {"b1": 0.8, "b2": 0.9, "eps": 1e-4, "eps_root": 1e-4, "strength": 0.5},
    ),
    "adamw_agr": (
        optaxmods.adamw_agr,
        {"learning_rate": 1e-2, "weight_decay": 0.1, "strength": 0.5},
    ),
    "scale_by_adan": (
        optaxmods.scale_by_adan,
        {"b1": 0.8, "b2": 0.7, "b3": 0.9, "eps": 1e-4, "restart": 2},
    ),
    "adan": (
        optaxmods.adan,
        {"learning_rate": 1e-2, "weight_decay": 0.1, "restart": 3},
    ),
    "adan decoupled": (
        optaxmods.adan,
        {"learning_rate": 1e-2, "weight_decay": 0.1, "proximal": False},
    ),
    "scale_by_agr_adan": (optaxmods.scale_by_agr_adan, {"strength": 0.5}),
    "adan_agr": (
        optaxmods.adan_agr,
        {"learning_rate": 1e-2, "weight_decay": 0.1, "strength": 0.0},
    ),
}


@pytest.mark.parametrize("case", HYPERPARAMETERS)
def test_inject_hyperparams(case):
    factory, arguments = HYPERPARAMETERS[case]
    injected = optax.inject_hyperparams(factory)(**arguments)
    params = make_params()
    got, state = steps(injected, params)
    want, _ = steps(factory(**arguments), params)
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-6)
    numbers = {k for k, v in arguments.items() if not isinstance(v, bool)}
    assert numbers <= set(state.hyperparams)
    # And a changed number is used.
    if "strength" in arguments:
        state.hyperparams["strength"] = jnp.float32(1.0)
        full, _ = injected.update(make_updates(params), state, params)
        state.hyperparams["strength"] = jnp.float32(0.0)
        none, _ = injected.update(make_updates(params), state, params)
        difference = full["dense"]["kernel"] - none["dense"]["kernel"]
        assert np.abs(difference).max() > 0


def test_inject_hyperparams_with_schedules():
    schedules = {"learning_rate": decreasing_rate, "strength": decreasing_rate}
    params = make_params()
    got, _ = steps(
        optax.inject_hyperparams(optaxmods.adan_agr)(**schedules), params
    )
    want, _ = steps(optaxmods.adan_agr(**schedules), params)
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-6)


def decreasing_rate(step):
    return 0.1 / (1 + step)


CONTRACT = {
    "agr": "strength=1.0, *, reduction_axes=None, axis_name=None",
    "agr_coefficients": "updates, *, reduction_axes=None",
    "scale_by_agr_adam": (
        "b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, mu_dtype=None, *,"
        " nesterov=False, strength=1.0, reduction_axes=None, axis_name=None"
    ),
    "adamw_agr": (
        "learning_rate, b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0,"
        " mu_dtype=None, weight_decay=0.0001, mask=None, *, nesterov=False,"
        " strength=1.0, reduction_axes=None, axis_name=None"
    ),
    "scale_by_adan": (
        "b1=0.98, b2=0.92, b3=0.99, eps=1e-08, eps_root=0.0, *, restart=None"
    ),
    "adan": (
        "learning_rate, b1=0.98, b2=0.92, b3=0.99, eps=1e-08, eps_root=0.0,"
        " weight_decay=0.0, mask=None, *, proximal=True, restart=None"
    ),
    "scale_by_agr_adan": (
        "b1=0.98, b2=0.92, b3=0.99, eps=1e-08, eps_root=0.0, *, restart=None,"
        " strength=1.0, reduction_axes=None, axis_name=None"
    ),
    "adan_agr": (
        "learning_rate, b1=0.98, b2=0.92, b3=0.99, eps=1e-08, eps_root=0.0,"
        " weight_decay=0.0, mask=None, *, proximal=True, restart=None,"
        " strength=1.0, reduction_axes=None, axis_name=None"
    ),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_signatures(name):
    signature = inspect.signature(getattr(optaxmods, name))
    bare = signature.replace(
        parameters=[
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in signature.parameters.values()
        ],
        return_annotation=inspect.Signature.empty,
    )
    assert str(bare) == f"({CONTRACT[name]})"
    assert name in optaxmods.__all__


def test_strict_dtype_promotion():
    params = make_params()
    with jax.numpy_dtype_promotion("strict"):
        tx = optaxmods.agr()
        updates, _ = tx.update(params, tx.init(params))
        optaxmods.agr_coefficients(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
