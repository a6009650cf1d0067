"""Mesh axes by name: which are there, what they split, and sums over them."""

from collections.abc import Hashable, Sequence
from typing import Any

import jax

from optaxmods._shared.arguments import shown

AxisName = None | str | Sequence[str]


def check_axis_names(axis_name: Any) -> None:
    """Refuses what names no mesh axes, such as the number of one."""
    names = axis_name if isinstance(axis_name, (tuple, list)) else [axis_name]
    if axis_name is not None and not all(isinstance(n, str) for n in names):
        raise ValueError(
            "axis_name must be the name of a mesh axis or a tuple of names, got"
            f" {shown(axis_name)}."
        )


def as_names(axis_name: AxisName) -> tuple[str, ...]:
    if isinstance(axis_name, str):
        return (axis_name,)
    return tuple(axis_name or ())


def check_bound(axis_name: AxisName) -> None:
    """Raises a sentence where jax.lax.psum would fail without one."""
    for name in as_names(axis_name):
        if not is_bound(name):
            raise ValueError(
                f"axis_name names {name!r}, which is no manual mesh axis here;"
                " it is for use inside jax.shard_map over that axis: correct"
                " the name, or leave axis_name out under plain jit."
            )


def is_bound(name: Hashable) -> bool:
    try:
        jax.lax.axis_size(name)
    except NameError:
        return False
    return True


def axis_size(name: Hashable) -> int:
    # init outside shard_map sees whole matrices.
    return jax.lax.axis_size(name) if is_bound(name) else 1


def splitting_names(leaf: Any, names: tuple[str, ...]) -> tuple[Hashable, ...]:
    """Drops the axes over which the leaf is known to be replicated.

    Summed over such an axis, a replicated matrix would count once a device.
    Only ``jax.shard_map``'s varying-axes tracking can tell; without it
    (``check_vma=False``) the names are taken at their word.
    """
    return tuple(name for name in names if _may_split(leaf, name))


def _may_split(leaf: Any, name: str) -> bool:
    if not isinstance(leaf, jax.Array) or not is_bound(name):
        return True
    tracked = varying_axes(jax.lax.axis_index(name))
    return not tracked or name in varying_axes(leaf)


def varying_axes(array: jax.Array) -> frozenset[Hashable]:
    return varying_axes_of(jax.typeof(array))


def varying_axes_of(abstract: Any) -> frozenset[Hashable]:
    """The same, of what ``jax.typeof`` says of an array."""
    if hasattr(abstract, "manual_axis_type"):
        return abstract.manual_axis_type.varying
    # Before JAX 0.10: delete it where that is the lower bound.
    return getattr(abstract, "vma", frozenset())


def vary(tree: Any, names: frozenset[Hashable]) -> Any:
    """The same, as arrays that may differ on each shard of those axes.

    The gradient of each shard is then its own, until it has passed here.
    """

    def varied(leaf: jax.Array) -> jax.Array:
        missing = tuple(names - varying_axes(leaf))
        if not missing:
            return leaf
        if hasattr(jax.lax, "pcast"):
            return jax.lax.pcast(leaf, missing, to="varying")
        # Before JAX 0.9: delete it where that is the lower bound.
        return jax.lax.pvary(leaf, missing)  # pyright: ignore

    return jax.tree.map(varied, tree)


def all_varying(tree: Any) -> frozenset[Hashable]:
    return frozenset().union(*map(varying_axes, jax.tree.leaves(tree)))


def mean_by_name(value: jax.Array, axis_name: AxisName) -> jax.Array:
    check_bound(axis_name)
    return jax.lax.pmean(value, axis_name) if axis_name else value


def sum_by_name(value: jax.Array, axis_name: Any) -> jax.Array:
    check_bound(axis_name)
    return jax.lax.psum(value, axis_name) if axis_name else value


def sum_of_shards(tree: Any, axis_name: AxisName) -> Any:
    """Sums what differentiation has not summed over the shards already."""
    names = as_names(axis_name)

    def summed(leaf: jax.Array) -> jax.Array:
        return sum_by_name(leaf, splitting_names(leaf, names))

    return jax.tree.map(summed, tree)
