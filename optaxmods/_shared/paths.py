"""Paths of leaves: their names, and the boxes that hold an array.

A path into nnx.Param or nn.Partitioned ends in the attribute that holds it.
"""

import re
from typing import Any

import jax


def label(path: Any) -> str:
    return joined(key_names(path))


def key_names(path: Any) -> tuple[str, ...]:
    """A path that dictionaries, lists and attributes share."""
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def is_box_key(key: Any) -> bool:
    return key == jax.tree_util.GetAttrKey("value")


def names_along(path: Any) -> tuple[str, ...]:
    """The names along a path; those of a flattened dictionary are split."""
    names = []
    for key in path:
        parts = getattr(key, "key", None)
        if not isinstance(parts, tuple):
            parts = key_names((key,))
        for part in parts:
            names += re.split(r"[/.]", str(part))
    return tuple(names)


class AxesOfMetadata(tuple[int, ...]):
    """Axes of one leaf that another tree of the same paths would not give.

    They were read from an nnx Variable, of which nnx.Optimizer shows the
    metadata to ``init`` and hides it from ``update``: delete this where
    findings/nnx_optimizer_shows_two_trees.sh fails. Near
    https://github.com/google-deepmind/optax/issues/1148.
    """


def joined(path: tuple[str, ...]) -> str:
    return "/".join(path) or "the only leaf"
