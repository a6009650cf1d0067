"""A worker of ``multi_process.py`` that tells its shardings; killed if told.

Usage: process_run.py ADDRESS INDEX FOLDER; kill -9 comes in process 1 when it
is about to begin step KILLED_BEFORE, where the environment has that name.
"""

import json
import os
import pathlib
import signal
import sys

import jax
import orbax.checkpoint as ocp

EXAMPLES = pathlib.Path(__file__).parents[1] / "docs" / "examples"
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


def kill_before(step):
    read_batch = pod_loop.read_batch

    def counted(asked):
        if asked == step and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return read_batch(asked)

    pod_loop.read_batch = counted


def save_in_the_foreground():
    """What was saved before a kill is then whole, whatever the timing."""
    manager = ocp.CheckpointManager
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    ocp.CheckpointManager = lambda folder: manager(folder, options=options)


def train_and_tell(folder):
    told = shardings_of(train(folder))
    path = pathlib.Path(folder, f"shardings-{jax.process_index()}.json")
    path.write_text(json.dumps(told))


if __name__ == "__main__":
    train, pod_loop.train = pod_loop.train, train_and_tell
    if "KILLED_BEFORE" in os.environ:
        save_in_the_foreground()
        kill_before(int(os.environ["KILLED_BEFORE"]))
    multi_process.work(*sys.argv[1:])
