"""Two processes train as one does, and a killed pair resumes to the same bits.

They run ``docs/examples/pod_loop.py``: GAL, AGR, Adan and LGA on a mesh.
"""

import json
import signal
import subprocess
import sys

import chex
import orbax.checkpoint as ocp
import pytest

from tests.helpers import process_run
from tests.helpers.process_run import multi_process, pod_loop, shardings_of

PROGRAM = process_run.__file__
SECONDS = 300  # Nothing hangs: after these, what still runs is killed.


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    multi_process.wait_for(
        multi_process.start_workers(folder, PROGRAM), SECONDS
    )
    return folder


def end_of(folder):
    """Returns the last checkpoint, read by this process alone."""
    target = pod_loop.abstract_start(pod_loop.make_mesh())
    with ocp.CheckpointManager(folder) as checkpoints:
        assert checkpoints.latest_step() == pod_loop.STEPS
        return pod_loop.restore(checkpoints, target)


def told_in(folder):
    """Returns what each process did."""
    paths = [
        folder / f"told-{index}.json"
        for index in range(multi_process.PROCESSES)
    ]
    return [json.loads(path.read_text()) for path in paths]


def test_two_processes_train_as_one(undisturbed, tmp_path):
    want, got = pod_loop.train(tmp_path), end_of(undisturbed)
    # Sums over two processes are taken, and so rounded, in another order.
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-6)
    # All stays where jit(init) put it, in each process a half.
    assert shardings_of(got) == shardings_of(want)
    halves = {
        path: [spec, parts // multi_process.PROCESSES]
        for path, (spec, parts) in shardings_of(want).items()
    }
    for told in told_in(undisturbed):
        assert told["shardings"] == halves
        assert told["steps"] == list(range(pod_loop.STEPS))
    params, state = want
    for moments in state.inner_state[2][0]._asdict().values():
        if isinstance(moments, dict):
            assert shardings_of(moments) == shardings_of(params)


@pytest.mark.parametrize(
    ("moment", "step"),
    [
        ("KILLED_BEFORE", pod_loop.SAVE_EVERY + 1),
        ("KILLED_SAVING", pod_loop.STEPS),
    ],
)
def test_a_killed_pair_resumes_to_the_same_bits(
    moment, step, undisturbed, tmp_path, monkeypatch
):
    with monkeypatch.context() as killing:
        killing.setenv(moment, str(step))
        workers = multi_process.start_workers(tmp_path, PROGRAM)
        with pytest.raises(RuntimeError, match=f"-{signal.SIGKILL}"):
            multi_process.wait_for(workers, SECONDS)
    assert workers[1].returncode == -signal.SIGKILL
    begun = [path.name for path in tmp_path.iterdir()]
    assert len(begun) == (2 if moment == "KILLED_SAVING" else 1), begun
    with ocp.CheckpointManager(tmp_path) as checkpoints:
        assert checkpoints.all_steps() == [pod_loop.SAVE_EVERY]
    multi_process.wait_for(
        multi_process.start_workers(tmp_path, PROGRAM), SECONDS
    )
    # A run that restored nothing would end alike.
    for told in told_in(tmp_path):
        assert told["steps"] == list(range(pod_loop.SAVE_EVERY, pod_loop.STEPS))
    chex.assert_trees_all_equal(end_of(tmp_path), end_of(undisturbed))


def test_workers_that_do_not_end_in_time():
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    workers = [subprocess.Popen(sleeping) for _ in range(2)]
    with pytest.raises(TimeoutError, match="None, None"):
        multi_process.wait_for(workers, seconds=0.1)
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL] * 2
