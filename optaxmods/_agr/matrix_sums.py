"""Sums over weight matrices, in few reductions where a mesh splits many.

XLA combines reductions over the same devices, but no more than 256 of them, and
each array in them still costs time. Where it is known here what splits a
matrix, by name under ``jax.shard_map`` or by type on explicit axes, the sums
over the same mesh axes are joined into one array first. (No issue upstream:
delete it where tests/agr/test_matrix_sums.py counts as few without.)
"""

import collections
from collections.abc import Callable, Hashable, Sequence
import functools
from typing import Any, NamedTuple

import jax
from jax.core import Tracer
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from optaxmods._agr.matrices import MatrixGroup
from optaxmods._shared.mesh import varying_axes

Names = tuple[Hashable, ...]

# A TPU's or GPU's kernel for the sum of so small a matrix takes longer to start
# than to run, and one kernel can sum so many; of two hundred XLA makes a kernel
# each again.
SMALL = 2**14  # Entries.
IN_ONE = 32


class Part(NamedTuple):
    """Leaves whose sums are formed together."""

    indices: tuple[int, ...]
    groups: tuple[MatrixGroup, ...]
    mesh: AbstractMesh | None  # That splits them, on explicit axes.


def parts(leaves: Sequence[Any], groups: Sequence[MatrixGroup]) -> list[Part]:
    """All leaves with a matrix; each alone where nothing is to be joined."""
    found, joint = [], collections.defaultdict(list)
    alike = collections.defaultdict(list)
    for index, (leaf, group) in enumerate(zip(leaves, groups, strict=True)):
        if group.axis_names:
            joint[None, None].append((index, group))
            continue
        mesh, names = _split_by_type(leaf, group.axes)
        if names:
            # Meshes of one type can be of different devices.
            placed = None if isinstance(leaf, Tracer) else leaf.sharding.mesh
            named = group._replace(axis_names=names)
            joint[mesh, placed].append((index, named))
        elif group.axes and jnp.size(leaf) <= SMALL and _is_on_one(leaf):
            alike[jnp.shape(leaf), leaf.dtype, group].append(index)
        elif group.axes:
            found.append(Part((index,), (group,), None))
    for (_, _, group), indices in alike.items():
        for first in range(0, len(indices), IN_ONE):
            chosen = tuple(indices[first : first + IN_ONE])
            found.append(Part(chosen, (group,) * len(chosen), None))
    for (mesh, _), members in joint.items():
        if mesh is not None and _is_partly_mapped(mesh):
            found += [Part((i,), (groups[i],), None) for i, _ in members]
        else:
            indices, its_groups = zip(*members, strict=True)
            found.append(Part(indices, its_groups, mesh))
    return found


def _is_on_one(leaf: Any) -> bool:
    """Whether there is one device, and nothing is known of a mesh of others.

    On automatic axes XLA would gather what one kernel is to sum. A leaf does
    not tell that they split it where ``in_shardings`` alone say so.
    """
    if jax.device_count() > 1:
        return False
    meshes = jax.typeof(leaf).sharding.mesh, jax.sharding.get_abstract_mesh()
    return not any(mesh.axis_names for mesh in meshes)


def _split_by_type(
    leaf: Any, axes: tuple[int, ...]
) -> tuple[AbstractMesh | None, Names]:
    """The mesh, and which of its axes split these axes of the leaf."""
    sharding = jax.typeof(leaf).sharding
    mesh, spec = sharding.mesh, sharding.spec
    if (
        set(mesh.axis_types) != {AxisType.Explicit}
        # Before, jax.vmap over an axis that is split fails in jax.shard_map:
        # delete this where JAX 0.10 is the lower bound.
        or jax.__version_info__ < (0, 10)
        # Not yet a sum over the mesh: JAX says so where |g| is formed.
        or spec.unreduced
        or spec.reduced
    ):
        return None, ()
    names = set(_names([spec[axis] for axis in axes]))
    return mesh, tuple(name for name in names if mesh.shape[name] > 1)


def _is_partly_mapped(mesh: AbstractMesh) -> bool:
    """Whether jax.vmap maps an array's axis here that the mesh splits.

    jax.shard_map leaves that mesh axis out, and gathers what it splits, or
    fails to lower. (No issue upstream: delete it where the lower bound is JAX
    0.11.2, with which tests/agr/test_split_matrices.py passes without.)
    """
    manual = []

    def look():
        manual.extend(jax.sharding.get_abstract_mesh().manual_axes)
        return jnp.zeros(())

    jax.eval_shape(jax.shard_map(look, mesh=mesh, in_specs=(), out_specs=P()))
    return set(manual) != set(mesh.axis_names)


