"""Which axes of each leaf make up one weight matrix.

AGR is defined for one weight matrix at a time (Section 3.1 of the paper). A
pytree of gradients holds leaves that are one matrix, none (biases, scales) or
many (stacked layers), and under ``jax.shard_map`` only a part of one. This
module turns the users' ``reduction_axes`` and ``axis_name`` into one
:class:`MatrixGroup` a leaf.
"""

from collections.abc import Callable, Hashable
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

Axes = tuple[int, ...]
ReductionAxes = None | str | Axes | Any | Callable[[optax.Updates], Any]
AxisNames = None | str | tuple[str, ...] | Any | Callable[[optax.Updates], Any]


class MatrixGroup(NamedTuple):
    """The axes whose entries one leaf's matrices consist of."""

    axes: Axes  # Non-negative; () leaves the leaf alone.
    axis_names: tuple[Hashable, ...]  # Mesh axes that split the matrix.


def matrix_groups(
    tree: optax.Updates,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> list[MatrixGroup]:
    """Resolves both arguments, leaf by leaf, and checks them.

    Args:
      tree: gradients or parameters; only key paths, shapes and dtypes are read.
      reduction_axes: as in :func:`optaxmods.agr`.
      axis_name: as in :func:`optaxmods.agr`.

    Returns:
      One group for each leaf of ``jax.tree.leaves(tree)``.

    Raises:
      ValueError: an axis that a leaf lacks or that is named twice, a group of
        one entry, a leaf without an entry, or an argument of another form.
    """
    axes_of = _rule(reduction_axes, tree, _is_axes, "reduction_axes")
    names_of = _rule(axis_name, tree, _is_axis_names, "axis_name")
    groups = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            groups.append(MatrixGroup((), ()))
            continue
        names = _splitting_names(leaf, _leaf_axis_names(path, names_of))
        shards = math.prod(_mesh_axis_size(name) for name in names)
        axes = _leaf_axes(path, np.shape(leaf), shards, axes_of)
        groups.append(MatrixGroup(axes, names if axes else ()))
    return groups


class _Rule(NamedTuple):
    """One entry for all leaves, or entries by key path."""

    shared: Any
    by_path: dict[tuple[str, ...], Any] | None


def _rule(
    argument: Any,
    tree: optax.Updates,
    is_entry: Callable[[Any], bool],
    name: str,
) -> _Rule:
    entries = argument(tree) if callable(argument) else argument
    if entries is None or entries == "all" or is_entry(entries):
        return _Rule(entries, None)
    by_path = {}
    leaves = jax.tree_util.tree_leaves_with_path(entries, is_leaf=is_entry)
    for path, entry in leaves:
        if not is_entry(entry):
            at = f" at {_label(path)}" if path else ""
            raise ValueError(
                f"{name} holds {entry!r}{at}; pass {_FORMS[name]}."
            )
        by_path[_key_names(path)] = entry
    return _Rule(None, by_path)


_FORMS = {
    "reduction_axes": (
        'None, "all", a tuple of ints, or a tree (or a callable that returns'
        " one) with a tuple of ints for each leaf"
    ),
    "axis_name": (
        "None, a mesh axis name, a tuple of names, or a tree (or a callable"
        " that returns one) with a name or a tuple of names for each leaf"
    ),
}


def _is_axes(entry: Any) -> bool:
    # A NamedTuple is a container, not an entry.
    return type(entry) is tuple and all(
        isinstance(axis, (int, np.integer)) and not isinstance(axis, bool)
        for axis in entry
    )


def _is_axis_names(entry: Any) -> bool:
    return isinstance(entry, str) or (
        type(entry) is tuple and all(isinstance(name, str) for name in entry)
    )


def _leaf_axes(
    path: Any, shape: tuple[int, ...], shards: int, rule: _Rule
) -> Axes:
    """The axes of one leaf, non-negative, with a group of several entries."""
    entry = rule.shared if rule.by_path is None else _entry(path, rule)
    if entry is None or entry == "all":
        several = math.prod(shape) * shards > 1
        matrix = entry == "all" or len(shape) >= 2
        return tuple(range(len(shape))) if several and matrix else ()
    if rule.by_path is None and len(shape) < 2:
        return ()
    axes = tuple(
        int(axis) + len(shape) if axis < 0 else int(axis) for axis in entry
    )
    if any(not 0 <= axis < len(shape) for axis in axes):
        raise ValueError(
            f"reduction_axes {tuple(entry)} names an axis that"
            f" {_label(path)} of shape {shape} lacks; name axes within"
            f" [-{len(shape)}, {len(shape)}) or give that leaf ()."
        )
    if len(set(axes)) < len(axes):
        raise ValueError(
            f"reduction_axes {tuple(entry)} names an axis of {_label(path)}"
            " twice; name each axis once."
        )
    # A single-entry group has alpha = 1: its gradient would be 0 for ever.
    if axes and math.prod(shape[axis] for axis in axes) * shards == 1:
        raise ValueError(
            f"reduction_axes {tuple(entry)} makes groups of one entry of"
            f" {_label(path)}, shape {shape}: AGR would zero their gradient"
            " for ever; name larger axes or give that leaf ()."
        )
    return axes


def _leaf_axis_names(path: Any, rule: _Rule) -> tuple[str, ...]:
    entry = rule.shared if rule.by_path is None else _entry(path, rule)
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else tuple(entry)


def _entry(path: Any, rule: _Rule) -> Any:
    assert rule.by_path is not None
    names = _key_names(path)
    if names not in rule.by_path:
        known = ", ".join("/".join(known) for known in rule.by_path) or "none"
        raise ValueError(
            f"No entry for the leaf {'/'.join(names)} in the tree passed as"
            f" reduction_axes or axis_name (it has: {known}); add one, () to"
            " leave the leaf alone."
        )
    return rule.by_path[names]


def _key_names(path: Any) -> tuple[str, ...]:
    """A path that plain dicts, flax boxes and nnx states share."""
    return tuple(
        jax.tree_util.keystr((key,), simple=True)
        for key in path
        # The attribute that a box (nnx.Param, nn.Partitioned) keeps its
        # array in is no part of the parameter's name.
        if not _is_box_attribute(key)
    )


def _is_box_attribute(key: Any) -> bool:
    return isinstance(key, jax.tree_util.GetAttrKey) and key.name == "value"


def _label(path: Any) -> str:
    return "/".join(_key_names(path)) or "the only leaf"


def _mesh_axis_size(name: Hashable) -> int:
    try:
        return jax.lax.axis_size(name)
    except NameError:  # init outside shard_map sees whole matrices.
        return 1


def _splitting_names(leaf: Any, names: tuple[str, ...]) -> tuple[Hashable, ...]:
    """Drops the axes over which the leaf is known to be replicated.

    Summed over such an axis, a replicated matrix would count once a device.
    Only ``jax.shard_map``'s varying-axes tracking can tell; without it
    (``check_vma=False``) the names are taken at their word.
    """
    return tuple(name for name in names if _may_split(leaf, name))


def _may_split(leaf: Any, name: str) -> bool:
    if not isinstance(leaf, jax.Array):
        return True
    try:
        tracked = _varying_axes(jax.lax.axis_index(name))
    except NameError:
        return True
    return not tracked or name in _varying_axes(leaf)


def _varying_axes(array: jax.Array) -> frozenset[Hashable]:
    abstract = jax.typeof(array)
    if hasattr(abstract, "manual_axis_type"):
        return abstract.manual_axis_type.varying
    return getattr(abstract, "vma", frozenset())  # Before jax 0.10.
