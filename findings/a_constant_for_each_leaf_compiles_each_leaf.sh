#!/usr/bin/env bash
# XLA's CPU compiler compiles equal kernels once; a constant makes them unequal.
#
# Guess: to compile an elementwise step over 200 arrays of one shape costs 200
# times one array, whatever its numbers are; that each array has a factor of its
# own, as in layer-wise decay of the learning rate, changes nothing.
#
# What happens: kernels that are equal in all but their operands are compiled
# once. 200 arrays times one Python number, or each times a scalar argument of
# its own, compile in less than a tenth of the time of 200 arrays that each have
# a Python number of their own; so they do with a slice c[i] of one vector
# each, since the index is a constant, too, be it written c[i] or jnp.split.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1, numpy 2.5.5 (jax 0.10.2 too). Seen:
# 0.1 to 0.2 s against 3 to 4 s of processor time.
#
# Why it matters: optimizers with a rate for each layer, and sums of many leaves
# put into one vector to divide once, take longer to compile than to run. Hand
# such numbers on as scalar arguments.
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
import time

import jax
import jax.numpy as jnp

print("jax", jax.__version__)
COUNT = 200
leaves = [jax.ShapeDtypeStruct((64, 64), jnp.float32)] * COUNT
scalars = [jax.ShapeDtypeStruct((), jnp.float32)] * COUNT
vector = jax.ShapeDtypeStruct((COUNT,), jnp.float32)


def one_number(xs):
    return [x * 1.5 for x in xs]


def scalar_arguments(xs, factors):
    return [x * factor for x, factor in zip(xs, factors)]


def own_numbers(xs):
    return [x * (1 + i / COUNT) for i, x in enumerate(xs)]


def slices(xs, factors):
    return [x * factors[i] for i, x in enumerate(xs)]


def seconds(function, *arguments):
    """Processor time to compile it."""
    lowered = jax.jit(function).lower(*arguments)
    start = time.process_time()
    lowered.compile()
    return time.process_time() - start


seconds(lambda xs: [x + 1 for x in xs], leaves[:2])  # Warms up.
found = {
    "one number": seconds(one_number, leaves),
    "scalar arguments": seconds(scalar_arguments, leaves, scalars),
    "a number each": seconds(own_numbers, leaves),
    "a slice each": seconds(slices, leaves, vector),
}
for name, time_taken in found.items():
    print(f"{name}: {time_taken:.2f} s")
shared = max(found["one number"], found["scalar arguments"])
assert min(found["a number each"], found["a slice each"]) > 5 * shared
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
