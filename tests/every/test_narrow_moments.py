"""Moments beside bfloat16 and float16: kept, formed and injected."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest

import optaxmods
from tests import oracles
from tests.helpers.trajectories import make_gradients, make_theta

NARROW = {"bfloat16": 2.0**-8, "float16": 2.0**-11}  # Half a unit, relative.
SCALES = {
    "scale_by_agr_adam": (
        optaxmods.scale_by_agr_adam,
        oracles.agr.adamw_agr,
        {},
    ),
    "nesterov": (
        functools.partial(optaxmods.scale_by_agr_adam, nesterov=True),
        functools.partial(oracles.agr.adamw_agr, nesterov=True),
        {},
    ),
    "scale_by_adan": (optaxmods.scale_by_adan, oracles.adan.adan, {}),
    "scale_by_agr_adan": (
        optaxmods.scale_by_agr_adan,
        oracles.agr.adan_agr,
        {},
    ),
}


def run(tx, gradients, dtype, params_dtype):
    """The updates of all steps, in a scan, and the state after them."""
    gradients = jnp.asarray(gradients, dtype)
    params = jnp.zeros(gradients.shape[1:], params_dtype)

    def step(state, gradient):
        updates, state = tx.update(gradient, state, params)
        return state, updates

    state, updates = jax.jit(
        lambda gradients: jax.lax.scan(step, tx.init(params), gradients)
    )(gradients)
    return np.float64(updates), state


def steps_of(oracle, gradients, **arguments):
    """What the oracle's parameters move by where the rate is 1."""
    theta = np.zeros(gradients[0].shape)
    moved = oracle(theta, list(gradients), 1.0, weight_decay=0.0, **arguments)
    return -np.diff([theta, *moved], axis=0)


def of_rounded(gradients, dtype):
    return np.float64(jnp.asarray(np.asarray(gradients), dtype))


