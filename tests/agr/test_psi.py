"""The operator Psi: the paper's facts, and every trap of floating point."""

import functools

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests import oracles
from tests.helpers.psi_cases import (
    DTYPES,
    apply,
    gradients,
    limits,
    wide,
    within_rounding,
)
from tests.helpers.wide import enable_x64

pytestmark = pytest.mark.usual_compilation


@hypothesis.given(gradients())
def test_matches_the_equations(case):
    dtype, gradient = case
    overflow = float(limits(DTYPES[dtype][0]).max)
    g = wide(gradient, dtype)
    total = np.abs(g).sum()
    # At the very edge, rounding decides on which side the sum falls; below
    # the smallest normal numbers alpha is only bounded.
    hypothesis.assume(not 0.999 < total / overflow < 1.001)
    hypothesis.assume(total > 2.1 * float(limits(DTYPES[dtype][0]).tiny))
    with enable_x64(True):
        psi = wide(apply(gradient), dtype)
        alpha = np.asarray(optaxmods.agr_coefficients(gradient))
    want = oracles.agr.psi(g, overflow=overflow)
    assert within_rounding(psi, want, g, dtype)
    want_alpha = oracles.agr.alpha(g, overflow=overflow)
    eps = 4 * float(limits(DTYPES[dtype][0]).eps)
    # A flushed subnormal |g| has alpha 0.
    flushed = float(limits(DTYPES[dtype][0]).tiny) / total
    np.testing.assert_allclose(alpha, want_alpha, rtol=eps, atol=flushed)


@hypothesis.given(gradients(), st.sampled_from([0.0, 0.3, 1.0]))
def test_finite_never_larger_never_of_the_other_sign(case, strength):
    dtype, gradient = case
    with enable_x64(True):
        result = apply(gradient, strength=strength)
        assert result.dtype == gradient.dtype
        assert result.shape == gradient.shape
        psi = wide(result, dtype)
    g = wide(gradient, dtype)
    assert np.all(np.isfinite(psi))
    assert np.all(np.abs(psi) <= np.abs(g) * (1 + 1e-15))
    # Signs, not products: a product of subnormals is 0.
    for part in (np.real, np.imag):
        assert np.all(np.sign(part(psi)) * np.sign(part(g)) >= 0)
    if np.abs(g).max() < 1e150:  # Theorem 4.1.
        assert np.linalg.norm(psi) <= np.linalg.norm(g) * (1 + 1e-15)


@hypothesis.given(
    gradients(), st.sampled_from([-3.0, 0.5, 2.0, -1024.0]), st.integers(0, 99)
)
def test_homogeneous_and_permutation_equivariant(case, factor, seed):
    dtype, gradient = case
    g = wide(gradient, dtype)
    info, summed = limits(dtype), limits(DTYPES[dtype][0])
    # Both sums and all entries in the normal range of their dtypes.
    largest = max(1, abs(factor)) * np.abs(g).sum()
    smallest = np.abs(g)[g != 0].min(initial=np.inf) * min(1, abs(factor))
    hypothesis.assume(largest < float(summed.max) * 0.99)
    hypothesis.assume(np.abs(factor * g).max() < float(info.max) * 0.99)
    hypothesis.assume(smallest > 4 * float(info.tiny))
    order = np.random.default_rng(seed).permutation(gradient.size)

    def permuted(array):
        return np.asarray(array).ravel()[order].reshape(gradient.shape)

    with enable_x64(True):
        scaled = jnp.asarray(np.asarray(gradient) * factor).astype(dtype)
        # -3 times a float16 is rounded once more.
        of_scaled = wide(apply(scaled), dtype)
        of_permuted = wide(apply(jnp.asarray(permuted(gradient))), dtype)
        psi = wide(apply(gradient), dtype)
    tolerance = 4 * float(info.eps) + 8 * float(summed.eps)
    bound = tolerance * np.abs(g)
    assert np.all(np.abs(of_scaled - factor * psi) <= abs(factor) * bound)
    assert np.all(np.abs(of_permuted - permuted(psi)) <= permuted(bound))


