"""Each transformation inside optax's wrappers, and its state in a file."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import orbax.checkpoint as ocp
import pytest

import optaxmods
from tests.helpers.transformations import (
    TRANSFORMATIONS,
    make_params,
    make_updates,
    steps,
)

every_transformation = pytest.mark.parametrize("name", TRANSFORMATIONS)


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
def test_apply_if_finite_sees_what_came(name, bad):
    # It looks at what reaches it: behind our transformation, at our updates.
    params = make_params()
    guarded = optax.chain(
        TRANSFORMATIONS[name](), optax.apply_if_finite(optax.sgd(1.0), 3)
    )
    state = guarded.init(params)
    broken = make_updates(params)
    broken["dense"]["kernel"] = broken["dense"]["kernel"].at[0, 0].set(bad)
    updates, after = guarded.update(broken, state, params)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, updates))
    assert after[1].total_notfinite == 1


@every_transformation
def test_apply_if_finite_keeps_the_state(name):
    params = make_params()
    guarded = optax.apply_if_finite(TRANSFORMATIONS[name](), 3)
    state = guarded.init(params)
    broken = jax.tree.map(lambda leaf: leaf * np.nan, params)
    _, after = guarded.update(broken, state, params)
    chex.assert_trees_all_equal(after.inner_state, state.inner_state)
    updates, after = guarded.update(make_updates(params), after, params)
    plain = TRANSFORMATIONS[name]()
    want, _ = plain.update(make_updates(params), plain.init(params), params)
    chex.assert_trees_all_close(updates, want, rtol=1e-6)


@every_transformation
def test_orbax_checkpoint(name, tmp_path):
    params = make_params(jnp.bfloat16)
    tx = TRANSFORMATIONS[name]()
    half_way = steps(tx, params, 2)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "step", half_way)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(
            tmp_path / "step", jax.eval_shape(lambda: half_way)
        )
    chex.assert_trees_all_equal(restored, half_way)
    chex.assert_trees_all_equal(resume(tx, *restored), resume(tx, *half_way))


def resume(tx, params, state):
    return jax.jit(tx.update)(make_updates(params, 2), state, params)


@every_transformation
def test_map_params_finds_the_moments(name):
    params = make_params()
    tx = TRANSFORMATIONS[name]()
    state = tx.init(params)
    marked = optax.tree.map_params(
        tx, lambda leaf: -1, state, transform_non_params=lambda leaf: 1
    )
    for (path, leaf), mark in zip(
        jax.tree.leaves_with_path(state), jax.tree.leaves(marked), strict=True
    ):
        name = jax.tree_util.keystr(path)
        is_ours = "lga_" in name or "gal_" in name
        is_count = leaf.dtype == jnp.int32
        assert mark == (1 if is_count or is_ours else -1)


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


def test_inject_hyperparams_of_complex_parameters():
    # All that is injected has the parameters' dtype.
    params = {"w": jnp.ones((2, 3), jnp.complex64)}
    injected = optax.inject_hyperparams(optaxmods.adan)(learning_rate=1e-2)
    got, _ = steps(injected, params)
    want, _ = steps(optaxmods.adan(1e-2), params)
    chex.assert_trees_all_close(got, want, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "factory"),
    [
        ("strength", optaxmods.agr),
        ("strength", optaxmods.adan_agr),
        ("gamma", optaxmods.lga),
    ],
)
def test_an_injected_number_that_has_to_be_real(name, factory):
    params = {"w": jnp.full((2, 3), 1 + 2j, jnp.complex64)}
    static = {optaxmods.lga: {"status_every": 2}}.get(factory, {})
    given = {name: 0.5} | static
    if factory is optaxmods.adan_agr:
        given["learning_rate"] = 0.1
    inject = functools.partial(
        optax.inject_hyperparams, factory, static_args=tuple(static)
    )
    sentence = f"{name} must be .* hyperparam_dtype=jnp.float32"
    with pytest.raises(ValueError, match=sentence):
        inject()(**given).init(params)
    # And so it runs.
    injected = inject(hyperparam_dtype=jnp.float32)(**given)
    got, _ = injected.update(params, injected.init(params), params, value=2.0)
    plain = optax.with_extra_args_support(factory(**given))
    want, _ = plain.update(params, plain.init(params), params, value=2.0)
    chex.assert_trees_all_close(got, want, rtol=1e-6)


@pytest.mark.parametrize("difference", ["regularized", "printed"])
def test_inject_hyperparams_with_schedules(difference):
    schedules = {"learning_rate": decreasing_rate, "strength": decreasing_rate}
    factory = functools.partial(optaxmods.adan_agr, difference=difference)
    params = make_params()
    got, _ = steps(optax.inject_hyperparams(factory)(**schedules), params)
    want, _ = steps(factory(**schedules), params)
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-6)


def decreasing_rate(step):
    return 0.1 / (1 + step)
