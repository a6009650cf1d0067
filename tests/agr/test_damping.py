"""AGR's largest coefficient: what it leaves of a gradient, in every dtype."""

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


@pytest.mark.parametrize("max_alpha", [0.0, 0.125, 0.5, 1.0])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_coefficients_above_the_largest_count_as_it(max_alpha, strength):
    gradient = np.random.default_rng(2).standard_cauchy((6, 4))
    raw = oracles.agr.alpha(gradient)
    assert (raw > 0.125).any()
    assert (raw < 0.125).any()
    single = jnp.asarray(gradient, jnp.float32)
    alpha = optaxmods.agr_coefficients(single, max_alpha=max_alpha)
    want = np.minimum(raw, max_alpha)
    np.testing.assert_allclose(alpha, want, rtol=1e-5)
    psi = apply(single, strength=strength, max_alpha=max_alpha)
    want = gradient * (1 - strength * want)
    np.testing.assert_allclose(psi, want, rtol=1e-5)


@hypothesis.given(gradients(), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_every_entry_keeps_the_rest_of_the_largest_coefficient(case, limit):
    dtype, gradient = case
    g = wide(gradient, dtype)
    with enable_x64(True):
        psi = wide(apply(gradient, max_alpha=limit), dtype)
        # As an array it takes part in the program, also where it is 1.
        traced = wide(apply(gradient, max_alpha=jnp.asarray(limit)), dtype)
    assert within_rounding(traced, psi, g, dtype)
    assert np.all(np.isfinite(psi))
    slack = float(limits(dtype).smallest_subnormal) + float(
        limits(DTYPES[dtype][0]).tiny
    )
    rounding = 1 - float(limits(dtype).eps)
    assert np.all(np.abs(psi) >= np.abs(g) * (1 - limit) * rounding - slack)
    assert np.all(np.abs(psi) <= np.abs(g) * (1 + 1e-15))


@pytest.mark.parametrize(
    "factory",
    [
        optaxmods.agr,
        functools.partial(optaxmods.scale_by_agr_adam, eps_root=0.0),
        functools.partial(optaxmods.adamw_agr, 1.0, weight_decay=0.0),
        optaxmods.scale_by_agr_adan,
        functools.partial(optaxmods.adan_agr, 1.0),
    ],
)
def test_a_lone_entry_learns_where_the_coefficients_are_capped(factory):
    # Two steps: all differences are 0, and m_hat / sqrt(n_hat) = Psi / |g|.
    gradient = jnp.zeros((3, 1)).at[1, 0].set(2.0)
    for max_alpha, kept in ((1.0, 0.0), (0.5, 0.5), (0.25, 0.75)):
        tx = factory(max_alpha=max_alpha)
        state = tx.init(gradient)
        for _ in range(2):
            updates, state = tx.update(gradient, state, gradient)
        size = 2 * kept if factory is optaxmods.agr else kept
        got = np.abs(np.asarray(updates))
        # 1 - 0.999 ** 2 has only four digits in float32.
        np.testing.assert_allclose(got, [[0], [size], [0]], rtol=1e-4)


def test_the_largest_coefficient_can_be_injected():
    gradient = jnp.zeros((3, 1)).at[1, 0].set(2.0)
    tx = optax.inject_hyperparams(optaxmods.agr)(max_alpha=1.0)
    state = tx.init(gradient)
    update = jax.jit(tx.update)
    for max_alpha in (1.0, 0.5, 0.0):
        state.hyperparams["max_alpha"] = jnp.asarray(max_alpha)
        psi, _ = update(gradient, state)
        np.testing.assert_array_equal(psi[1, 0], 2 * (1 - max_alpha))