def error(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(
    ("factory", "rate", "field"),
    [
        (optaxmods.scale_by_agr_adam, "b2", "nu"),
        (optaxmods.scale_by_adan, "b3", "n"),
    ],
)
def test_a_second_moment_decays(factory, rate, field, dtype):
    # Kept in bfloat16 it would stay at 0.2; optax's does.
    decay, want = 0.999, 0.0
    gradients = np.concatenate([np.ones((200, 3)), np.zeros((3000, 3))])
    squares = gradients.copy()
    if field == "n":  # One difference: from 1 to 0.
        squares[200] = -0.92
    for square in squares**2:
        want = decay * want + (1 - decay) * square
    assert 0.009 < want[0] < 0.0091
    tx = factory(**{rate: decay})
    _, state = run(tx, gradients, dtype, dtype)
    np.testing.assert_allclose(getattr(state, field), want, rtol=1e-3)
    # As they were: an argument asks for it.
    kept = factory(**{rate: decay}, nu_dtype=dtype)
    _, state = run(kept, gradients, dtype, dtype)
    assert getattr(state, field).dtype == dtype
    if dtype == "bfloat16":
        assert (getattr(state, field) > 0.15).all()


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(
    ("factory", "b1"),
    [(optaxmods.scale_by_agr_adam, 0.9), (optaxmods.scale_by_adan, 0.98)],
)
def test_steps_along_a_constant_gradient(factory, b1, dtype):
    # They are 1. Where the second moment stops early they were 1.39.
    gradients = np.ones((3000, 3))
    unit = NARROW[dtype]
    wide, _ = run(factory(mu_dtype="float32"), gradients, dtype, dtype)
    np.testing.assert_allclose(wide[-1], 1, rtol=unit)
    # A first moment that is kept narrow stops where its next step is below
    # half a unit in the last place: at the latest (1 - b1) (1 - m) = unit m.
    narrow, _ = run(factory(), gradients, dtype, dtype)
    assert (narrow[-1] <= 1 + unit).all()
    assert (narrow[-1] >= 1 - unit / (1 - b1) - unit).all()


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("params_dtype", NARROW)
def test_float32_gradients_of_narrow_parameters(name, params_dtype):
    factory, oracle, arguments = SCALES[name]
    gradients = np.random.default_rng(1).standard_normal((500, 4, 3))
    want = steps_of(oracle, gradients, **arguments)
    wide, _ = run(
        factory(mu_dtype="float32"), gradients, "float32", params_dtype
    )
    assert error(wide, want) < 1e-5
    # Nothing else but first moments is rounded: with second moments in the
    # parameters' bfloat16 the error was 0.05.
    got, _ = run(factory(), gradients, "float32", params_dtype)
    assert error(got, want) < 2.5 * NARROW[params_dtype]


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0, 6e4])
def test_squares_leave_float16(name, size):
    # 1e-4 squared is below its range, and 300 squared above.
    factory, oracle, arguments = SCALES[name]
    signs = np.sign(make_gradients(20))
    gradients = of_rounded(size * signs, "float16")
    want = steps_of(oracle, gradients, **arguments)
    got, _ = run(factory(mu_dtype="float32"), gradients, "float16", "float16")
    assert error(got, want) < 2 * NARROW["float16"]


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"nu_dtype": "bfloat16"},
        {"mu_dtype": "float16", "nu_dtype": "bfloat16"},
    ],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_adan_s_moments_are_rounded_once(dtype, kept):
    # To what they are kept in; all else is as in float32.
    narrow = optaxmods.scale_by_agr_adan(**kept)
    wide = optaxmods.scale_by_agr_adan()
    state = narrow.init(jnp.ones((4, 3), "bfloat16"))
    for gradient in make_gradients(4):
        gradient = jnp.asarray(gradient, dtype)
        got, after = narrow.update(gradient, state)
        want, wanted = wide.update(
            gradient.astype(jnp.float32),
            jax.tree.map(
                lambda leaf: leaf.astype(jnp.float32) if leaf.ndim else leaf,
                state,
            ),
        )
        np.testing.assert_array_equal(got, want.astype(dtype))
        chex.assert_trees_all_equal(after, optax.tree.cast_like(wanted, after))
        state = after


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("dtype", NARROW)
def test_types_are_those_of_init(name, dtype):
    tx = SCALES[name][0]()
    # A Python number has no strong type; a moment of it has.
    params = {
        "kernel": jnp.ones((4, 3), dtype),
        "scale": jnp.asarray(1.0),
        "number": 1.0,
    }
    gradients = jax.tree.map(lambda leaf: jnp.ones(jnp.shape(leaf)), params)
    state = tx.init(params)
    for made in (state, jax.jit(tx.init)(params)):
        second = made.nu if hasattr(made, "nu") else made.n
        others = made.mu if hasattr(made, "mu") else made.m
        assert second["kernel"].dtype == jnp.float32
        assert others["kernel"].dtype == dtype
    _, after = tx.update(gradients, state, params)
    types = [
        [(leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]
        for tree in (
            state,
            after,
            jax.eval_shape(tx.init, params),
            jax.jit(tx.init)(params),
        )
    ]
    assert types[1:] == types[:1] * 3


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float64", "complex64", "complex128"])
@pytest.mark.parametrize("name", SCALES)
def test_second_moments_of_wide_parameters_are_as_wide(name, dtype):
    state = SCALES[name][0]().init(jnp.ones((2, 3), dtype))
    moment = state.nu if hasattr(state, "nu") else state.n
    assert moment.dtype == dtype


INJECTED = {
    "adamw_agr": (optaxmods.adamw_agr, oracles.agr.adamw_agr, {"b2": 0.999}),
    "adan": (optaxmods.adan, oracles.adan.adan, {"b3": 0.999}),
    "adan_agr": (optaxmods.adan_agr, oracles.agr.adan_agr, {"b3": 0.999}),
}


def gradients_with_a_dead_row(dtype):
    gradients = np.random.default_rng(2).standard_normal((40, 4, 3))
    gradients[:, 1] = 0
    return of_rounded(gradients, dtype)


def of_injected(name, gradients, dtype, rates, **options):
    """Steps of an optimizer all of whose numbers are injected."""
    factory, oracle, _ = INJECTED[name]
    decay = {"weight_decay": 0.0} if name == "adamw_agr" else {}
    tx = optax.inject_hyperparams(factory, **options)(
        learning_rate=lambda step: 1.0 + 0 * step, **rates, **decay
    )
    got, state = run(tx, gradients, dtype, dtype)
    return -got, state, oracle


@pytest.mark.parametrize("name", INJECTED)
@pytest.mark.parametrize("dtype", NARROW)
def test_injected_in_float32(name, dtype):
    gradients = gradients_with_a_dead_row(dtype)
    rates = INJECTED[name][2]
    got, state, oracle = of_injected(
        name, gradients, dtype, rates, hyperparam_dtype=jnp.float32
    )
    assert state.hyperparams["b2"].dtype == jnp.float32
    want = steps_of(oracle, gradients, **rates)
    assert error(got, want) < 4 * NARROW[dtype]
    np.testing.assert_array_equal(got[:, 1], 0)


@pytest.mark.parametrize("name", INJECTED)
@pytest.mark.parametrize(
    ("dtype", "rounded", "decay", "below_1"),
    [
        # In bfloat16 0.999 is 1, in float16 0.9999 is, and 1e-8 is 0.
        ("bfloat16", jnp.bfloat16, 0.999, 1 - 2**-8),
        ("float16", jnp.float16, 0.9999, 1 - 2**-11),
    ],
)
@pytest.mark.parametrize("scheduled", [False, True])
def test_injected_in_the_parameters_dtype(
    name, dtype, rounded, decay, below_1, scheduled
):
    gradients = gradients_with_a_dead_row(dtype)
    (rate,) = INJECTED[name][2]
    given = (lambda step: decay + 0 * step) if scheduled else decay
    got, state, oracle = of_injected(name, gradients, dtype, {rate: given})
    assert state.hyperparams[rate] == 1
    # The nearest number below 1 stands in; others are rounded as injected.
    rates = {"b1": 0.9, "b2": 0.999}
    if name != "adamw_agr":
        rates = {"b1": 0.98, "b2": 0.92, "b3": 0.99}
    rates = {key: float(rounded(number)) for key, number in rates.items()}
    want = steps_of(oracle, gradients, **{**rates, rate: below_1})
    assert error(got, want) < 4 * NARROW[dtype]
    np.testing.assert_array_equal(got[:, 1], 0)


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("dtype", NARROW)
def test_injected_scales_are_finite(name, dtype):
    tx = optax.inject_hyperparams(SCALES[name][0])()
    got, _ = run(tx, np.zeros((3, 2, 2)), dtype, dtype)
    np.testing.assert_array_equal(got, 0)
    got, _ = run(tx, np.ones((30, 2, 2)), dtype, dtype)
    assert (np.isfinite(got) & (got > 0) & (got < 1.2)).all()


@pytest.mark.parametrize("b1", [0, np.int32(0), jnp.int32(0)])
def test_a_decay_rate_may_be_an_integer(b1):
    gradient = jnp.ones((2, 3))
    tx = optaxmods.scale_by_agr_adam(b1)
    updates, _ = tx.update(gradient, tx.init(gradient))
    np.testing.assert_allclose(updates, 1 - 1 / 6, rtol=1e-5)


@pytest.mark.parametrize("factory", [optaxmods.adamw_agr, optaxmods.adan_agr])
def test_half_of_a_mixed_tree_is_as_in_float32(factory):
    tx = factory(1e-2)
    params = {"kernel": jnp.asarray(make_theta(), jnp.bfloat16)}
    wide = {**params, "head": jnp.ones((2, 3))}
    gradients = jax.tree.map(jnp.ones_like, wide)
    alone = {"head": gradients["head"]}
    got, state = tx.update(gradients, tx.init(wide), wide)
    want, _ = tx.update(alone, tx.init(alone), alone)
    np.testing.assert_array_equal(got["head"], want["head"])
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(wide))


@pytest.mark.parametrize(
    "factory", [optaxmods.scale_by_agr_adam, optaxmods.scale_by_agr_adan]
)
def test_a_complex_parameter_keeps_its_imaginary_part(factory):
    # optax's first moment loses it, with no more than a DeprecationWarning.
    generator = np.random.default_rng(8)
    drawn = generator.standard_normal((2, 3, 2, 4))
    gradients = jnp.asarray(drawn[0] + 1j * drawn[1], jnp.complex64)
    params = jnp.zeros((2, 4), jnp.complex64)
    narrow, wide = factory(mu_dtype="bfloat16"), factory()
    state, want_state = narrow.init(params), wide.init(params)
    for gradient in gradients:
        got, state = narrow.update(gradient, state)
        want, want_state = wide.update(gradient, want_state)
        chex.assert_trees_all_equal(got, want)
