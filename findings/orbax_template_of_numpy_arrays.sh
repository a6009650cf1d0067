#!/usr/bin/env bash
# Orbax restores another shape than the template's, if the template is NumPy's.
#
# Guess: restoring checks the template's shapes and dtypes against the
# checkpoint, with one rule for all kinds of arrays: another shape is an error,
# a wider or narrower float a cast, and a float stored where an integer is asked
# for an error.
#
# What happens: with a jax.Array or jax.ShapeDtypeStruct as template another
# shape is a ValueError. With a NumPy array the template's shape is ignored, the
# stored one comes back, and its dtype is obeyed. Neither kind refuses a cast:
# floats are cut to integers, without a warning. Both the standard API and v1,
# whose release 0.12.1 lists "stringent validation for state abstract and
# concrete leaf types", do so.
#
# Versions: orbax-checkpoint 0.12.8, jax 0.12.0.1, numpy 2.5.5.
#
# Why it matters: jax.device_get(state) and jax.tree.map(np.zeros_like, state)
# are handy templates for an optimizer's state. After a change of the model they
# restore moments of the old shape, and a mean that meets parameters of the new
# one may broadcast. A state whose field changed its dtype from float to int
# between releases restores as nonsense. Use jax.eval_shape(tx.init, params) as
# template, and compare dtypes with the checkpoint's metadata.
#
# Changelog: https://github.com/google/orbax/blob/main/checkpoint/CHANGELOG.md
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
  jax==0.12.0.1 jaxlib==0.12.0.1 numpy==2.5.5 \
  orbax-checkpoint==0.12.8

cat >"$folder/program.py" <<'EOF'
import pathlib
import tempfile

import absl.logging
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.experimental import v1

absl.logging.set_verbosity(absl.logging.ERROR)
print("orbax", ocp.__version__, "jax", jax.__version__, "numpy", np.__version__)
folder = pathlib.Path(tempfile.mkdtemp())
stored = np.array([1.5, -3.75, 100.0], np.float32)

checkpointer = ocp.StandardCheckpointer()
checkpointer.save(folder / "v0", {"mu": jnp.asarray(stored)})
checkpointer.wait_until_finished()
v1.save(folder / "v1", {"mu": jnp.asarray(stored)})


def restore(api, template):
    if api == "v0":
        return checkpointer.restore(folder / "v0", {"mu": template})["mu"]
    return v1.load(folder / "v1", {"mu": template})["mu"]


for api in ("v0", "v1"):
    for template in (
        jax.ShapeDtypeStruct((5,), jnp.float32),
        jnp.zeros(5, jnp.float32),
    ):
        try:
            restore(api, template)
        except ValueError as error:
            print(api, type(template).__name__, "(5,):", str(error)[:75])
        else:
            raise AssertionError("another shape was accepted")

    got = restore(api, np.zeros(5, np.float32))
    print(api, "numpy.ndarray (5,):", repr(got))
    assert got.shape == (3,) and np.array_equal(got, stored)

    got = restore(api, np.zeros(5, np.int32))
    print(api, "numpy.ndarray (5,) int32:", repr(got))
    assert got.shape == (3,) and got.tolist() == [1, -3, 100]

    got = restore(api, jax.ShapeDtypeStruct((3,), jnp.int8))
    print(api, "ShapeDtypeStruct (3,) int8:", repr(got))
    assert got.dtype == jnp.int8 and got.tolist() == [1, -3, 100]
checkpointer.close()
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
