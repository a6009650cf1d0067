#!/usr/bin/env bash
# A function that jax.shard_map returned remembers the axis names of its first
# call.
#
# Guess: jax.shard_map(...) is a pure wrapper, as jax.vmap and jax.grad are:
# made once, at the top of a module or in a closure, it may be called under any
# transformation and in any order.
#
# What happens: where axis_names is not given, the first call fills it in from
# the mesh, and keeps it for all later calls. On explicit axes jax.vmap over an
# array that another mesh axis splits takes that axis out of the mesh. After a
# plain call, jax.vmap of the same function then is "ValueError: jax.shard_map
# requires axis_names=frozenset({'data', 'model'}) to be a subset of
# mesh.axis_names=frozenset({'model'})"; in the other order both run;
# jax.clear_caches() does not help. So is the mesh: without the argument mesh,
# called under jax.set_mesh with two devices and then with four, the second call
# is a ValueError that speaks of "the mesh passed to shard_map", though none
# was.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, numpy 2.5.5 (0.10.2 too).
#
# Why it matters: a sum over a mesh axis that an optimizer keeps as an attribute
# or a global works in its tests one by one and fails after another, or in a
# step that calls it both plainly and mapped. Call jax.shard_map where it is
# used, each time, or name the axes.
#
# The cause is `nonlocal mesh, axis_names` in jax/_src/shard_map.py. No report
# was found.

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
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

print("jax", jax.__version__)
explicit = (AxisType.Explicit,) * 2
mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=explicit)
spec = P(None, "model")
one = jax.device_put(jnp.ones((4, 8)), NamedSharding(mesh, spec))
many = jax.device_put(
    jnp.ones((8, 4, 8)), NamedSharding(mesh, P("data", None, "model"))
)


def normalize(x):
    return x / jax.lax.psum(jnp.sum(jnp.abs(x)), "model")


def make(**options):
    return jax.shard_map(
        normalize, mesh=mesh, in_specs=spec, out_specs=spec, **options
    )


def outcome(function, x):
    try:
        return str(jax.jit(function)(x).shape)
    except ValueError as error:
        return str(error)


with jax.set_mesh(mesh):
    f = make()
    assert outcome(f, one) == "(4, 8)"
    refusal = outcome(jax.vmap(f), many)
    print("plain, then vmap: ", refusal)
    assert "to be a subset of mesh.axis_names" in refusal
    jax.clear_caches()
    assert outcome(jax.vmap(f), many) == refusal

    f = make()
    assert outcome(jax.vmap(f), many) == "(8, 4, 8)"
    assert outcome(f, one) == "(4, 8)"
    print("vmap, then plain:  both run")

    f = make(axis_names={"model"})
    assert outcome(f, one) == "(4, 8)"
    assert outcome(jax.vmap(f), many) == "(8, 4, 8)"
    print("axis_names given:  both run")


def count(x):
    return x * 0 + jax.lax.axis_size("d")


for fresh in (True, False):
    g = jax.shard_map(count, in_specs=P("d"), out_specs=P("d"))
    for size in (2, 4):
        devices = jax.devices()[:size]
        small = jax.make_mesh((size,), ("d",), explicit[:1], devices=devices)
        if fresh:
            g = jax.shard_map(count, in_specs=P("d"), out_specs=P("d"))
        with jax.set_mesh(small):
            x = jax.device_put(jnp.ones(8), NamedSharding(small, P("d")))
            got = outcome(g, x)
        print("fresh" if fresh else "kept", size, "devices:", got[:60])
        assert (got == "(8,)") is (fresh or size == 2), got
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