def on_shards(
    function: Callable[..., list[jax.Array]],
    mesh: AbstractMesh,
    leaves: Sequence[jax.Array],
    *whole: Any,
) -> list[jax.Array]:
    """What ``function`` makes of each shard; all other arguments are whole.

    Only the mesh axes that split a leaf are manual. What is traced here can be
    mapped afterwards over what another axis splits, as the pullback of jax.vjp
    is by jax.vmap; JAX 0.12 cannot lower that where the axis is manual. (No
    issue upstream: findings/pullback_mapped_over_a_split_axis.sh fails where
    ``axis_names`` may go.)
    """
    specs = tuple(jax.typeof(leaf).sharding.spec for leaf in leaves)
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(specs, *(P() for _ in whole)),
        out_specs=list(specs),
        axis_names={name for spec in specs for name in _names(spec)},
    )(leaves, *whole)


def _names(spec: Sequence[Any]) -> Names:
    """The mesh axes in these entries of a jax.sharding.PartitionSpec."""
    entries = (entry or () for entry in spec)
    return tuple(
        name
        for entry in entries
        for name in ((entry,) if isinstance(entry, str) else entry)
    )


def sums_of_each(
    entries: Sequence[jax.Array], groups: Sequence[MatrixGroup]
) -> list[jax.Array]:
    return [
        jnp.sum(array, axis=group.axes, keepdims=len(group.axes) < array.ndim)
        for array, group in zip(entries, groups, strict=True)
    ]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def sums_in_one(
    entries: Sequence[jax.Array], groups: Sequence[MatrixGroup]
) -> list[jax.Array]:
    """The same numbers, in one reduction where nothing splits the matrices."""
    shapes = {(array.shape, array.dtype) for array in entries}
    if (
        len(entries) == 1
        or len(shapes) > 1
        or any(g.axis_names for g in groups)
    ):
        return sums_of_each(entries, groups)
    (axes,) = {group.axes for group in groups}
    zero = jnp.zeros((), entries[0].dtype)
    totals = jax.lax.reduce(
        tuple(entries),
        (zero,) * len(entries),
        lambda a, b: jax.tree.map(jnp.add, a, b),
        axes,
    )
    if len(axes) == entries[0].ndim:
        return list(totals)
    return [jnp.expand_dims(total, axes) for total in totals]


@sums_in_one.defjvp
def _sums_in_one_jvp(groups, primals, tangents):
    (entries,), (moved,) = primals, tangents
    return sums_in_one(entries, groups), sums_of_each(moved, groups)


def over_shards(
    local_sums: Sequence[jax.Array], groups: Sequence[MatrixGroup]
) -> list[jax.Array]:
    """The sums of each leaf's matrices, from those of their shards."""
    totals = list(local_sums)
    joint = collections.defaultdict(list)
    for index, (total, group) in enumerate(zip(totals, groups, strict=True)):
        if group.axis_names:
            # In one order: all processes have to compile the same program.
            names = tuple(sorted(group.axis_names, key=str))
            alone = None if _reshapes_locally(total) else index
            key = names, varying_axes(total), total.dtype, alone
            joint[key].append(index)
    sets = {names for names, *_ in joint}
    axes = {name for names in sets for name in names}
    for (names, *_), indices in joint.items():
        # Over one axis after the other where this makes fewer reductions: XLA
        # combines those few that are over the same axis.
        rounds = [(n,) for n in names] if len(axes) < len(sets) else [names]
        summed = _joint_psum([totals[index] for index in indices], rounds)
        for index, total in zip(indices, summed, strict=True):
            totals[index] = total
    return totals


def _reshapes_locally(total: jax.Array) -> bool:
    """Whether no mesh axis splits it, nor could by the compiler's choice."""
    if total.ndim == 0:
        return True
    mesh = jax.sharding.get_abstract_mesh()
    is_known = bool(mesh.axis_names) and AxisType.Auto not in mesh.axis_types
    return is_known and not _names(jax.typeof(total).sharding.spec)


def _joint_psum(
    totals: list[jax.Array], rounds: list[Names]
) -> list[jax.Array]:
    joined = totals[0]
    if len(totals) > 1:
        joined = jnp.concatenate([jnp.ravel(total) for total in totals])
    for names in rounds:
        joined = jax.lax.psum(joined, names)
    if len(totals) == 1:
        return [joined]
    split = jax.lax.split(joined, [total.size for total in totals])
    return [
        array.reshape(total.shape)
        for array, total in zip(split, totals, strict=True)
    ]
