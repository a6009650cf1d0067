#!/usr/bin/env bash
# jax.vmap of a pullback through jax.shard_map does not lower on explicit axes.
#
# Guess: jax.vmap(jax.vjp(f, x)[1])(cotangents) and jax.vmap(lambda c:
# jax.vjp(f, x)[1](c))(cotangents) are the same program, for an f with a
# jax.shard_map in it as for any other.
#
# What happens, JAX 0.12.0.1 and 0.12.0: where the cotangents are split along
# the mapped axis over a mesh axis that f leaves free, the second runs and the
# first is refused at lowering: "ValueError: Cannot lower jaxpr with verifier
# errors: 'sdy.manual_computation' op operand shape, corresponding sharding, and
# region operand shape at index 0 must match". jax.linearize, mapped, is as
# jax.vjp. On Auto axes, and where the cotangents are not split along the mapped
# axis, both run. JAX 0.10.2, 0.11.0 and 0.11.2 run all of these.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, numpy 2.5.5.
#
# Why it matters: gradients for each example, Gauss-Newton products and
# Jacobians (jax.jacrev maps the pullback) through a transformation that sums
# over a mesh. Name only the mesh axes that f uses, axis_names={"model"}, or
# trace inside the mapped function.
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
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

print("jax", jax.__version__)


def normalize(x):
    return x / jax.lax.psum(jnp.sum(jnp.abs(x)), "model")


def matrix(*shape):
    return jnp.arange(1.0, 1 + np.prod(shape)).reshape(shape) / 100


def run(trace, kind=AxisType.Explicit, first="data", **options):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))
    spec = P(None, "model")

    def f(x):
        return jax.shard_map(
            normalize, mesh=mesh, in_specs=spec, out_specs=spec, **options
        )(x)

    def outside(x, many):
        return jax.vmap(jax.vjp(f, x)[1])(many)[0]

    def inside(x, many):
        return jax.vmap(lambda c: jax.vjp(f, x)[1](c)[0])(many)

    def linearize(x, many):
        return jax.vmap(jax.linearize(f, x)[1])(many)

    split = NamedSharding(mesh, P(first, None, "model"))
    with jax.set_mesh(mesh):
        x = jax.device_put(matrix(4, 8), NamedSharding(mesh, spec))
        many = jax.device_put(matrix(8, 4, 8), split)
        return np.asarray(jax.jit(locals()[trace])(x, many))


want = run("inside")
print("inside: runs")
for trace in ("outside", "linearize"):
    try:
        run(trace)
    except ValueError as error:
        print(f"{trace}:", *str(error).splitlines()[:2])
        assert "sdy.manual_computation" in str(error)
    else:
        raise AssertionError(f"{trace} was lowered")

for name, options in {
    "not split": {"first": None},
    "Auto axes": {"kind": AxisType.Auto},
    "axis_names": {"axis_names": {"model"}},
}.items():
    got = run("outside", **options)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    print(f"outside, {name}: the same as inside")
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
