"""Makers that return one object for equal arguments."""

from collections.abc import Callable
import functools
from typing import Any, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
T = TypeVar("T")


def by_content(make: Callable[P, T]) -> Callable[P, T]:
    """Caches what is made, also of arguments that are dicts or lists.

    What makes a method is a static argument of compiled functions: of another
    object, though equal, they would be compiled again.
    """
    made: dict[Any, T] = {}

    @functools.wraps(make)
    def cached(*args: P.args, **kwargs: P.kwargs) -> T:
        leaves, structure = jax.tree.flatten((args, kwargs))
        key = (structure, *leaves)
        if key not in made:
            made[key] = make(*args, **kwargs)
        return made[key]

    return cached
