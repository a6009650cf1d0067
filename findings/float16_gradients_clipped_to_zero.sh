#!/usr/bin/env bash
# optax.clip_by_global_norm makes float16 gradients zero instead of clipping
# them.
#
# Guess: the global norm is summed in float32, as jnp.mean, jnp.var and XLA's
# own sums of float16 do inside, so gradients are clipped to the norm asked for
# whenever that norm itself is a float16 number.
#
# What happens: optax.tree.norm squares and sums in the leaves' dtype. Above a
# norm of about 256 the sum of squares is beyond float16 (65504), the norm is
# inf, and clip_by_global_norm divides by it: every gradient is 0. Nothing is
# NaN, so optax.apply_if_finite and optax.zero_nans see nothing. At a norm of
# 200 the gradients are clipped as asked.
#
# Versions: optax 0.2.8, jax 0.12.0.1, numpy 2.5.5 (jax 0.10.2 too).
#
# Why it matters: with float16 gradients, loss scaling makes norms large on
# purpose. Steps are lost without a trace: the moments decay, the loss stands
# still, all is finite. Cast gradients to float32 before the clip.
#
# Docs: https://optax.readthedocs.io/en/latest/api/transformations.html No
# report was found.

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
import jax
import jax.numpy as jnp
import numpy as np
import optax

print("optax", optax.__version__, "jax", jax.__version__, np.__version__)
clip = optax.clip_by_global_norm(1.0)
guarded = optax.apply_if_finite(clip, max_consecutive_errors=3)


def clipped(tx, value, dtype):
    grads = {"w": jnp.full(4, value, dtype)}  # Norm: twice the value.
    updates, state = jax.jit(tx.update)(grads, tx.init(grads))
    return np.asarray(updates["w"], np.float32), state


for value in (100.0, 150.0):
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        norm = optax.tree.norm({"w": jnp.full(4, value, dtype)})
        got, _ = clipped(clip, value, dtype)
        print(f"{norm.dtype.name:8} true norm {2 * value} "
              f"optax.tree.norm {norm} clipped {got}")
        lost = value == 150.0 and dtype == jnp.float16
        assert bool(jnp.isinf(norm)) is lost
        np.testing.assert_allclose(got, 0.0 if lost else 0.5, rtol=1e-2)

got, state = clipped(guarded, 150.0, jnp.float16)
print("apply_if_finite: clipped", got, "errors seen:", state.total_notfinite)
assert not got.any() and state.total_notfinite == 0
assert jnp.var(jnp.array([-150.0, 150.0] * 2, jnp.float16)) == 22500
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
