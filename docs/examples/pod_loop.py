"""Trains on all the devices of all processes, from the newest checkpoint on.

    python pod_loop.py

trains in one process with eight virtual CPU devices. On a pod every host starts
one process, which calls ``jax.distributed.initialize()``, and then ``train``
with a folder that all of them see; ``multi_process.py`` does it on one machine.
The number of devices has to be even, and its half and the number of processes
have to divide BATCH.
"""

import functools
import sys
import tempfile

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import orbax.checkpoint as ocp

import optaxmods

STEPS, SAVE_EVERY = 6, 3
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


def make_mesh():
    # With explicit axes the moments are sharded as the parameters are.
    return jax.make_mesh(
        (jax.device_count() // 2, 2),
        ("data", "model"),
        axis_types=(AxisType.Explicit, AxisType.Explicit),
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


def abstract_start(mesh):
    """Shapes, dtypes and shardings of ``start``, which is not run."""

    def on_mesh(leaf):
        spec = leaf.sharding.spec if leaf.sharding else P()
        sharding = NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    with jax.set_mesh(mesh):
        return jax.tree.map(on_mesh, jax.eval_shape(start))


def restore(checkpoints, target):
    args = ocp.args.StandardRestore(target)
    return checkpoints.restore(checkpoints.latest_step(), args=args)


def train(folder):
    """Trains from the newest checkpoint, or from the start where none is.

    All processes call it, and all see the folder, an absolute path.
    """
    mesh = make_mesh()
    sharding = NamedSharding(mesh, P("data"))
    with ocp.CheckpointManager(folder) as checkpoints:
        done = checkpoints.latest_step() or 0
        # With JAX 0.7.2 Orbax saves and restores only where no mesh is set.
        if done:
            params, state = restore(checkpoints, abstract_start(mesh))
        else:
            with jax.set_mesh(mesh):
                params, state = jax.jit(start)()
        told = f"process {jax.process_index()} begins after step {done}"
        print(told, file=sys.stderr)
        for step in range(done, STEPS):
            batch = [
                jax.make_array_from_process_local_data(sharding, part)
                for part in read_batch(step)
            ]
            with jax.set_mesh(mesh):
                params, state = train_step(params, state, *batch)
            if (step + 1) % SAVE_EVERY == 0:
                tree = ocp.args.StandardSave((params, state))
                checkpoints.save(step + 1, args=tree)
    return params, state


def use_cpus(devices):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)


if __name__ == "__main__":
    use_cpus(8)
    with tempfile.TemporaryDirectory() as folder:
        params, state = train(folder)
    print(f"{STEPS} steps on {jax.device_count()} devices")
    print("weights:", params["hidden"].sharding.spec)
    print("losses seen by LGA:", optax.tree.get(state, "lga_count"))
