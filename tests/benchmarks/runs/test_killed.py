"""A run that is killed, by kill -9, resumes to the report of one that is not.

It trains in processes of their own with ``benchmarks.training``.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from benchmarks import studies
from benchmarks.reporting import report
from tests.helpers import killed_run
from tests.helpers.made_up import contents

NAME = "perceptron"
ROOT = pathlib.Path(__file__).parents[3]
CELLS = 2 * 3  # Methods and seeds.


def start(out, kill_before_cell=0):
    script = [sys.executable, killed_run.__file__]
    return subprocess.Popen(
        [*script, str(kill_before_cell), "run", NAME, "--out", str(out)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # Compiles faster.
        },
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process):
    """Returns the exit code and what was printed."""
    printed, _ = process.communicate()
    return process.returncode, printed


def numbers_of(out):
    """Returns all that was measured, to the last bit, by the cells' files."""
    found = {
        path.name: json.loads(path.read_text())
        for path in out.rglob("*.seed-*.json")
    }
    assert len(found) == CELLS
    return {
        name: (cell["curves"], cell["final"], cell["seeds_together"])
        for name, cell in found.items()
    }


def without_times(name, content):
    """Returns a file of a report less what a clock put there."""
    if name.endswith(".png"):
        return content
    text = content.decode()
    if name.endswith(".json"):
        return re.sub(r'"wall_seconds": [0-9.]+', "", text)
    return re.sub(r"took [0-9.,]+ s in all", "", text)


def report_of(out):
    return {
        str(path.relative_to(out)): without_times(path.name, path.read_bytes())
        for path in report.write_all(studies.find_all(), out)
    }


@pytest.fixture(autouse=True)
def own_studies(monkeypatch):
    paths = [*studies.__path__, str(killed_run.STUDIES)]
    monkeypatch.setattr(studies, "__path__", paths)


def test_a_killed_run_resumes_to_the_same_report(tmp_path):
    with start(tmp_path / "undisturbed") as undisturbed:
        # The last of three seeds that were trained in one program.
        killed, _ = end(start(tmp_path / "killed", kill_before_cell=3))
        assert killed == -signal.SIGKILL
        (folder,) = (tmp_path / "killed" / NAME).iterdir()
        left = contents(folder)
        whole = {name for name in left if name.endswith(".json")}
        finished = {"adamw.seed-0.json", "adamw.seed-1.json"}
        assert whole == finished | {"configuration.json"}
        assert len(left) == len(whole) + 1  # The file that it was writing.

        _, printed = end(start(tmp_path / "killed"))
        assert f"{CELLS - 2} trained, 2 found finished" in printed
        kept = contents(folder)
        assert all(kept[name] == left[name] for name in finished)

        _, printed = end(undisturbed)
        assert f"{CELLS} trained, 0 found finished" in printed
    assert numbers_of(tmp_path / "killed") == numbers_of(
        tmp_path / "undisturbed"
    )
    ours = report_of(tmp_path / "killed")
    assert ours == report_of(tmp_path / "undisturbed")
    assert {f"{NAME}/small.{kind}" for kind in ("json", "md")} < set(ours)
