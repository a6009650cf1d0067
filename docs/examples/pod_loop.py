"""Trains on all the devices of all processes, from the newest checkpoint on.

    python pod_loop.py

trains in one process with eight virtual CPU devices. On a pod every host starts
one process, which calls ``jax.distributed.initialize()`` in place of
``use_cpus``, and then ``train`` with a folder that all of them see;
``multi_process.py`` does it on one machine.
The number of devices has to be even, and its half and the number of processes
have to divide the BATCH of ``pod_step.py``.
"""

import sys
import tempfile

import jax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import optax
import orbax.checkpoint as ocp
from pod_step import read_batch, start, train_step

STEPS, SAVE_EVERY = 6, 3


def make_mesh():
    # With explicit axes the moments are sharded as the parameters are.
    return jax.make_mesh(
        (jax.device_count() // 2, 2),
        ("data", "model"),
        axis_types=(AxisType.Explicit, AxisType.Explicit),
    )


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
