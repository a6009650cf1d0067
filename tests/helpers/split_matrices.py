"""Gradients in all ways of being split, and what says how they are."""

import functools
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from benchmarks.costs.compiled import collectives
import optaxmods
from tests import oracles

AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
# Split by one axis, by both, in both orders, as stacks and not at all.
SPECS = (
    P("data", None),
    P(None, "model"),
    P("data", "model"),
    P(("model", "data"), None),
    P(None, "data", "model"),
    P("model", "data", None),
    P("data", None, None),
    P(None, None),
)
BOTH = ("data", "model")
NAMES = (("data",), ("model",), BOTH, BOTH, BOTH, BOTH, ("data",), ())
LAYER_NAMES = (*NAMES[:5], ("data",), (), ())
LAYERS = (-2, -1)
joined_by_type = pytest.mark.skipif(
    jax.__version_info__ < (0, 10),
    reason="before JAX 0.10 sums on explicit axes are not joined",
)


def make_mesh(first, second=None):
    """4 x 2 devices; one type is that of both axes."""
    types = (first, first if second is None else second)
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=types)


def draw(leaves=8, seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.standard_normal((8,) * len(SPECS[index % len(SPECS)]))
        for index in range(leaves)
    ]


def specs_of(tree):
    return [SPECS[index % len(SPECS)] for index in range(len(tree))]


def put(tree, mesh, specs=None):
    return [
        jax.device_put(np.asarray(leaf, np.float32), NamedSharding(mesh, spec))
        for leaf, spec in zip(tree, specs or specs_of(tree), strict=True)
    ]


def psi(gradients, axes=None, names=None) -> Any:
    tx = optaxmods.agr(reduction_axes=axes, axis_name=names)
    return tx.update(gradients, tx.init(gradients))[0]


def wanted(tree, axes=None):
    return [oracles.agr.psi(leaf, axes=axes) for leaf in tree]


def assert_close(got, want):
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def moved_by(function, *arguments):
    return collectives(jax.jit(function).lower(*arguments).compile().as_text())


def entry_names(axes, count):
    names = NAMES if axes is None else LAYER_NAMES
    return [names[index % len(names)] for index in range(count)]


def routes(count, axes):
    """What says how the leaves are split, and the type of the mesh's axes."""
    specs = [SPECS[index % len(SPECS)] for index in range(count)]
    plain = functools.partial(psi, axes=axes)
    # As a user on automatic axes says it.
    said = jax.sharding.explicit_axes(plain, in_sharding=(specs,))
    named = functools.partial(psi, axes=axes, names=entry_names(axes, count))
    shards = functools.partial(
        jax.shard_map, named, in_specs=(specs,), out_specs=specs
    )
    return {
        "types": (plain, EXPLICIT),
        "explicit_axes": (said, AUTO),
        "shard_map": (shards(), AUTO),
        "shard_map without tracking": (shards(check_vma=False), AUTO),
        "shard_map on explicit axes": (shards(), EXPLICIT),
    }
