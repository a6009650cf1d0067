#!/usr/bin/env bash
# jax.jit(optimizer.init) outside jax.set_mesh puts the moments on one device.
#
# Guess: parameters on a mesh of explicit axes carry their sharding in their
# type. So jax.jit(tx.init)(params) gives moments that are split as the
# parameters are, and jax.eval_shape(tx.init, params) names that sharding, with
# or without jax.set_mesh. Where it cannot be known, there is an error.
#
# What happens, JAX 0.12.0.1 (and 0.11.0): outside jax.set_mesh,
# jnp.zeros_like(x) forgets the sharding of its argument under jit. The moments
# are whole arrays on the first device, without error or warning, and eval_shape
# gives None for their sharding. Naming the sharding does not help, neither with
# zeros_like(x, out_sharding=jax.typeof(x).sharding) nor with zeros. The same
# call without jit keeps the sharding; so does x * 0; jnp.empty_like raises. JAX
# 0.10.2 raised "Please enter your `jit` into a mesh context via `jax.set_mesh`"
# and its eval_shape gave the sharding.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, optax 0.2.8, numpy 2.5.5.
#
# Why it matters: an optimizer's init is made of zeros_like. A model that was
# split since it does not fit one device has its moments allocated on one
# device. After one step they are split, so the second step is compiled again,
# and nothing else tells. An abstract state from eval_shape, as a template for a
# checkpoint, has lost where each array goes. Call init and eval_shape under
# jax.set_mesh.
#
# Known: JAX's guide to explicit sharding asks for jax.set_mesh,
# https://docs.jax.dev/en/latest/notebooks/explicit-sharding.html; no report of
# this change was found. Older, for Auto axes:
# https://github.com/jax-ml/jax/issues/15600

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
  jax==0.12.0.1 jaxlib==0.12.0.1 numpy==2.5.5 optax==0.2.8

cat >"$folder/program.py" <<'EOF'
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

print("jax", jax.__version__, "optax", optax.__version__)
mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
split = NamedSharding(mesh, P("d", None))
params = {"w": jax.device_put(jnp.ones((16, 4)), split)}
tx = optax.adam(1e-3)


def moment(state):
    return state[0].mu["w"].sharding


print("parameters      ", params["w"].sharding)
print("init            ", moment(tx.init(params)))
print("jit(init)       ", moment(jax.jit(tx.init)(params)))
print("eval_shape(init)", moment(jax.eval_shape(tx.init, params)))
assert moment(tx.init(params)).is_equivalent_to(split, 2)
assert isinstance(moment(jax.jit(tx.init)(params)), SingleDeviceSharding)
assert moment(jax.eval_shape(tx.init, params)) is None


def named(x):
    return jnp.zeros_like(x, out_sharding=jax.typeof(x).sharding)


def times_zero(x):
    return x * 0


print("zeros, named    ", jax.jit(named)(params["w"]).sharding)
print("x * 0           ", jax.jit(times_zero)(params["w"]).sharding)
assert isinstance(jax.jit(named)(params["w"]).sharding, SingleDeviceSharding)
assert jax.jit(times_zero)(params["w"]).sharding.is_equivalent_to(split, 2)

with jax.set_mesh(mesh):
    print("under set_mesh  ", moment(jax.jit(tx.init)(params)))
    assert moment(jax.jit(tx.init)(params)).is_equivalent_to(split, 2)
    assert moment(jax.eval_shape(tx.init, params)).spec == P("d", None)
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
