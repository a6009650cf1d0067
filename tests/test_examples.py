"""Each program of docs/examples, as a user would run it."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "examples"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py"))
LEAST_ACCURACY = {"linen_loop": 0.9, "nnx_loop": 0.9}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs_as_written(name, tmp_path):
    ran = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    assert not re.search(r"\b(nan|inf|False)\b", ran.stdout), ran.stdout
    if name in LEAST_ACCURACY:
        (accuracy,) = re.findall(r"accuracy on .* (\S+)$", ran.stdout, re.M)
        assert float(accuracy) > LEAST_ACCURACY[name]


def test_the_programs_with_an_accuracy_are_there():
    assert set(LEAST_ACCURACY) <= set(PROGRAMS)
