"""Which axes of each leaf make up one weight matrix.

AGR is defined for one weight matrix at a time (Section 3.1 of the paper). A
pytree of gradients holds leaves that are one matrix, none (biases, scales) or
many (stacked layers), and under ``jax.shard_map`` only a part of one. This
module turns the users' ``reduction_axes`` and ``axis_name`` into one
:class:`MatrixGroup` a leaf.
"""

from collections import Counter
from collections.abc import Callable, Hashable
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._shared.arguments import check_arrays, is_int, shown
from optaxmods._shared.mesh import (
    as_names,
    axis_size,
    check_bound,
    splitting_names,
)
from optaxmods._shared.paths import (
    AxesOfMetadata,
    is_box_key,
    key_names,
    label,
    names_along,
)
from optaxmods._shared.trees import is_function

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
    *,
    at_update: bool = False,
) -> list[MatrixGroup]:
    """Resolves both arguments, leaf by leaf, and checks them.

    Args:
      tree: gradients or parameters; only key paths, shapes and dtypes are read.
      reduction_axes: as in :func:`optaxmods.agr`.
      axis_name: as in :func:`optaxmods.agr`.
      at_update: whether the mesh axes must be there; ``init`` may run outside
        ``jax.shard_map``. And whether axes hold for this tree alone: those that
        ``init`` finds must hold for updates, too.

    Returns:
      One group for each leaf of ``jax.tree.leaves(tree)``.

    Raises:
      ValueError: an axis that a leaf lacks or that is named twice, a group of
        one entry, a leaf without an entry, an argument of another form, axes
        that only ``init`` can see, or a mesh axis that is not there.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    check_arrays(tree)
    if not leaves:  # optax.tree.map_params gives init such a placeholder.
        return []
    axes_of = _entries(reduction_axes, tree, _is_axes, "reduction_axes")
    names_of = _entries(axis_name, tree, _is_axis_names, "axis_name")
    if is_function(reduction_axes, _is_axes) and not at_update:
        _check_no_metadata(axes_of)
    groups = []
    own_names: list[Any] = [None] * len(leaves)
    if axes_of.shared is None and axes_of.by_path is None:  # The default.
        own_names = _own_names([path for path, _ in leaves])
    for (path, leaf), own_name in zip(leaves, own_names, strict=True):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            groups.append(MatrixGroup((), ()))
            continue
        named = _leaf_axis_names(path, names_of)
        if at_update:
            check_bound(named)
        sizes = {n: axis_size(n) for n in splitting_names(leaf, named)}
        shards = math.prod(sizes.values())
        axes = _leaf_axes(path, own_name, jnp.shape(leaf), shards, axes_of)
        names = tuple(name for name, size in sizes.items() if size > 1)
        groups.append(MatrixGroup(axes, names if axes else ()))
    return groups


def check_axes(reduction_axes: ReductionAxes, axis_name: AxisNames) -> None:
    """Checks the arguments' form, as far as it shows without a tree."""
    for argument, is_entry, name in (
        (reduction_axes, _is_axes, "reduction_axes"),
        (axis_name, _is_axis_names, "axis_name"),
    ):
        if not is_function(argument, is_entry):
            _entries(argument, (), is_entry, name)
    # What optax.inject_hyperparams makes of a callable, too.
    if isinstance(reduction_axes, tuple) and not reduction_axes:
        raise ValueError(
            "reduction_axes is () for all leaves, which turns AGR off: pass"
            " strength=0 instead, and with optax.inject_hyperparams name a"
            " callable in static_args."
        )


class _Entries(NamedTuple):
    """One entry for all leaves, or entries by key path."""

    argument: str
    shared: Any
    by_path: dict[tuple[str, ...], Any] | None = None
    by_bare_path: dict[tuple[str, ...], Any] | None = None
    without: frozenset[tuple[str, ...]] = frozenset()  # Paths of None.

    def of(self, path: Any) -> Any:
        """The entry of one leaf; full paths go before bare ones."""
        if self.by_path is None or self.by_bare_path is None:
            return self.shared
        names, bare = key_names(path), key_names(_bare(path))
        if names in self.by_path:
            return self.by_path[names]
        if bare in self.by_bare_path:
            return self.by_bare_path[bare]
        # None stands where the tree has no leaf, as in a filtered model.
        if any(names[: len(path)] == path for path in self.without):
            raise ValueError(
                f"{self.argument} holds None at {label(path)};"
                f" pass {_FORMS[self.argument]}."
            )
        known = ", ".join("/".join(names) for names in self.by_path)
        raise ValueError(
            f"No entry for the leaf {label(path)} in the tree passed as"
            f" {self.argument} (it has: {known or 'none'}); add one,"
            f" {_EMPTY[self.argument]}."
        )


