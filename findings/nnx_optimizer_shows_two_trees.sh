#!/usr/bin/env bash
# nnx.Optimizer hands tx.init and tx.update two different trees.
#
# Guess: what an optimizer sees of an nnx model is one tree with the paths of
# the model, "['l']['kernel']", in init and in update. So a label function on
# paths or a mask made from nnx.state(model, nnx.Param) works as it does with
# linen's dict.
#
# What happens: init is given a State of Params, whose paths end in ".value",
# "['l']['kernel'].value"; update is given a State of plain arrays, without that
# last step. A function that asks whether the path ends in "kernel" labels the
# leaves one way in init and the other way in update. optax.partition then ends
# in "TypeError: can't multiply sequence by non-int of type 'float'", far from
# the cause. One that asks for path[-1].key is an AttributeError in init. A mask
# made by jax.tree.map over nnx.state(model, nnx.Param) fits in init and is a
# ValueError in update. Functions of shapes work.
#
# Versions: flax 0.12.12 (0.12.8 too), jax 0.12.0.1, optax 0.2.8.
#
# Why it matters: whoever writes a transformation that reads paths, or decides
# in init by the tree it is given, meets two trees. What works: a function that
# looks for "kernel" anywhere in the path, or a mask through nnx.as_pure.
#
# Known: https://github.com/google-deepmind/optax/issues/1148 is an older report
# of optax.multi_transform with nnx. The second tree is made by nnx.as_pure in
# nnx.Optimizer.update.

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
  flax==0.12.12 optax==0.2.8 orbax-checkpoint==0.12.8

cat >"$folder/program.py" <<'EOF'
import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.tree_util import keystr, tree_leaves_with_path, tree_map_with_path

print("flax", flax.__version__, "jax", jax.__version__, optax.__version__)


class Model(nnx.Module):
    def __init__(self):
        self.l = nnx.Linear(3, 1, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.l(x)


def one_step(tx):
    """Which parameters a step changes."""
    model = Model()
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(model)))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    grads = nnx.grad(lambda model: jnp.sum(model(jnp.ones((2, 3)))))(model)
    optimizer.update(model, grads)
    after = nnx.to_pure_dict(nnx.state(model))
    return jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)


seen = []


def look(tree):
    seen.append([keystr(path) for path, _ in tree_leaves_with_path(tree)])


def init(params):
    look(params)
    return optax.EmptyState()


def update(updates, state, params=None):
    look(updates)
    return updates, state


one_step(optax.GradientTransformation(init, update))
print("init  ", seen[0])
print("update", seen[1])
assert seen[0] == ["['l']['bias'].value", "['l']['kernel'].value"]
assert seen[1] == ["['l']['bias']", "['l']['kernel']"]


def labels(is_kernel):
    def label(path, _):
        return "kernel" if is_kernel(path) else "rest"

    return lambda tree: tree_map_with_path(label, tree)


def kernels_only(is_kernel):
    kinds = {"kernel": optax.adam(0.1), "rest": optax.set_to_zero()}
    return one_step(optax.partition(kinds, labels(is_kernel)))


def ends(path):
    return keystr(path, simple=True, separator="/").endswith("kernel")


def last_key(path):
    return path[-1].key == "kernel"


def anywhere(path):
    return "kernel" in keystr(path)


def raised(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        print("   ", text[:120])
        return type(error)


# The same label functions on the dict of a linen model.
tree = {"l": {"bias": 0, "kernel": 0}}
want = {"l": {"bias": "rest", "kernel": "kernel"}}
for is_kernel in (ends, last_key, anywhere):
    assert labels(is_kernel)(tree) == want

print("optax.partition, path ends in kernel:")
assert raised(kernels_only, ends) is TypeError
print("optax.partition, path[-1].key:")
assert raised(kernels_only, last_key) is AttributeError
print("optax.partition, kernel anywhere:", kernels_only(anywhere))
assert kernels_only(anywhere) == {"l": {"bias": False, "kernel": True}}

mask = jax.tree.map(lambda x: x.ndim > 1, nnx.state(Model(), nnx.Param))
print("optax.masked, mask from nnx.state:")
assert raised(one_step, optax.masked(optax.adam(0.1), mask)) is ValueError
both = one_step(optax.masked(optax.adam(0.1), nnx.as_pure(mask)))
print("optax.masked, mask through nnx.as_pure: runs,", both)
EOF
export TMPDIR=$folder JAX_PLATFORMS=cpu
"$folder/venv/bin/python" "$folder/program.py"
