"""GAL, AGR and LGA in one step under shard_map, beside one device."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from optaxmods import (
    GradientAdjuster,
    adan_agr,
    adjuster_params,
    gal,
    with_lga,
)
from tests.helpers.split_matrices import AUTO, EXPLICIT, assert_close, make_mesh

BATCH, INPUTS, CLASSES = 8, 6, 3
# The examples are split by "data", the rows of the kernel by "model".
SPECS = P("model", None), P("data", "model"), P("data")


def make_step(examples=None, rows=None):
    adjuster = GradientAdjuster((4,), 0.09, axis_name=examples)
    tx = with_lga(
        optax.chain(gal(adjuster, CLASSES), adan_agr(1e-2, axis_name=rows)),
        1e-3,
        status_every=1,
        axis_name=examples,
    )

    def losses_of(logits, labels):
        targets = jax.nn.one_hot(labels, CLASSES)
        return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)

    def two_steps(kernel, inputs, labels):
        def objective(kernel, theta):
            logits = inputs @ kernel
            logits = jax.lax.psum(logits, rows) if rows else logits
            return adjuster.loss(theta, logits, lambda z: losses_of(z, labels))

        state, losses = tx.init(kernel), []
        for _ in range(2):
            (loss, _), (grads, adjuster_grads) = jax.value_and_grad(
                objective, argnums=(0, 1), has_aux=True
            )(kernel, adjuster_params(state))
            updates, state = tx.update(
                grads, state, kernel, value=loss, adjuster_grads=adjuster_grads
            )
            kernel = optax.apply_updates(kernel, updates)
            losses.append(loss)
        return kernel, adjuster_params(state), jnp.stack(losses)

    return two_steps


@pytest.mark.parametrize("axis_type", [AUTO, EXPLICIT])
def test_all_three_by_name(axis_type):
    generator = np.random.default_rng(0)
    arguments = (
        jnp.asarray(generator.standard_normal((INPUTS, CLASSES)), jnp.float32),
        jnp.asarray(generator.standard_normal((BATCH, INPUTS)), jnp.float32),
        jnp.asarray(generator.integers(CLASSES, size=BATCH)),
    )
    want = jax.jit(make_step())(*arguments)
    mesh = make_mesh(axis_type, axis_type)
    step = jax.shard_map(
        make_step("data", "model"),
        mesh=mesh,
        in_specs=SPECS,
        out_specs=(SPECS[0], P(), P()),
    )
    with jax.set_mesh(mesh):
        got = jax.jit(step)(*map(jax.device_put, arguments, SPECS))
    assert_close(jax.tree.leaves(got), jax.tree.leaves(want))
    assert want[-1][1] < want[-1][0]
