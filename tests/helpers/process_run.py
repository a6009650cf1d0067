"""A worker of ``multi_process.py`` that tells what it did; killed if told.

Usage: process_run.py ADDRESS INDEX FOLDER; kill -9 comes in process 1 when it
is about to begin step KILLED_BEFORE, or has begun to save step KILLED_SAVING,
where the environment has one of these names.
"""

import json
import os
import pathlib
import signal
import sys
import time

import jax
import orbax.checkpoint as ocp

EXAMPLES = pathlib.Path(__file__).parents[2] / "docs" / "examples"
sys.path.append(str(EXAMPLES))

import multi_process  # noqa: E402
import pod_loop  # noqa: E402


def shardings_of(tree):
    """Returns each leaf's partition, and how many parts of it lie here."""
    return {
        jax.tree_util.keystr(path): [
            str(leaf.sharding.spec),
            len(leaf.addressable_shards),
        ]
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def note_steps(killed_before):
    """Returns the list that the steps asked for will be in."""
    read_batch, steps = pod_loop.read_batch, []

    def noted(step):
        if step == killed_before and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        steps.append(step)
        return read_batch(step)

    pod_loop.read_batch = noted
    return steps


def save_in_the_foreground():
    """What was saved before a kill is then whole, whatever the timing."""
    manager = ocp.CheckpointManager
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    ocp.CheckpointManager = lambda folder: manager(folder, options=options)


def note_saves(killed_saving):
    save = ocp.CheckpointManager.save

    def noted(self, step, **kwargs):
        # In the background: it is not done before all processes say so.
        save(self, step, **kwargs)
        if step == killed_saving and jax.process_index() == 1:
            while not any(pathlib.Path(self.directory).glob(f"{step}*")):
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)

    ocp.CheckpointManager.save = noted


def tell_after(train, steps):
    def told(folder):
        shardings = shardings_of(train(folder))
        path = pathlib.Path(folder, f"told-{jax.process_index()}.json")
        path.write_text(json.dumps({"steps": steps, "shardings": shardings}))

    return told


if __name__ == "__main__":
    killed_before, killed_saving = (
        int(os.environ.get(name, "-1"))
        for name in ("KILLED_BEFORE", "KILLED_SAVING")
    )
    note_saves(killed_saving)
    if killed_before >= 0:
        save_in_the_foreground()
    steps = note_steps(killed_before)
    pod_loop.train = tell_after(pod_loop.train, steps)
    multi_process.work(*sys.argv[1:])
