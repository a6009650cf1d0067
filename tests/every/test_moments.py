"""The first moments of a run, where ``init`` is compiled."""

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
import numpy as np
import pytest

import optaxmods

OPTIMIZERS = {
    "adamw_agr": optaxmods.adamw_agr(1e-3),
    "adan": optaxmods.adan(1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_in_the_host_s_memory(name):
    def moments_on(memory_kind):
        place = SingleDeviceSharding(jax.devices()[0], memory_kind=memory_kind)
        params = {"w": jax.device_put(jnp.ones((2, 3)), place)}
        return jax.tree.leaves(jax.jit(OPTIMIZERS[name].init)(params))

    kinds = [leaf.sharding.memory_kind for leaf in moments_on("pinned_host")]
    assert kinds == [leaf.sharding.memory_kind for leaf in moments_on("device")]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_they_are_zeros_whatever_the_parameters_are(name, number):
    params = {"w": jnp.full((2, 3), number), "b": jnp.ones(3, jnp.bfloat16)}
    for leaf in jax.tree.leaves(jax.jit(OPTIMIZERS[name].init)(params)):
        np.testing.assert_array_equal(leaf, 0)


def test_a_real_moment_of_complex_parameters():
    tx = optaxmods.scale_by_agr_adam(mu_dtype=jnp.float32, nu_dtype=jnp.float32)
    params = jnp.ones((2, 3), jnp.complex64)
    state = jax.jit(tx.init)(params)  # A warning is an error.
    # A mean of squares is real, one of gradients is not.
    assert state.nu.dtype == jnp.float32
    assert state.mu.dtype == jnp.complex64


def test_a_complex_moment_of_real_parameters():
    # Beside complex ones, whose moments it is for.
    tx = optaxmods.scale_by_agr_adam(
        mu_dtype=jnp.complex64, nu_dtype=jnp.complex64
    )
    params = {
        "real": jnp.ones((2, 3), jnp.bfloat16),
        "complex": jnp.ones((2, 3), jnp.complex64),
    }
    _, state = tx.update(params, tx.init(params))  # A warning is an error.
    assert state.mu["real"].dtype == jnp.bfloat16
    assert state.nu["real"].dtype == jnp.float32
    assert state.mu["complex"].dtype == state.nu["complex"].dtype == "complex64"
