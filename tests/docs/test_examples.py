"""Each program of docs/examples, as a user would run it."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "examples"
PROGRAMS = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if "__main__" in path.read_text()  # Not a part of another.
)


def check_accuracy(out, _):
    (accuracy,) = re.findall(r"accuracy on .* (\S+)$", out, re.M)
    assert float(accuracy) > 0.9


def check_mesh(out, _):
    first, *_, last = map(float, re.findall(r"loss (\S+)$", out, re.M))
    assert last < first / 10
    leaves = re.findall(r"^\w+: (P.*\)), its moment (P.*\))$", out, re.M)
    assert len(leaves) == 6
    for spec, of_moment in leaves:
        assert of_moment == spec
        assert "'data'" in spec
        assert "'model'" in spec


def check_text(out, _):
    first, *_, last = map(float, re.findall(r"loss (\S+),", out))
    assert last < first - 0.5
    accepted = re.findall(r"accepted (\S+)$", out, re.M)
    assert min(map(float, accepted)) > 0.5
    plain, ours = map(int, re.findall(r"reserves (\d+) MiB$", out, re.M))
    assert ours < plain / 2


def check_one_process(out, err):
    assert "6 steps on 8 devices" in out
    assert err.count("begins after step 0\n") == 1


def check_processes(out, err):
    assert "the same bits: True" in out
    # Nothing else shows that the second pair restored anything.
    begins = re.findall(r"process \d begins after step (\d)", err)
    assert begins == ["0", "0", "3", "3"]


CHECKS = {
    "linen_loop": check_accuracy,
    "nnx_loop": check_accuracy,
    "linen_text": check_text,
    "nnx_text": check_text,
    "mesh_loop": check_mesh,
    "pod_loop": check_one_process,
    "multi_process": check_processes,
}

# What a user would train longer, and one on a text of its own.
ARGUMENTS = {
    "linen_text": ["--steps", "2"],
    "nnx_text": ["words.txt", "--steps", "2"],
}


def test_no_program_is_left_out():
    assert set(CHECKS) == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs_as_written(name, tmp_path):
    (tmp_path / "words.txt").write_text("to be or not to be " * 99)
    # A program asks for the devices that it needs, whatever the user has set.
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=2"
    ran = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *ARGUMENTS.get(name, [])],
        cwd=tmp_path,
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert not re.search(r"\b(nan|inf|False)\b", ran.stdout), ran.stdout
    CHECKS[name](ran.stdout, ran.stderr)
