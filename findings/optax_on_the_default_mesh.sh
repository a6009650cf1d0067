#!/usr/bin/env bash
# Eight of Optax's transformations do not run on the mesh jax.make_mesh makes.
#
# Guess: transformations of gradients are elementwise or sums over a leaf, so
# all that Optax has run on parameters that are split over a mesh, whatever the
# kind of its axes, as they always did under jit.
#
# What happens: jax.make_mesh makes explicit axes where no kind is given (and
# jax.sharding.Mesh makes Auto ones). On them adam, adamw, lion, lamb, adafactor
# and clip_by_global_norm run, but lbfgs, dadapt_adamw, momo, momo_adam,
# prodigy, muon, galore and adaptive_grad_clip raise ShardingTypeError: products
# of two split vectors, matrix products, a singular value decomposition, and a
# jnp.where between a replicated condition and split cases each want to be told
# the sharding of their result. The same parameters on Auto axes run with all.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, optax 0.2.8, numpy 2.5.5. JAX 0.10.2
# does the same.
#
# Why it matters: who writes a transformation with jnp.vdot, a matrix product or
# jnp.where on a reduced condition, and tests it on one device or on a
# Mesh(...), has not tested the mesh that users get by default. Who uses one of
# these gives axis_types=(AxisType.Auto,), or writes the reduction as jnp.sum(x
# * y).
#
# Docs: https://docs.jax.dev/en/latest/notebooks/explicit-sharding.html

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
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

print("jax", jax.__version__, "optax", optax.__version__)
default = jax.make_mesh((8,), ("d",))
by_hand = Mesh(np.array(jax.devices()), ("d",))
print("jax.make_mesh:", default.axis_types, "Mesh:", by_hand.axis_types)
assert default.axis_types == (AxisType.Explicit,)
assert by_hand.axis_types == (AxisType.Auto,)

contrib = optax.contrib
transformations = {
    "adamw": optax.adamw(1e-3),
    "lion": optax.lion(1e-3),
    "lamb": optax.lamb(1e-3),
    "adafactor": optax.adafactor(1e-3),
    "clip_by_global_norm": optax.clip_by_global_norm(1.0),
    "adaptive_grad_clip": optax.adaptive_grad_clip(1.0),
    "lbfgs": optax.lbfgs(1e-3, linesearch=None),
    "dadapt_adamw": contrib.dadapt_adamw(1.0),
    "galore": contrib.galore(1e-3),
    "momo": contrib.momo(1e-3),
    "momo_adam": contrib.momo_adam(1e-3),
    "muon": contrib.muon(1e-3),
    "prodigy": contrib.prodigy(1.0),
}
expected = {"adaptive_grad_clip", "lbfgs", "dadapt_adamw", "galore"}
expected |= {"momo", "momo_adam", "muon", "prodigy"}


def one_step(tx, mesh):
    tx = optax.with_extra_args_support(tx)
    with jax.set_mesh(mesh):
        params = {
            "w": jax.device_put(
                jnp.ones((16, 32)), NamedSharding(mesh, P("d", None))
            ),
            "b": jax.device_put(jnp.ones(16), NamedSharding(mesh, P("d"))),
        }
        state = jax.jit(tx.init)(params)

        def step(grads, state, params):
            return tx.update(grads, state, params, value=jnp.float32(1))

        return jax.jit(step)(params, state, params)


refused = set()
for name, tx in transformations.items():
    one_step(tx, by_hand)
    try:
        one_step(tx, default)
        print(f"{name}: runs")
    except Exception as error:
        assert type(error).__name__ == "ShardingTypeError", error
        print(f"{name}: {type(error).__name__}: {str(error)[:90]}")
        refused.add(name)
assert refused == expected, refused ^ expected
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
