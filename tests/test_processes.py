"""Two processes train as one does, and a killed pair resumes to the same bits.

They run ``docs/examples/pod_loop.py``: GAL, AGR, Adan and LGA on a mesh.
"""

import json
import pathlib
import signal

import chex
import jax
import orbax.checkpoint as ocp
from process_run import multi_process, pod_loop, shardings_of
import pytest

PROGRAM = pathlib.Path(__file__).with_name("process_run.py")
SECONDS = 300  # Nothing hangs: after these, what still runs is killed.


@pytest.fixture(scope="module", autouse=True)
def quick_workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    multi_process.wait_for(
        multi_process.start_workers(folder, PROGRAM), SECONDS
    )
    return folder


def end_of(folder):
    """Returns the last checkpoint, read by this process alone."""
    with (
        jax.set_mesh(pod_loop.make_mesh()),
        ocp.CheckpointManager(folder) as checkpoints,
    ):
        assert checkpoints.latest_step() == pod_loop.STEPS
        return pod_loop.restore(checkpoints, pod_loop.abstract_start())


@pytest.mark.usefixtures("quick_compilation")
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
    for index in range(multi_process.PROCESSES):
        told = (undisturbed / f"shardings-{index}.json").read_text()
        assert json.loads(told) == halves
    params, state = want
    for moments in state.inner_state[2][0]._asdict().values():
        if isinstance(moments, dict):
            assert shardings_of(moments) == shardings_of(params)


@pytest.mark.usefixtures("quick_compilation")
def test_a_killed_pair_resumes_to_the_same_bits(
    undisturbed, tmp_path, monkeypatch
):
    with monkeypatch.context() as killing:
        killing.setenv("KILLED_BEFORE", str(pod_loop.SAVE_EVERY + 1))
        workers = multi_process.start_workers(tmp_path, PROGRAM)
        with pytest.raises(RuntimeError, match=f"-{signal.SIGKILL}"):
            multi_process.wait_for(workers, SECONDS)
    assert workers[1].returncode == -signal.SIGKILL
    with ocp.CheckpointManager(tmp_path) as checkpoints:
        assert checkpoints.all_steps() == [pod_loop.SAVE_EVERY]
    multi_process.wait_for(
        multi_process.start_workers(tmp_path, PROGRAM), SECONDS
    )
    chex.assert_trees_all_equal(end_of(tmp_path), end_of(undisturbed))
