"""The training step of ``pod_loop.py``: all three methods on a mesh.

What one process does differently from another is to read its own examples.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import optax

import optaxmods

BATCH, WIDTH, HIDDEN, CLASSES = 16, 8, 16, 4

adjuster = optaxmods.GradientAdjuster(hidden_sizes=())
solver = optaxmods.with_lga(
    optax.chain(
        optaxmods.gal(adjuster, CLASSES),
        optaxmods.agr(),
        optaxmods.adan(1e-2),
    ),
    1e-5,
    status_every=2,
)


def start():
    """The parameters and the optimizer's state; under jit all are sharded."""
    keys = jax.random.split(jax.random.key(0))
    params = {
        "hidden": jax.random.normal(keys[0], (WIDTH, HIDDEN)),
        "output": jax.random.normal(keys[1], (HIDDEN, CLASSES)),
    }
    specs = {"hidden": P(None, "model"), "output": P("model", None)}
    params = jax.tree.map(jax.sharding.reshard, params, specs)
    return params, solver.init(params)


def read_batch(step):
    """This process's part of a batch."""
    examples = np.random.default_rng(step).standard_normal((BATCH, WIDTH))
    parts = np.split(examples.astype(np.float32), jax.process_count())
    inputs = parts[jax.process_index()]
    return inputs, np.argmax(inputs[:, :CLASSES], axis=-1)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train_step(params, state, inputs, labels):
    def objective(params, theta):
        hidden = jnp.tanh(inputs @ params["hidden"])
        logits = jnp.dot(hidden, params["output"], out_sharding=P("data", None))
        return adjuster.loss(
            theta,
            logits,
            lambda z: optax.softmax_cross_entropy_with_integer_labels(
                z, labels
            ),
        )

    theta = optaxmods.adjuster_params(state)
    grad_fn = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    (loss, _), (grads, adjuster_grads) = grad_fn(params, theta)
    updates, state = solver.update(
        grads, state, params, value=loss, adjuster_grads=adjuster_grads
    )
    return optax.apply_updates(params, updates), state
