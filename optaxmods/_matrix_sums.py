"""Sums over weight matrices, in few reductions where a mesh splits many.

XLA combines reductions over the same devices, but no more than 256 of them, and
needs two for a sum over two mesh axes. Where it is known here what splits a
matrix, by name under ``jax.shard_map`` or by type on explicit axes, the sums
over the same mesh axes are joined into one array first.
"""

import collections
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from optaxmods._axes import MatrixGroup, varying_axes

Names = tuple[Hashable, ...]


class Part(NamedTuple):
    """Leaves whose sums are formed together."""

    indices: tuple[int, ...]
    groups: tuple[MatrixGroup, ...]
    mesh: AbstractMesh | None  # That splits them, on explicit axes.


def parts(leaves: Sequence[Any], groups: Sequence[MatrixGroup]) -> list[Part]:
    """All leaves with a matrix; each alone where nothing is to be joined."""
    alone, joint = [], collections.defaultdict(list)
    for index, (leaf, group) in enumerate(zip(leaves, groups, strict=True)):
        mesh = None
        if group.axes and not group.axis_names:
            mesh, names = _split_by_type(leaf, group.axes)
            group = group._replace(axis_names=names)
        if group.axis_names:
            joint[mesh].append((index, group))
        elif group.axes:
            alone.append(Part((index,), (group,), None))
    for mesh, members in joint.items():
        indices, its_groups = zip(*members, strict=True)
        alone.append(Part(indices, its_groups, mesh))
    return alone


def _split_by_type(
    leaf: Any, axes: tuple[int, ...]
) -> tuple[AbstractMesh | None, Names]:
    """The mesh, and which of its axes split these axes of the leaf."""
    sharding = jax.typeof(leaf).sharding
    if (
        set(sharding.mesh.axis_types) != {AxisType.Explicit}
        # Before, jax.vmap over an axis that is split fails in jax.shard_map.
        or jax.__version_info__ < (0, 10)
        # Not yet a sum over the mesh: JAX says so where |g| is formed.
        or sharding.spec.unreduced
        or sharding.spec.reduced
    ):
        return None, ()
    names = set()
    for axis in axes:
        entry = sharding.spec[axis] or ()
        names.update((entry,) if isinstance(entry, str) else entry)
    return sharding.mesh, tuple(names)


def on_shards(
    function: Callable[..., list[jax.Array]],
    leaves: Sequence[jax.Array],
    mesh: AbstractMesh,
) -> Callable[..., list[jax.Array]]:
    """Gives ``function`` the leaves' shards, and a second argument whole."""
    specs = tuple(jax.typeof(leaf).sharding.spec for leaf in leaves)
    return jax.shard_map(
        function, mesh=mesh, in_specs=(specs, P()), out_specs=list(specs)
    )


def matrix_sums(
    entries: Sequence[jax.Array], groups: Sequence[MatrixGroup]
) -> list[jax.Array]:
    """The sums of each leaf's matrices, over all of their shards."""
    totals = [
        jnp.sum(array, axis=group.axes, keepdims=len(group.axes) < array.ndim)
        for array, group in zip(entries, groups, strict=True)
    ]
    joint = collections.defaultdict(list)
    for index, (total, group) in enumerate(zip(totals, groups, strict=True)):
        if group.axis_names:
            # In one order: all processes have to compile the same program.
            names = tuple(sorted(group.axis_names, key=str))
            alone = None if _reshapes_locally(total) else index
            key = names, varying_axes(total), total.dtype, alone
            joint[key].append(index)
    for (names, *_), indices in joint.items():
        summed = _joint_psum([totals[index] for index in indices], names)
        for index, total in zip(indices, summed, strict=True):
            totals[index] = total
    return totals


def _reshapes_locally(total: jax.Array) -> bool:
    """Whether no mesh axis is left that the compiler could split it by."""
    mesh = jax.sharding.get_abstract_mesh()
    is_manual = mesh.axis_names and mesh.manual_axes == mesh.axis_names
    return total.ndim == 0 or bool(is_manual)


def _joint_psum(totals: list[jax.Array], names: Names) -> list[jax.Array]:
    if len(totals) == 1:
        return [jax.lax.psum(totals[0], names)]
    joined = jnp.concatenate([jnp.ravel(total) for total in totals])
    split = jax.lax.split(
        jax.lax.psum(joined, names), [total.size for total in totals]
    )
    return [
        array.reshape(total.shape)
        for array, total in zip(split, totals, strict=True)
    ]
