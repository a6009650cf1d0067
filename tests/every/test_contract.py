"""What optax's users expect of any transformation, for each of ours."""

import inspect
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests.helpers.transformations import (
    LOSS,
    TRANSFORMATIONS,
    make_params,
    make_updates,
    steps,
)

every_transformation = pytest.mark.parametrize("name", TRANSFORMATIONS)


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


# Optax's own correction of moments needs implicit promotion.
@pytest.mark.parametrize(
    "name", [name for name in TRANSFORMATIONS if name[:3] in ("agr", "lga")]
)
def test_strict_promotion(name):
    params, tx = make_params(), TRANSFORMATIONS[name]()
    want = tx.update(params, tx.init(params), params)
    with jax.numpy_dtype_promotion("strict"):
        got = tx.update(params, tx.init(params), params)
    chex.assert_trees_all_equal(got, want)


@every_transformation
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
    # A finished step is as wide as the parameters that it moves.
    is_step = "scale_by" not in name and not name.startswith(
        ("agr", "lga", "gal")
    )
    like = make_params("float32") if is_step else updates
    chex.assert_trees_all_equal_shapes_and_dtypes(returned, like)
    if name != "chain":  # The first moment of optax.adamw widens.
        chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("factory", [optaxmods.adamw_agr, optaxmods.adan])
def test_narrow_gradients_lose_no_small_step(factory, dtype):
    params = {"kernel": jnp.ones((2, 3))}
    narrow = jax.tree.map(lambda p: p.astype(dtype), params)
    # In float16 a step of 1e-9 would be 0.
    tx = factory(1e-9, weight_decay=0.0)
    updates, _ = tx.update(narrow, tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -1e-9, rtol=0.2)


@pytest.mark.parametrize(
    "factory", [optaxmods.scale_by_agr_adam, optaxmods.scale_by_agr_adan]
)
def test_a_state_of_another_shape_is_seen_at_trace_time(factory):
    tx = factory()
    state = tx.init(jnp.ones((3, 4)))
    with pytest.raises(ValueError, match=r"shape \(1, 4\) in the gradients"):
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
    donating = jax.jit(tx.update, donate_argnums=1, keep_unused=True)
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
    with_extras = tx.update(params, state, params, value=LOSS, unknown="word")
    chex.assert_trees_all_equal(with_extras, tx.update(params, state, params))


CONTRACT = {
    "agr": (
        "strength=1.0, *, max_alpha=1.0, reduction_axes=None, axis_name=None"
    ),
    "agr_coefficients": "updates, *, max_alpha=1.0, reduction_axes=None",
    "scale_by_agr_adam": (
        "b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, mu_dtype=None, *,"
        " nesterov=False, nu_dtype=None, strength=1.0, max_alpha=1.0,"
        " reduction_axes=None, axis_name=None"
    ),
    "adamw_agr": (
        "learning_rate, b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0,"
        " mu_dtype=None, weight_decay=0.0001, mask=None, *, nesterov=False,"
        " nu_dtype=None, strength=1.0, max_alpha=1.0, reduction_axes=None,"
        " axis_name=None"
    ),
    "scale_by_adan": (
        "b1=0.98, b2=0.92, b3=0.99, eps=1e-08, eps_root=0.0, *, restart=None,"
        " mu_dtype=None, nu_dtype=None"
    ),
    "adan": (
        "learning_rate, b1=0.98, b2=0.92, b3=0.99, eps=1e-08, eps_root=0.0,"
        " weight_decay=0.0, mask=None, *, proximal=True, restart=None,"
        " mu_dtype=None, nu_dtype=None"
    ),
    "scale_by_agr_adan": (
        "b1=0.98, b2=0.92, b3=0.99, eps=1e-08, eps_root=0.0, *, restart=None,"
        " difference='regularized', mu_dtype=None, nu_dtype=None, strength=1.0,"
        " max_alpha=1.0, reduction_axes=None, axis_name=None"
    ),
    "adan_agr": (
        "learning_rate, b1=0.98, b2=0.92, b3=0.99, eps=1e-08, eps_root=0.0,"
        " weight_decay=0.0, mask=None, *, proximal=True, restart=None,"
        " difference='regularized', mu_dtype=None, nu_dtype=None, strength=1.0,"
        " max_alpha=1.0, reduction_axes=None, axis_name=None"
    ),
    "lga": (
        "gamma, *, status_every, eps=0.1, xi=0.01, log_base=10,"
        " decay_factor=0.1, gamma_min=0.0, upper_bound='first_window',"
        " lower_bound='ema', omega_loss='step', push_zero_gradients=False,"
        " gradient_floor=1e-06, axis_name=None"
    ),
    "with_lga": (
        "inner, gamma, *, status_every, eps=0.1, xi=0.01, log_base=10,"
        " decay_factor=0.1, gamma_min=0.0, upper_bound='first_window',"
        " lower_bound='ema', omega_loss='step', push_zero_gradients=False,"
        " gradient_floor=1e-06, axis_name=None"
    ),
    "GradientAdjuster": (
        "hidden_sizes=(256, 64, 32), magnitude=0.01, tentative_step=1.0, *,"
        " activation=None, network=None, accept='<=', convention='paper',"
        " remainder='auto', eps=1e-12, axis_name=None, num_features=None"
    ),
    "gal": "adjuster, num_features=None, *, optimizer=None, key=0",
    "value_and_adjusted_grad": (
        "objective, argnums=0, has_aux=True, *,"
        " value_and_grad=<function value_and_grad>"
    ),
    "adjuster_params": "opt_state",
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
    told = re.sub(r" at 0x\w+>", ">", str(bare))  # Where a function lies.
    assert told == f"({CONTRACT[name]})"
    assert name in optaxmods.__all__


def test_strict_dtype_promotion():
    params = make_params()
    with jax.numpy_dtype_promotion("strict"):
        tx = optaxmods.agr()
        updates, _ = tx.update(params, tx.init(params))
        optaxmods.agr_coefficients(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