def _entries(
    argument: Any,
    tree: optax.Updates,
    is_entry: Callable[[Any], bool],
    name: str,
) -> _Entries:
    is_called = is_function(argument, is_entry)
    entries = argument(tree) if is_called else argument
    is_all = name == "reduction_axes" and (
        isinstance(entries, str) and entries == "all"
    )
    if entries is None or is_all or is_entry(entries):
        return _Entries(name, entries)
    by_path, by_bare_path, without = {}, {}, set()
    leaves = jax.tree_util.tree_leaves_with_path(
        entries, is_leaf=lambda entry: entry is None or is_entry(entry)
    )
    for path, entry in leaves:
        if entry is None:
            without.add(key_names(path))
            continue
        if not is_entry(entry):
            at = f" at {label(path)}" if path else ""
            raise ValueError(
                f"{name} holds {shown(entry)}{at}; pass {_FORMS[name]}."
            )
        by_path[key_names(path)] = entry
        by_bare_path[key_names(_bare(path))] = entry
    return _Entries(name, None, by_path, by_bare_path, frozenset(without))


_FORMS = {
    "reduction_axes": (
        'None, "all" or a tuple of ints for all leaves, or a tree (or a'
        " callable that returns one) with a tuple of ints for each leaf, () to"
        " leave it alone"
    ),
    "axis_name": (
        "None, a mesh axis name or a tuple of names for all leaves,"
        " or a tree (or a callable that returns one) with a name or a tuple of"
        " names for each leaf"
    ),
}
_EMPTY = {
    "reduction_axes": "() to leave the leaf alone",
    "axis_name": "() where no mesh axis splits its matrices",
}


def _check_no_metadata(entries: _Entries) -> None:
    """Refuses what would mix the layers of a stack from the first update on."""
    for names, entry in (entries.by_path or {}).items():
        if isinstance(entry, AxesOfMetadata):
            raise ValueError(
                f"reduction_axes read {'/'.join(names)}'s stack from the"
                " metadata of its nnx Variable, which nnx.Optimizer shows to"
                " init, but not to updates: pass the axes themselves,"
                " reduction_axes=kernel_axes(nnx.state(model, nnx.Param)), or"
                " name what is stacked, as in"
                " functools.partial(kernel_axes, stacked={'blocks': 0})."
            )


def _is_axes(entry: Any) -> bool:
    # A NamedTuple is a container, not an entry.
    return type(entry) in (tuple, AxesOfMetadata) and all(map(is_int, entry))


def _is_axis_names(entry: Any) -> bool:
    return isinstance(entry, str) or (
        type(entry) is tuple and all(isinstance(name, str) for name in entry)
    )


def _leaf_axes(
    path: Any,
    own_name: Any,
    shape: tuple[int, ...],
    shards: int,
    entries: _Entries,
) -> Axes:
    """The axes of one leaf, non-negative, with a group of several entries."""
    entry = entries.of(path)
    if entry is None or isinstance(entry, str):
        several = math.prod(shape) * shards > 1
        # Biases of attention's queries, keys and values have two axes.
        matrix = entry == "all" or (len(shape) >= 2 and own_name != "bias")
        return tuple(range(len(shape))) if several and matrix else ()
    if entries.by_path is None and len(shape) < 2:
        return ()
    axes = tuple(
        int(axis) + len(shape) if axis < 0 else int(axis) for axis in entry
    )
    if any(not 0 <= axis < len(shape) for axis in axes):
        raise ValueError(
            f"reduction_axes {tuple(entry)} names an axis that"
            f" {label(path)} of shape {shape} lacks; name axes within"
            f" [-{len(shape)}, {len(shape)}) or give that leaf ()."
        )
    if len(set(axes)) < len(axes):
        raise ValueError(
            f"reduction_axes {tuple(entry)} names an axis of {label(path)}"
            " twice; name each axis once."
        )
    # A single-entry group has alpha = 1: its gradient would be 0 for ever.
    if axes and math.prod(shape[axis] for axis in axes) * shards == 1:
        raise ValueError(
            f"reduction_axes {tuple(entry)} makes groups of one entry of"
            f" {label(path)}, shape {shape}: AGR would zero their gradient"
            " for ever; name larger axes or give that leaf ()."
        )
    return axes


def _leaf_axis_names(path: Any, entries: _Entries) -> tuple[str, ...]:
    names = as_names(entries.of(path))
    if len(set(names)) < len(names):
        raise ValueError(
            f"axis_name {names} names a mesh axis twice for {label(path)};"
            " name each axis once."
        )
    return names


def _bare(path: Any) -> Any:
    """Drops the attribute in which a box keeps its array.

    For nnx.Param and nn.Partitioned it is no part of the parameter's name. A
    NamedTuple may have a field of that name, so full paths go first.
    """
    path = tuple(path)
    while path and is_box_key(path[-1]):
        path = path[:-1]
    return path


def _own_names(paths: list[Any]) -> list[str]:
    """The name of each leaf itself, without what leads to it.

    A box's ``value`` is no name of its own, but a NamedTuple's field is. The
    box holds nothing else.
    """
    below = Counter()
    if any(path and is_box_key(path[-1]) for path in paths):
        below.update(
            path[:length]
            for path in map(tuple, paths)
            for length in range(len(path))
        )

    def own_name(path: Any) -> str:
        bare = tuple(path)
        while bare and is_box_key(bare[-1]) and below[bare[:-1]] == 1:
            bare = bare[:-1]
        return names_along(bare[-1:])[-1] if bare else ""

    return [own_name(path) for path in paths]
