#!/usr/bin/env bash
# Donating a second buffer makes XLA's CPU compiler copy the first.
#
# Guess: an optimizer that keeps the last gradient (Adan, and all that take the
# difference of two) writes the new one into the old one's donated buffer. With
# jax.jit(step, donate_argnums=...) of the whole state it needs no temporary
# memory, and the more is donated, the less it needs.
#
# What happens: a step that returns (g, 0.9 m + (g - kept)) needs no temporary
# memory with `kept` alone donated. With `m` donated as well, it needs one as
# large as the parameters: before anything else `kept` is copied there, and the
# step reads the copy. So it is for optax.adan and optax.lion, whole states
# donated as their users do: one word a parameter, that optax.adamw does not
# need. The cause is that the new `kept` is an argument as it came: as
# jnp.where(n < 0, m, g) with a second moment n that is never negative, which
# the compiler cannot know, the same numbers need no temporary memory.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, optax 0.2.8, numpy 2.5.5 (jax 0.10.2
# too). The TPU's compiler (libtpu 0.0.42.1 beside jax 0.10.2, v5e) makes no such
# copy.
#
# Why it matters: the copy is a pass over the state that no profile of the
# Python program shows, and its memory is allocated and freed at each step.
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
  jax==0.12.0.1 jaxlib==0.12.0.1 optax==0.2.8 numpy==2.5.5

cat >"$folder/program.py" <<'EOF'
import jax
import jax.numpy as jnp
import optax

print("jax", jax.__version__)
leaf = jax.ShapeDtypeStruct((1024, 1024), jnp.float32)
SIZE = 1024 * 1024 * 4


def temporary(step, *arguments, donated):
    """In words a parameter."""
    lowered = jax.jit(step, donate_argnums=donated).lower(*arguments)
    compiled = lowered.compile()
    return round(compiled.memory_analysis().temp_size_in_bytes / SIZE, 2)


def keeping(kept, m, g):
    return g, 0.9 * m + (g - kept)


def moments(kept, m, n, g):
    new = 0.9 * m + (g - kept)
    return new, 0.9 * n + new * new


def passed_on(kept, m, n, g):
    return g, *moments(kept, m, n, g)


def chosen(kept, m, n, g):
    new, square = moments(kept, m, n, g)
    return jnp.where(square < 0, new, g), new, square


alone = temporary(keeping, *[leaf] * 3, donated=(0,))
both = temporary(keeping, *[leaf] * 3, donated=(0, 1))
print("the kept gradient donated:        ", alone)
print("the kept gradient and m donated:  ", both)
assert (alone, both) == (0, 1)
passed = temporary(passed_on, *[leaf] * 4, donated=(0, 1, 2))
other = temporary(chosen, *[leaf] * 4, donated=(0, 1, 2))
print("with a second moment:             ", passed)
print("the same numbers, behind a where: ", other)
assert (passed, other) == (1, 0)


def optimizer(tx):
    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.eval_shape(tx.init, leaf)
    return temporary(step, leaf, state, leaf, donated=(0, 1))


for name, words in (("adamw", 0), ("lion", 1), ("adan", 1)):
    found = optimizer(getattr(optax, name)(1e-3))
    print(f"optax.{name}:", found)
    assert found == words
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
