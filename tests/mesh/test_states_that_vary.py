"""Gradients that are the same on all devices, beside states that are not."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

import optaxmods
from tests.helpers.split_matrices import EXPLICIT, make_mesh

METHODS = {
    "adan": optaxmods.adan(0.1),
    "adan_agr": optaxmods.adan_agr(0.1),
    "adamw_agr": optaxmods.adamw_agr(0.1),
}


def stepped(tx, state, gradients, params):
    updates, state = tx.update(gradients, state, params)
    return optax.apply_updates(params, updates), state


def wanted(tx, gradients, params):
    return stepped(tx, tx.init(params), gradients, params)[0]


@pytest.mark.parametrize("name", METHODS)
def test_replicas_of_shard_map_keep_states_of_their_own(name):
    tx, mesh = METHODS[name], make_mesh(EXPLICIT)
    params, gradients = np.ones((8, 4), "f"), np.full((8, 4), 0.5, "f")
    state = jax.eval_shape(tx.init, jnp.ones((8, 4)))
    specs = jax.tree.map(lambda x: P("data") if x.ndim else P(), state)
    whole = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state)
    mapped = jax.shard_map(
        lambda state, g, p: stepped(tx, state, g[:2], p)[0],
        mesh=mesh,
        in_specs=(specs, P(None), P("data")),
        out_specs=P("data"),
    )
    placed = jax.tree.map(
        lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec)),
        (whole, gradients, params),
        (specs, P(None), P("data")),
    )
    got = jax.jit(mapped)(*placed)
    want = wanted(tx, jnp.asarray(gradients[:2]), jnp.asarray(params[:2]))
    np.testing.assert_allclose(got, np.tile(want, (4, 1)), rtol=1e-6)
