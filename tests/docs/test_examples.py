"""Each program of docs/examples, as a user would run it."""

import ast
import csv
from importlib import metadata
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "examples"
PROGRAMS = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if "__main__" in path.read_text()  # Not a part of another.
)


def check_accuracy(out, *_):
    (accuracy,) = re.findall(r"accuracy on .* (\S+)$", out, re.M)
    assert float(accuracy) > 0.9


def check_haiku(out, *_):
    check_accuracy(out)
    by_default, by_name = re.findall(r"^AGR sees (.*)$", out, re.M)
    assert by_default.count("batch_norm") == 2
    assert by_name == "linear/w, linear_1/w"


def check_epochs(out, *_):
    check_accuracy(out)
    omegas = list(map(float, re.findall(r"omega (\S+)$", out, re.M)))
    assert omegas[0] > 1
    assert omegas[-1] == 0


def check_sweep(out, *_):
    means = list(map(float, re.findall(r"accuracy (\S+),", out)))
    assert len(means) == 6
    assert max(means) > 0.9
    assert re.search(r"by rate \[.*\]$", out, re.M)


def check_search(out, *_):
    (best,) = re.findall(r"^best loss (\S+),", out, re.M)
    assert float(best) < 0.5
    ends = re.findall(r"^rate \S+, gamma \S+: (\w+)$", out, re.M)
    assert len(ends) == 16
    assert set(ends) == {"complete", "pruned"}


LOGGED = ("alpha/hidden/kernel", "alpha/output/kernel", "lga/omega", "loss")


def check_log(out, _, folder):
    check_accuracy(out)
    assert "left alone: hidden/bias, norm/bias, norm/scale, output/bias" in out
    with (folder / "log" / "training.csv").open(newline="") as lines:
        header, *rows = csv.reader(lines)
    assert set(LOGGED) < set(header)
    assert [row[0] for row in rows] == list(map(str, range(60)))
    losses = [float(row[header.index("loss")]) for row in rows]
    assert losses[-1] < losses[0] / 2
    (events,) = (folder / "log").glob("events.*")
    for name in header[1:]:
        assert events.read_bytes().count(name.encode()) == len(rows)
    assert not any("value" in name for name in header)


def check_fit(out, *_):
    check_accuracy(out)
    losses = re.findall(
        r"^(.*): loss (\S+), \d+ steps, converged True", out, re.M
    )
    assert len(losses) == 3
    for _, loss in losses:
        assert float(loss) < 0.4


def check_inference(out, *_):
    check_accuracy(out)
    assert re.findall(r"^(\w)_\w+ \(.*\): (.*)$", out, re.M) == [
        *[("b", "left alone")] * 2,
        *[("w", "AGR")] * 2,
    ]
    # LGA has seen losses.
    (bound,) = re.findall(r"lower bound (\S+)$", out, re.M)
    assert float(bound) > 0.1


def check_mesh(out, *_):
    first, *_, last = map(float, re.findall(r"loss (\S+)$", out, re.M))
    assert last < first / 10
    leaves = re.findall(r"^\w+: (P.*\)), its moment (P.*\))$", out, re.M)
    assert len(leaves) == 6
    for spec, of_moment in leaves:
        assert of_moment == spec
        assert "'data'" in spec
        assert "'model'" in spec


def check_text(out, *_):
    first, *_, last = map(float, re.findall(r"loss (\S+),", out))
    assert last < first - 0.5
    accepted = re.findall(r"accepted (\S+)$", out, re.M)
    assert min(map(float, accepted)) > 0.5
    plain, ours = map(int, re.findall(r"reserves (\d+) MiB$", out, re.M))
    assert ours < plain / 2


def check_one_process(out, err, _):
    assert "6 steps on 8 devices" in out
    assert err.count("begins after step 0\n") == 1


def check_processes(out, err, _):
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
    "equinox_loop": check_accuracy,
    "haiku_loop": check_haiku,
    "scan_epochs": check_epochs,
    "vmapped_sweep": check_sweep,
    "optuna_search": check_search,
    "log_training": check_log,
    "optimistix_fit": check_fit,
    "numpyro_svi": check_inference,
}

# What a user would train longer, and one on a text of its own.
ARGUMENTS = {
    "linen_text": ["--steps", "2"],
    "nnx_text": ["words.txt", "--steps", "2"],
}


def imported(name):
    """The packages that a program imports, by the names of their modules."""
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name.split(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def is_lower_bound():
    """Whether JAX is that of make test-min, whose environment lacks them."""
    lowest = (ROOT / "constraints-min.txt").read_text()
    return f"\njax=={metadata.version('jax')}\n" in lowest


def test_no_program_is_left_out():
    assert set(CHECKS) == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs_as_written(name, tmp_path):
    beside = {path.stem for path in FOLDER.glob("*.py")}
    missing = {
        each
        for each in set(imported(name)) - beside
        if importlib.util.find_spec(each) is None
    }
    # Elsewhere a package that is missing is a failure.
    if missing and is_lower_bound():
        pytest.skip(f"make test-min installs no {', '.join(missing)}")
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
    CHECKS[name](ran.stdout, ran.stderr, tmp_path)
