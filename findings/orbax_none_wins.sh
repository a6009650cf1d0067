#!/usr/bin/env bash
# A None in the template or in the checkpoint wins over an array, in silence.
#
# Guess: None is an empty subtree to JAX, so a template with None where the
# checkpoint has an array, or the other way round, differs in structure, and
# Orbax raises the ValueError that it raises for a key that is missing.
#
# What happens: Orbax treats None as a leaf that fits anything. Template None,
# stored array: the array is left out and None comes back. Template array,
# stored None: None comes back where an array was asked for. No error, no
# warning, in the standard API as in v1. A missing key is a ValueError in both.
#
# Versions: orbax-checkpoint 0.12.8, jax 0.12.0.1.
#
# Why it matters: optional fields of an optimizer's state are None when an
# option is off. Switch the option on and restore: the field is None and the
# failure comes later, inside jit. Switch it off: its history is dropped.
# Compare jax.tree.structure of what was restored with the template's, or keep a
# fixed field of zeros instead of None.
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
  jax==0.12.0.1 jaxlib==0.12.0.1 numpy==2.5.5 \
  orbax-checkpoint==0.12.8

cat >"$folder/program.py" <<'EOF'
import pathlib
import tempfile
from typing import NamedTuple

import absl.logging
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint.experimental import v1

absl.logging.set_verbosity(absl.logging.ERROR)
print("orbax", ocp.__version__, "jax", jax.__version__)
folder = pathlib.Path(tempfile.mkdtemp())


class State(NamedTuple):
    mu: jax.Array
    previous: jax.Array | None  # Only with some option.


off = State(jnp.ones(3), None)
on = State(jnp.ones(3), jnp.full(3, 2.0))
checkpointer = ocp.StandardCheckpointer()
for name, state in {"off": off, "on": on}.items():
    checkpointer.save(folder / f"v0_{name}", state)
    checkpointer.wait_until_finished()
    v1.save(folder / f"v1_{name}", state)


def restore(api, name, template):
    if api == "v0":
        return checkpointer.restore(folder / f"v0_{name}", template)
    return v1.load(folder / f"v1_{name}", template)


for api in ("v0", "v1"):
    got = restore(api, "off", on)
    print(api, "stored None, template an array:", got)
    assert got.previous is None
    assert jax.tree.structure(got) != jax.tree.structure(on)

    got = restore(api, "on", off)
    print(api, "stored an array, template None:", got)
    assert got.previous is None

    try:
        restore(api, "on", {"mu": on.mu})
    except ValueError as error:
        print(api, "missing key:", str(error).splitlines()[0][:75])
    else:
        raise AssertionError("a missing key was accepted")
checkpointer.close()
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
