"""Trees that belong together: gradients, parameters, moments and masks.

Where gradients are ``None``, as Equinox's filters leave them, the others may
hold anything: an array that is not trained, or a function.
"""

from collections.abc import Callable
import functools
import numbers
from typing import Any

import jax
import optax

from optaxmods._shared.arguments import is_boolean, shown
from optaxmods._shared.paths import joined, key_names, label

GRADIENTS = "the gradients"
AT_INIT = "the parameters that init was given"
SAME_AS_AT_INIT = "pass gradients of the same parameters, or call init again"
MASK_IS = (
    "mask must be a tree of booleans or a callable of the parameters that"
    " returns one"
)
SAME_AS_GRADIENTS = "pass the parameters that the gradients are of"


def is_function(
    value: Any, is_leaf: Callable[[Any], bool] = lambda node: False
) -> bool:
    """Whether a tree, or a function that returns one, is the latter.

    A tree may have a callable container, such as a model. Without a leaf it
    could say nothing as a tree.
    """
    if not callable(value):
        return False
    if isinstance(value, functools.partial):  # jax.tree_util.Partial, too.
        return True
    leaves = jax.tree.leaves(
        value, is_leaf=lambda node: node is None or is_leaf(node)
    )
    return not leaves or leaves[0] is value


def beside(
    updates: optax.Updates,
    tree: Any,
    name: str = AT_INIT,
    fix: str = SAME_AS_AT_INIT,
) -> Any:
    """The tree, with ``None`` where the updates have it.

    Raises:
      ValueError: it is not like the updates elsewhere.
    """
    leaves, treedef = jax.tree.flatten(updates, is_leaf=_is_none)
    try:
        parts = treedef.flatten_up_to(tree)
    except ValueError:
        differ = _difference(
            jax.tree.leaves_with_path(updates, is_leaf=_is_none),
            updates,
            GRADIENTS,
            tree,
            name,
        )
        raise ValueError(_sentence(GRADIENTS, name, differ, fix)) from None
    for index, (update, part) in enumerate(zip(leaves, parts, strict=True)):
        shape = _shape(part)
        if update is None or (shape is not None and shape == _shape(update)):
            continue
        # Paths are slow, and told only here.
        paths = jax.tree.leaves_with_path(updates, is_leaf=_is_none)
        where = label(paths[index][0])
        if shape is None:
            kind = "missing" if part is None else "no array"
            differ = f"{where} is {kind} in {name}"
        else:
            differ = (
                f"{where} is of shape {_shape(update)} in {GRADIENTS} and"
                f" {shape} in {name}"
            )
        raise ValueError(_sentence(GRADIENTS, name, differ, fix))
    return treedef.unflatten(
        None if update is None else part
        for update, part in zip(leaves, parts, strict=True)
    )


def check_mask(mask: Any) -> None:
    """Refuses a leaf that is no boolean; the leaves of a tree go unseen."""
    is_leaf = jax.tree_util.all_leaves([mask])
    if is_leaf and not callable(mask) and not is_boolean(mask):
        raise ValueError(f"{MASK_IS}, got {shown(mask)}.")
    # What optax.inject_hyperparams makes of a callable: it takes one for a
    # schedule, and hands on what that returned for a step.
    if is_leaf and is_boolean(mask):
        raise ValueError(
            f"mask is {mask} for all parameters: pass weight_decay=0 or no"
            " mask instead, and with optax.inject_hyperparams name a callable"
            " in static_args."
        )


def checked_mask(mask: Any) -> Any:
    """A mask that says where it is none of the tree that it is for."""
    if mask is None:
        return None

    def mask_of(tree: Any) -> Any:
        found = mask(tree) if is_function(mask) else mask
        try:
            jax.tree.structure(found).flatten_up_to(tree)
        except ValueError:
            leaves = jax.tree_util.tree_leaves_with_path(found)
            differ = _difference(leaves, found, "mask", tree, "the parameters")
            fix = "mask is a tree of booleans like the parameters, or a prefix"
            raise ValueError(
                _sentence("mask", "the parameters", differ, fix)
            ) from None
        for path, leaf in jax.tree_util.tree_leaves_with_path(found):
            # Text and functions are true, whatever they say or return.
            is_true = isinstance(leaf, str) or callable(leaf)
            if is_true or getattr(leaf, "shape", ()) != ():
                raise ValueError(
                    f"mask must be a tree of booleans, but {label(path)} is"
                    f" {shown(leaf)}: one boolean for each parameter."
                )
        return found

    return mask_of


def _is_none(node: Any) -> bool:
    return node is None


def _shape(leaf: Any) -> Any:
    """None where it is no array; a number is one."""
    return () if isinstance(leaf, numbers.Number) else _own_shape(leaf)


def _own_shape(leaf: Any) -> Any:
    shape = getattr(leaf, "shape", None)
    return tuple(shape) if isinstance(shape, tuple) else None


def _sentence(first: str, second: str, differ: str, fix: str) -> str:
    return f"{first} and {second} must be of one tree, but {differ}: {fix}."


def _difference(
    leaves: list[tuple[Any, Any]],
    ours: Any,
    our_name: str,
    other: Any,
    other_name: str,
) -> str:
    """A leaf that one of two trees has alone, or else their containers."""
    mine = {key_names(path): leaf for path, leaf in leaves}
    theirs = {
        key_names(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(other)
    }
    for path, leaf in mine.items():
        # A gradient is None where anything may be.
        if leaf is not None and not _has_part(theirs, path):
            return f"{joined(path)} is in {our_name} alone"
    for path in sorted(theirs):
        if not any(path[: len(prefix)] == prefix for prefix in mine):
            return f"{joined(path)} is in {other_name} alone"
    return _containers(leaves, ours, other)


def _containers(leaves: list[tuple[Any, Any]], ours: Any, other: Any) -> str:
    """Where two trees of the same leaves first have other containers."""

    def first(mine: Any, theirs: Any, before: int, depth: int) -> Any:
        kinds = [node.node_data() for node in (mine, theirs)]
        if None in kinds:  # A leaf.
            return None
        if kinds[0] != kinds[1]:
            return before, depth, sorted(kind.__name__ for kind, _ in kinds)
        for one, another in zip(
            mine.children(), theirs.children(), strict=False
        ):
            if found := first(one, another, before, depth + 1):
                return found
            before += one.num_leaves
        return None

    found = first(
        jax.tree.structure(ours, is_leaf=_is_none),
        jax.tree.structure(other),
        0,
        0,
    )
    if found is None:
        return "their containers differ"
    before, depth, kinds = found
    where = ""
    if depth and before < len(leaves):
        where = f" at {label(leaves[before][0][:depth])}"
    differ = " and ".join(dict.fromkeys(kinds))
    return f"their containers differ{where}, {differ}"


def _has_part(paths: set[tuple[str, ...]], path: tuple[str, ...]) -> bool:
    """Whether something lies there, or below."""
    return any(other[: len(path)] == path for other in paths)
