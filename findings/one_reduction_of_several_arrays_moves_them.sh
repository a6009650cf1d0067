#!/usr/bin/env bash
# One lax.reduce over several arrays sends whole arrays over a mesh.
#
# Guess: jax.lax.reduce of a tuple of arrays is the reductions of each, written
# as one, so that fewer kernels start. Over arrays that a mesh splits, XLA's
# partitioner sums each device's part and sends scalars, as it does for the
# reductions one by one; at best all of them in one all-reduce.
#
# What happens: the arrays are brought to one sharding first. Two matrices of
# 64 x 64, one split by rows and one by columns, cost an all-gather of a whole
# matrix and two of partial sums, and XLA warns of a full rematerialization; the
# sums one by one send scalars in all-reduces and nothing else. Where both are
# split alike only partial sums travel, but in an
# all-gather for each array, where the sums one by one share one all-reduce. It
# is the same on automatic and on explicit axes.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, numpy 2.5.5 (jax 0.10.2 too), XLA's
# CPU compiler with 8 devices. The TPU's (libtpu 0.0.42.1 beside jax 0.10.2,
# v5e:4x4) gathers, too, where shardings are mixed.
#
# Why it matters: the reduction of many small arrays at once saves kernels on
# one chip (a TPU's compiler makes one of 32), and a norm of all gradients, or a
# sum for each, tempts to it. On a mesh it moves the model.
#
# No report was found.

set -euo pipefail

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || {
  echo "JAX 0.11 and later need Python 3.12 or later: set PYTHON" >&2
  exit 2
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  jax==0.12.0.1 jaxlib==0.12.0.1 numpy==2.5.5

cat >"$folder/program.py" <<'EOF'
import math
import os
import re

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

print("jax", jax.__version__)
KINDS = "all-gather|all-reduce|all-to-all|collective-permute"


def at_once(arrays):
    return jax.lax.reduce(
        tuple(arrays),
        (0.0,) * len(arrays),
        lambda a, b: tuple(x + y for x, y in zip(a, b)),
        (0, 1),
    )


def one_by_one(arrays):
    return [jnp.sum(array) for array in arrays]


def travels(function, mesh, *specs):
    """Each kind of collective, how many, and entries of the largest array."""
    arrays = [
        jax.ShapeDtypeStruct(
            (64, 64), jnp.float32, sharding=NamedSharding(mesh, spec)
        )
        for spec in specs
    ]
    with jax.set_mesh(mesh):
        text = jax.jit(function).lower(arrays).compile().as_text()
    found = re.findall(rf"= (.*?) ({KINDS})(?:-start)?\(", text)
    kinds = [kind for _, kind in found]
    sizes = [
        math.prod(int(size) for size in shape.split(",") if size)
        for result, _ in found
        for shape in re.findall(r"\[([\d,]*)\]", result)
    ]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}, max(sizes)


for axis_type in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    for title, specs in {
        "split alike": [P("data")] * 2,
        "split by rows and by columns": [P("data"), P(None, "model")],
    }.items():
        plain = travels(one_by_one, mesh, *specs)
        joint = travels(at_once, mesh, *specs)
        print(f"{axis_type.name}, {title}: one by one {plain}, at once {joint}")
        assert set(plain[0]) == {"all-reduce"} and plain[1] == 1
        if title == "split alike":
            assert plain[0] == {"all-reduce": 1}
            assert joint == ({"all-gather": 2}, 4)
        else:
            assert joint[0]["all-gather"] > 2 and joint[1] >= 1024
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
