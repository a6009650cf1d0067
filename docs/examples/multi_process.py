"""Runs ``pod_loop.py`` on two processes; a resumed run ends with the same bits.

    python multi_process.py

starts both on this machine, with four virtual CPU devices each; other numbers
that ``pod_loop.py`` allows do as well. On a pod every host starts one process
by itself. There ``work`` has no ``use_cpus``, and calls
``jax.distributed.initialize()`` without arguments.
"""

import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pod_loop

PROCESSES, DEVICES = 2, 4  # The devices are those of each process.


def work(address, index, folder):
    """What one process does."""
    pod_loop.use_cpus(DEVICES)
    jax.distributed.initialize(address, PROCESSES, int(index))
    pod_loop.train(folder)


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
    """Ends all of them where one fails or the time is over.

    Raises:
      RuntimeError: one has failed.
      TimeoutError: one still ran when the time was over.
    """
    deadline = time.monotonic() + seconds
    try:
        while None in (codes := [worker.poll() for worker in workers]):
            if any(codes):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds} s their codes are {codes}")
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if any(codes := [worker.returncode for worker in workers]):
        raise RuntimeError(f"the processes ended with {codes}")


def launch():
    pod_loop.use_cpus(PROCESSES * DEVICES)
    first = str(pod_loop.SAVE_EVERY)
    with tempfile.TemporaryDirectory() as folder:
        whole, resumed = (pathlib.Path(folder, x) for x in ("whole", "resumed"))
        wait_for(start_workers(whole))
        # As after a crash, which left the first checkpoint only.
        shutil.copytree(whole / first, resumed / first)
        wait_for(start_workers(resumed))
        # On a mesh of this process alone.
        target = pod_loop.abstract_start(pod_loop.make_mesh())
        ends = [
            pod_loop.restore(ocp.CheckpointManager(path), target)
            for path in (whole, resumed)
        ]
    agree = jax.tree.all(jax.tree.map(np.array_equal, *ends))
    print(f"{pod_loop.STEPS} steps on {PROCESSES} processes")
    print(f"resumed after step {first}, the same bits:", agree)


if __name__ == "__main__":
    work(*sys.argv[1:]) if sys.argv[1:] else launch()
