#!/usr/bin/env bash
# optax.adam does not run under jax_numpy_dtype_promotion="strict".
#
# Guess: strict promotion is there to find a bfloat16 that meets a float32.
# Optax's optimizers on float32 parameters mix no dtypes, so they run under it,
# and a user's own transformation can be checked by switching it on around a
# step.
#
# What happens: adam, adamw, nadam, amsgrad, adamax, adabelief, radam, lamb,
# yogi and adan raise TypePromotionError: their bias correction is decay**count,
# a Python float with an int32 array, which strict promotion forbids. sgd, lion
# and rmsprop run.
#
# Versions: optax 0.2.8, jax 0.12.0.1 (jax 0.10.2 too).
#
# Why it matters: the switch cannot be used around a whole train step with Adam;
# in one's own transformation write decay ** count.astype(jnp.float32), and
# check that alone.
#
# Docs: https://docs.jax.dev/en/latest/jep/9407-type-promotion.html

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
import optax

print("optax", optax.__version__, "jax", jax.__version__)
runs = {"sgd", "lion", "rmsprop", "adagrad"}
refused = {"adam", "adamw", "nadam", "amsgrad", "adamax", "adabelief"}
refused |= {"radam", "lamb", "yogi", "adan"}

params = {"w": jnp.ones((3, 2))}
for name in sorted(runs | refused):
    tx = getattr(optax, name)(1e-3)
    try:
        with jax.numpy_dtype_promotion("strict"):
            tx.update(params, tx.init(params), params)
        outcome = "runs"
    except Exception as error:
        assert type(error).__name__ == "TypePromotionError", error
        outcome = str(error)[:75]
    print(f"{name}: {outcome}")
    assert (outcome == "runs") is (name in runs), name

with jax.numpy_dtype_promotion("strict"):
    count = jnp.zeros([], jnp.int32) + 1
    print("0.9 ** float32:", 0.9 ** count.astype(jnp.float32))
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
