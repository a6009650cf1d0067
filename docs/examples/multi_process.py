"""Trains on two processes; a resumed run ends with the same bits.

    python multi_process.py

starts both on this machine, with four virtual CPU devices each. On a pod every
host starts one process by itself, which calls ``jax.distributed.initialize()``
without arguments, where ``work`` names an address, and then ``train``.
"""

import functools
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import orbax.checkpoint as ocp

import optaxmods

PROCESSES, DEVICES = 2, 8
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
        (DEVICES // 2, 2),
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


def abstract_start():
    """Shapes, dtypes and shardings of ``start``, which is not run."""
    shardings = jax.jit(start).lower().compile().output_shardings
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=sharding
        ),
        jax.eval_shape(start),
        shardings,
    )


def restore(checkpoints, target):
    args = ocp.args.StandardRestore(target)
    return checkpoints.restore(checkpoints.latest_step(), args=args)


def train(folder):
    """Trains from the newest checkpoint, or from the start where none is.

    All processes call it, and all see the folder.
    """
    mesh = make_mesh()
    sharding = NamedSharding(mesh, P("data"))
    with jax.set_mesh(mesh), ocp.CheckpointManager(folder) as checkpoints:
        done = checkpoints.latest_step() or 0
        if done:
            params, state = restore(checkpoints, abstract_start())
        else:
            params, state = jax.jit(start)()
        for step in range(done, STEPS):
            batch = [
                jax.make_array_from_process_local_data(sharding, part)
                for part in read_batch(step)
            ]
            params, state = train_step(params, state, *batch)
            if (step + 1) % SAVE_EVERY == 0:
                tree = ocp.args.StandardSave((params, state))
                checkpoints.save(step + 1, args=tree)
    return params, state


def work(address, index, folder):
    """What one process does."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES // PROCESSES)
    jax.distributed.initialize(address, PROCESSES, int(index))
    train(folder)


def start_workers(folder, program=__file__):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))  # The system picks a free port.
        address = f"localhost:{probe.getsockname()[1]}"
    command = [sys.executable, program, address]
    return [
        # Gloo, which links CPUs, prints each link that it makes.
        subprocess.Popen(
            [*command, str(index), str(folder)], stdout=subprocess.DEVNULL
        )
        for index in range(PROCESSES)
    ]


def wait_for(workers, seconds=300):
    """Ends all of them where one fails or the time is over."""
    deadline = time.monotonic() + seconds
    try:
        while None in (codes := [worker.poll() for worker in workers]):
            if any(codes) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if any(codes := [worker.returncode for worker in workers]):
        raise RuntimeError(f"the processes ended with {codes}")


def launch():
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    with tempfile.TemporaryDirectory() as folder:
        whole, resumed = (pathlib.Path(folder, x) for x in ("whole", "resumed"))
        wait_for(start_workers(whole))
        # As after a crash, which left the first checkpoint only.
        shutil.copytree(whole / str(SAVE_EVERY), resumed / str(SAVE_EVERY))
        wait_for(start_workers(resumed))
        with jax.set_mesh(make_mesh()):  # Of this process alone.
            target = abstract_start()
            ends = [
                restore(ocp.CheckpointManager(path), target)
                for path in (whole, resumed)
            ]
    agree = jax.tree.all(jax.tree.map(np.array_equal, *ends))
    print(f"{STEPS} steps on {PROCESSES} processes of {DEVICES // 2} devices")
    print(f"resumed after step {SAVE_EVERY}, the same bits:", agree)


if __name__ == "__main__":
    work(*sys.argv[1:]) if sys.argv[1:] else launch()
