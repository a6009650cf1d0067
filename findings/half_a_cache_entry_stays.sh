#!/usr/bin/env bash
# A half-written entry of JAX's persistent compilation cache is never replaced.
#
# Guess: an entry is written to a temporary file and renamed, so that a second
# process sees the whole of it or nothing. If one is damaged all the same, the
# process that finds it compiles the program and writes the entry anew.
#
# What happens: with the default setting, no limit of size, the entry is opened
# under its final name and written in place, without a lock. Who reads in
# between, or after a writer that was stopped, gets "UserWarning: Error reading
# persistent compilation cache entry" and compiles. The compiled program is not
# stored, since a file of that name exists: every later process warns and
# compiles again, until somebody deletes the file. With
# jax_compilation_cache_max_size set, readers and writers share a lock; that
# needs the package filelock, which JAX does not require.
#
# Versions: jax 0.12.0.1, jaxlib 0.12.0.1 (0.10.2 too).
#
# Why it matters: test suites and sweeps share one cache among processes that
# start together with the same train step. Where warnings are errors they fail
# now and then; where not, one stopped job costs every later one its
# compilation. Give each process a folder, or set
# jax_compilation_cache_max_size.
#
# Near: https://github.com/jax-ml/jax/issues/39880 and
# https://github.com/jax-ml/jax/issues/22718

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
import pathlib
import subprocess
import sys
import tempfile

PROGRAM = """
import os, sys, warnings
opened = []

def hook(event, arguments):
    if event not in ("open", "os.rename"):
        return
    names = [os.path.basename(str(each)) for each in arguments[:2]]
    if "jit_train_step" in names[0] and (event, names[1]) != ("open", "r"):
        opened.append((event, names[0].rpartition("-")[2], names[1]))

sys.addaudithook(hook)
import jax
import jax.numpy as jnp

def train_step(x):
    return jnp.sin(x) @ x.T

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    jax.jit(train_step)(jnp.ones((64, 64))).block_until_ready()
print(len(opened), "writes", sorted(set(opened)))
print(len(caught), "warnings", *[str(each.message)[:80] for each in caught])
"""
folder = pathlib.Path(tempfile.mkdtemp())
environment = dict(
    os.environ,
    JAX_COMPILATION_CACHE_DIR=str(folder),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
)


def process(name):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    writes, warned = done.stdout.splitlines()
    print(f"{name}: {writes}; {warned}")
    return writes, warned


import jax  # noqa: E402

print("jax", jax.__version__)
writes, warned = process("first process")
assert writes == "1 writes [('open', 'cache', 'w')]", writes
assert warned.startswith("0")
writes, warned = process("second process")
assert writes.startswith("0") and warned.startswith("0")

(entry,) = folder.glob("jit_train_step*-cache")
whole = entry.read_bytes()
entry.write_bytes(whole[: len(whole) // 2])  # As a stopped writer leaves it.
for name in ("third process", "fourth process"):
    writes, warned = process(name)
    assert writes.startswith("0")
    assert warned.startswith("1 warnings Error reading persistent"), warned
    assert entry.stat().st_size == len(whole) // 2

entry.unlink()
writes, warned = process("entry deleted")
assert writes.startswith("1") and entry.read_bytes()
writes, warned = process("sixth process")
assert writes.startswith("0") and warned.startswith("0")
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
