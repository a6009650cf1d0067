"""How a contender is made: of a learning rate, once for equal arguments."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import optax

P = ParamSpec("P")
T = TypeVar("T")
# Called with the learning rate, which is traced, so that one program serves
# all of them.
MakeOptimizer = Callable[[Any], optax.GradientTransformation]


class WithAdjuster(NamedTuple):
    """A ``MakeOptimizer`` of GAL: the loss is the adjuster's."""

    adjuster: Any  # A GradientAdjuster, or what has its ``loss``.
    # Called with the learning rate and theta's key; it holds one ``gal``.
    make_with_key: Callable[[Any, jax.Array], optax.GradientTransformation]

    def __call__(self, rate: Any, key: Any = 0) -> optax.GradientTransformation:
        return self.make_with_key(rate, key)


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
