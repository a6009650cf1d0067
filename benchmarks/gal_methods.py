"""The contenders of the GAL studies, and the controls beside them."""

from collections.abc import Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.study import Method
from benchmarks.train import MakeOptimizer, WithAdjuster
import optaxmods


def _draw(theta: Any, features: jax.Array, key: jax.Array) -> jax.Array:
    del theta
    return jax.random.normal(key, features.shape)


# Its theta is a number that it does not look at.
NOISE = (lambda key, features: jnp.zeros([]), _draw)


class Form(NamedTuple):
    """A way to adjust gradients."""

    description: str
    arguments: Mapping[str, Any]  # Of ``GradientAdjuster``.
    learns: bool = True  # Else theta stays as it was drawn.
    claimed: bool = False


FORMS = {
    "gal": Form(
        "GAL, Algorithm 1: each example's adjustment by itself, theta on Adam",
        {},
        claimed=True,
    ),
    "gal-frozen": Form(
        "the same with theta as it was drawn, a control", {}, learns=False
    ),
    "gal-noise": Form(
        "the same with normal noise in place of the network, a control",
        {"network": NOISE},
        learns=False,
    ),
    "gal-released": Form(
        "GAL as the released code has it: one decision a batch, a step along"
        " the mean loss's gradient, theta on Adam",
        {"convention": "released"},
        claimed=True,
    ),
}


# Plain SGD takes another rate than Adam.
SGD_FACTOR = 100
PLAIN = {
    "adam": "Adam, as optax has it",
    "sgd": f"SGD, at {SGD_FACTOR} times Adam's learning rate",
}


def methods(*names: str, plain: str = "adam") -> dict[str, Method]:
    """Returns an optimizer, and the forms of these names before it."""
    return {plain: Method(PLAIN[plain])} | {
        f"{name}+{plain}": Method(
            FORMS[name].description, plain, claimed=FORMS[name].claimed
        )
        for name in names
    }


# Cached, so that a method is one object and is compiled once.
@functools.cache
def maker(
    name: str,
    num_features: int,
    hidden_sizes: tuple[int, ...],
    magnitude: float,
    tentative_step: float,
    weight_decay: float = 0.0,
) -> MakeOptimizer:
    """Returns a function of the learning rate that makes a method.

    Args:
        name: ``adam``, ``adamw`` or ``sgd``, or a key of ``FORMS``, a plus and
            one of these.
        num_features: Of what GAL adjusts.
        hidden_sizes: The adjustment network's.
        magnitude: GAL's.
        tentative_step: GAL's.
        weight_decay: That of AdamW.
    """
    *prefix, last = name.split("+")
    adamw = functools.partial(optax.adamw, weight_decay=weight_decay)
    sgd = lambda rate: optax.sgd(SGD_FACTOR * rate)  # noqa: E731
    plain = {"adam": optax.adam, "adamw": adamw, "sgd": sgd}[last]
    if not prefix:
        return plain
    form = FORMS[prefix[0]]
    adjuster = optaxmods.GradientAdjuster(
        hidden_sizes, magnitude, tentative_step, **form.arguments
    )

    def make(rate: Any, key: Any) -> optax.GradientTransformation:
        # At Adam's rate, which in the released code is the model's, too.
        teacher = optax.adam(rate) if form.learns else optax.set_to_zero()
        return optax.chain(
            optaxmods.gal(adjuster, num_features, optimizer=teacher, key=key),
            plain(rate),
        )

    return WithAdjuster(adjuster, make)