@hypothesis.given(gradients())
def test_coefficients_sum_to_one(case):
    dtype, gradient = case
    g, summed = wide(gradient, dtype), limits(DTYPES[dtype][0])
    with np.errstate(over="ignore"):
        total = np.abs(g).sum()
    hypothesis.assume(1e6 * float(summed.tiny) < total)
    hypothesis.assume(total < float(summed.max) * 0.99)
    with enable_x64(True):
        alpha = np.asarray(optaxmods.agr_coefficients(gradient))
        assert alpha.dtype == np.dtype(DTYPES[dtype][0])
    assert abs(alpha.astype(np.float64).sum() - 1) <= 1e-5


@pytest.mark.parametrize("count", [2, 7, 100])
def test_uniform_matrix_shrinks_by_one_over_its_size(count):
    psi = apply(jnp.full((1, count), -3.0))
    np.testing.assert_allclose(psi, -3.0 * (1 - 1 / count), rtol=1e-6)


def test_a_small_entry_beside_a_large_one():
    # alpha of the large one is 0.9995: near 1, and no rounding of it.
    gradient = np.array([[1.0, 5e-4]])
    psi = apply(jnp.asarray(gradient, jnp.float32))
    np.testing.assert_allclose(psi, oracles.agr.psi(gradient), rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_lone_entry_becomes_exactly_zero(dtype):
    generator = np.random.default_rng(0)
    lone = np.zeros((3000, 2, 3))
    lone[:, 1, 1] = generator.lognormal(sigma=2, size=3000)
    psi = apply(jnp.asarray(lone, dtype), reduction_axes=(1, 2))
    assert np.all(np.asarray(psi, np.float64) == 0)


@pytest.mark.parametrize("jit", [False, True])
def test_lone_entry_becomes_exactly_zero_by_a_schedule(jit):
    # Of every eighth of these |g| (1 / |g|) is the number below 1. A traced
    # strength of 1 stands between it and the difference, which is not fused.
    lone = np.zeros((400, 1, 2), np.float32)
    lone[:, 0, 0] = np.arange(1, 401)
    tx = optaxmods.agr(
        lambda count: jnp.where(count < 9, 1.0, 0.5), reduction_axes=(1, 2)
    )
    update = jax.jit(tx.update) if jit else tx.update
    psi, _ = update(jnp.asarray(lone), tx.init(lone))
    np.testing.assert_array_equal(psi, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_smallest_normal_number_alone(dtype):
    # 4 / tiny is infinite, and 0 times that no number.
    tiny = float(np.finfo(dtype).tiny)
    with enable_x64(dtype == "float64"):
        gradient = jnp.asarray([[tiny, 0.0]], dtype)
        np.testing.assert_array_equal(apply(gradient), [[tiny, 0.0]])
        alpha = optaxmods.agr_coefficients(gradient)
    np.testing.assert_allclose(alpha, 0, atol=1e-6)


def test_all_zero_matrix_stays_zero():
    psi = apply({"w": jnp.zeros((3, 3)), "v": jnp.ones((2, 2))})
    np.testing.assert_array_equal(psi["w"], 0.0)
    np.testing.assert_allclose(psi["v"], 0.75)


def test_float16_sum_beyond_65504():
    psi = apply(jnp.full((64, 64), 1000.0, jnp.float16))
    want = np.float16(1000 * (1 - 1 / 4096))
    np.testing.assert_array_equal(psi, want)


def test_bfloat16_is_summed_and_damped_in_float32():
    # In bfloat16 a sum of ones ends at 256 and 1 - 2**-12 is 1.
    gradient = jnp.ones((64, 64), jnp.bfloat16)
    alpha = optaxmods.agr_coefficients(gradient)
    np.testing.assert_allclose(alpha, 2.0**-12, rtol=1e-6)
    tx = optaxmods.scale_by_agr_adam(b1=0.5, mu_dtype=jnp.float32)
    _, state = tx.update(gradient, tx.init(gradient))
    np.testing.assert_allclose(state.mu, 0.5 * (1 - 2.0**-12), rtol=1e-7)


def test_sums_at_both_ends_of_the_range():
    # 1 / sum would overflow, be flushed to zero, or overflow when squared.
    for total in (2.0**-120, 2.0**-100, 2.0**100, 1.9 * 2.0**127):
        gradient = np.array([[0.75, 0.25]]) * total
        psi = apply(jnp.asarray(gradient, jnp.float32))
        want = oracles.agr.psi(gradient)
        np.testing.assert_allclose(psi, want, rtol=1e-6)


def test_overflown_sum_means_no_damping():
    gradient = jnp.full((2, 2), 3e38)
    np.testing.assert_array_equal(apply(gradient), gradient)
    modulus_overflows = jnp.full((1, 2), 3e38 + 3e38j, jnp.complex64)
    np.testing.assert_array_equal(apply(modulus_overflows), modulus_overflows)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_propagates_inside_its_own_leaf(bad):
    clean = jnp.array([[1.0, 3.0]])
    updates = {"a": jnp.array([[bad, 1.0]]), "b": clean, "c": jnp.ones(2)}
    psi = apply(updates)
    assert not np.isfinite(psi["a"]).all()
    np.testing.assert_array_equal(psi["b"], apply(clean))
    np.testing.assert_array_equal(psi["c"], 1.0)


def test_no_entry_of_a_single_entry_leaf_is_lost():
    updates = {"scale": jnp.ones((1, 1)), "scalar": jnp.float32(2.0)}
    for axes in (None, "all"):
        psi = apply(updates, reduction_axes=axes)
        np.testing.assert_array_equal(psi["scale"], 1.0)
        np.testing.assert_array_equal(psi["scalar"], 2.0)


def test_vectors_are_left_alone_unless_all_is_asked_for():
    bias = jnp.array([1.0, 3.0])
    np.testing.assert_array_equal(apply(bias), bias)
    psi = apply(bias, reduction_axes="all")
    np.testing.assert_allclose(psi, [0.75, 0.75], rtol=1e-6)


@pytest.mark.parametrize("stacked_axis", [0, 1, 2])
def test_stacked_layers_equal_vmapped_ones(stacked_axis):
    generator = np.random.default_rng(1)
    stacked = jnp.asarray(generator.standard_cauchy((3, 4, 5)), jnp.float32)
    axes = tuple(axis for axis in range(3) if axis != stacked_axis)
    psi = apply(stacked, reduction_axes=axes)
    one_by_one = jax.vmap(apply, stacked_axis, stacked_axis)(stacked)
    np.testing.assert_allclose(psi, one_by_one, rtol=1e-6)
    # And differs from one matrix of all layers.
    assert np.abs(np.asarray(apply(stacked)) - psi).max() > 1e-3


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_interpolates(strength):
    generator = np.random.default_rng(2)
    gradient = generator.standard_cauchy((6, 4))
    psi = apply(jnp.asarray(gradient, jnp.float32), strength=strength)
    want = oracles.agr.psi(gradient, strength)
    np.testing.assert_allclose(psi, want, rtol=1e-5)


def test_scheduled_strength():
    gradient = jnp.array([[1.0, 3.0]])
    schedule = optax.piecewise_constant_schedule(1.0, {2: 0.5, 3: 0.0})
    tx = optaxmods.agr(schedule)
    state = tx.init(gradient)
    assert isinstance(state, optaxmods.AgrState)
    for step in range(5):
        psi, state = tx.update(gradient, state)
        want = oracles.agr.psi(np.array([[1.0, 3.0]]), float(schedule(step)))
        np.testing.assert_allclose(psi, want, rtol=1e-6)
    assert state.count == 5


def test_a_schedule_on_the_state_of_a_number():
    gradient = jnp.ones((2, 2))
    state = optaxmods.agr().init(gradient)
    with pytest.raises(ValueError, match="call init again"):
        optaxmods.agr(lambda step: 1.0).update(gradient, state)


def test_a_number_keeps_agr_stateless():
    state = optaxmods.agr(0.5).init(jnp.ones((2, 2)))
    assert isinstance(state, optax.EmptyState)


@pytest.mark.parametrize("number", [1e-3, 0.049, np.float64(1e-2), 1e-30])
def test_a_strength_in_a_learning_rate_s_place_earns_a_warning(number):
    with pytest.warns(UserWarning, match="a learning rate goes to") as told:
        optax.chain(optaxmods.agr(number), optax.adamw(1e-3))
    (warning,) = told
    # It points here, and says where a learning rate goes.
    assert warning.filename == __file__
    assert f"optax.adamw({number})" in str(warning.message)
    assert f"agr(strength={number})" in str(warning.message)


def test_a_strength_that_is_meant_earns_no_warning():
    """Warnings are errors here."""
    for strength in (0, 0.0, 0.05, 1, 1.0):
        optaxmods.agr(strength)
    for strength in (jnp.float32(1e-3), np.array(1e-3), lambda _: 1e-3):
        optaxmods.agr(strength)
    optaxmods.agr(strength=1e-3)
    optaxmods.agr(strength=1e-3, max_alpha=1e-3)
    params = jnp.ones((2, 2))
    for solver in (
        optax.inject_hyperparams(optaxmods.agr)(1e-3),
        optax.inject_hyperparams(optaxmods.agr)(strength=1e-3),
    ):
        solver.update(params, solver.init(params))
    # An error comes alone.
    with pytest.raises(ValueError, match="max_alpha"):
        optaxmods.agr(1e-3, max_alpha=2.0)


every_factory = pytest.mark.parametrize(
    "factory",
    [
        optaxmods.agr,
        optaxmods.scale_by_agr_adam,
        functools.partial(optaxmods.adamw_agr, 1e-3),
        optaxmods.scale_by_agr_adan,
        functools.partial(optaxmods.adan_agr, 1e-3),
    ],
)


@every_factory
@pytest.mark.parametrize(
    "strength", [-0.1, 1.5, float("nan"), np.float32(1.5), np.int64(2)]
)
def test_strength_outside_the_unit_interval(factory, strength):
    with pytest.raises(ValueError, match=r"strength must be in \[0, 1\]"):
        factory(strength=strength)


@every_factory
@pytest.mark.parametrize(
    "strength",
    ["0.5", None, 0.5j, [0.5], np.ones(2), jnp.bool_(True), True],
)
def test_strength_that_is_no_real_number(factory, strength):
    with pytest.raises(ValueError, match="strength must be a number or a sch"):
        factory(strength=strength)


@every_factory
def test_a_schedule_that_returns_no_real_number(factory):
    tx = factory(strength=lambda step: jnp.ones(2))
    gradient = jnp.ones((2, 2))
    state = tx.init(gradient)
    with pytest.raises(ValueError, match="must return one real number"):
        jax.eval_shape(tx.update, gradient, state, gradient)


def test_coefficients_mirror_the_tree():
    generator = np.random.default_rng(3)
    kernel = generator.standard_cauchy((4, 3))
    updates = {"kernel": jnp.asarray(kernel, jnp.bfloat16), "b": jnp.ones(3)}
    alpha = optaxmods.agr_coefficients(updates)
    assert alpha["kernel"].dtype == jnp.float32
    rounded = np.asarray(updates["kernel"], np.float64)
    want = oracles.agr.alpha(rounded)
    np.testing.assert_allclose(alpha["kernel"], want, rtol=1e-6)
    np.testing.assert_array_equal(alpha["b"], 0.0)
    everywhere = optaxmods.agr_coefficients(updates, reduction_axes="all")
    np.testing.assert_allclose(everywhere["b"], 1 / 3, rtol=1e-6)


def test_leaves_that_are_no_jax_arrays():
    # NumPy's float64 is a float32 in JAX without 64 bits.
    kernel = np.array([[3.0, -1.0]])
    updates = {"kernel": kernel, "scale": 2.0}
    for psi in (apply(updates), jax.jit(apply)(updates)):
        assert psi["kernel"].dtype == jnp.float32
        np.testing.assert_allclose(psi["kernel"], oracles.agr.psi(kernel))
        assert psi["scale"] == 2.0
    alpha = optaxmods.agr_coefficients(updates)
    np.testing.assert_allclose(alpha["kernel"], oracles.agr.alpha(kernel))
    assert alpha["scale"] == 0.0


def test_float8():
    gradient = jnp.array([[2.0, -1.0], [4.0, 1.0]], jnp.float8_e4m3fn)
    psi = apply(gradient)
    assert psi.dtype == gradient.dtype
    want = jnp.asarray(oracles.agr.psi(np.asarray(gradient, float)), psi.dtype)
    np.testing.assert_array_equal(psi.astype(float), want.astype(float))
    assert optaxmods.agr_coefficients(gradient).dtype == jnp.float32


def test_gradients_of_integers():
    # jax.grad(..., allow_int=True) gives float0 for integer parameters.
    updates = {
        "steps": np.zeros((2, 2), jax.dtypes.float0),
        "kernel": jnp.ones((2, 2)),
    }
    psi = apply(updates)
    assert psi["steps"].dtype == jax.dtypes.float0
    np.testing.assert_allclose(psi["kernel"], 0.75)
    alpha = optaxmods.agr_coefficients(updates)
    np.testing.assert_array_equal(alpha["steps"], 0.0)
