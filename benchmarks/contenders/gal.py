"""The contenders of the GAL studies, and the controls beside them."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.contenders.makers import (
    MakeOptimizer,
    WithAdjuster,
    by_content,
)
from benchmarks.study import Method
import optaxmods


def _draw(theta: Any, features: jax.Array, key: jax.Array) -> jax.Array:
    del theta
    return jax.random.normal(key, features.shape)


# Its theta is a number that it does not look at.
NOISE = (lambda key, features: jnp.zeros([]), _draw)
NETWORKS = {"noise": NOISE}


class Form(NamedTuple):
    """A way to adjust gradients."""

    description: str
    # Of ``GradientAdjuster``, the network by its name, and whether theta
    # learns, or stays as it was drawn.
    arguments: Mapping[str, Any]
    claimed: bool = False


FORMS = {
    "gal": Form(
        "GAL, Algorithm 1: each example's adjustment by itself, theta on Adam",
        {"learns": True},
        claimed=True,
    ),
    "gal-frozen": Form(
        "the same with theta as it was drawn, a control", {"learns": False}
    ),
    "gal-noise": Form(
        "the same with normal noise in place of the network, a control",
        {"network": "noise", "learns": False},
    ),
    "gal-released": Form(
        "GAL as the released code has it: one decision a batch, a step along"
        " the mean loss's gradient, theta on Adam",
        {"convention": "released", "learns": True},
        claimed=True,
    ),
}


# Plain SGD takes another rate than Adam.
SGD = {"rate_factor": 100}
PLAIN = {
    "adam": Method("Adam, as optax has it"),
    "sgd": Method(
        f"SGD, at {SGD['rate_factor']} times Adam's learning rate",
        arguments=SGD,
    ),
}


def methods(
    *names: str, plain: str = "adam", hidden_sizes: Sequence[int] | None = None
) -> dict[str, Method]:
    """Returns an optimizer, and the forms of these names before it.

    Args:
        names: Keys of ``FORMS``.
        plain: A key of ``PLAIN``.
        hidden_sizes: Of the adjustment network, where they are the methods'.
    """
    sizes = {"hidden_sizes": hidden_sizes} if hidden_sizes else {}
    optimizer = PLAIN[plain]
    contenders = {plain: optimizer}
    for name in names:
        form = FORMS[name]
        # Noise has no layers.
        own = {} if "network" in form.arguments else sizes
        contenders[f"{name}+{plain}"] = Method(
            form.description,
            plain,
            claimed=form.claimed,
            arguments={**optimizer.arguments, **form.arguments, **own},
        )
    return contenders


@by_content
def maker(
    name: str,
    num_features: int,
    magnitude: float,
    tentative_step: float,
    *,
    weight_decay: float = 0.0,
    rate_factor: float = 1.0,
    learns: bool = True,
    network: str | None = None,
    **adjustment: Any,
) -> MakeOptimizer:
    """Returns a function of the learning rate that makes a method.

    Args:
        name: ``adam``, ``adamw`` or ``sgd``, or a key of ``FORMS``, a plus and
            one of these.
        num_features: Of what GAL adjusts.
        magnitude: GAL's.
        tentative_step: GAL's.
        weight_decay: That of AdamW.
        rate_factor: SGD's learning rate in those that it is called with.
        learns: Whether theta does, or stays as it was drawn.
        network: A key of ``NETWORKS``; by default that of the sizes.
        adjustment: What else ``GradientAdjuster`` takes.
    """
    *prefix, last = name.split("+")
    adamw = functools.partial(optax.adamw, weight_decay=weight_decay)
    sgd = lambda rate: optax.sgd(rate_factor * rate)  # noqa: E731
    plain = {"adam": optax.adam, "adamw": adamw, "sgd": sgd}[last]
    if not prefix:
        return plain
    if network:
        adjustment["network"] = NETWORKS[network]
    adjuster = optaxmods.GradientAdjuster(
        magnitude=magnitude, tentative_step=tentative_step, **adjustment
    )

    def make(rate: Any, key: Any) -> optax.GradientTransformation:
        # At Adam's rate, which in the released code is the model's, too.
        teacher = optax.adam(rate) if learns else optax.set_to_zero()
        return optax.chain(
            optaxmods.gal(adjuster, num_features, optimizer=teacher, key=key),
            plain(rate),
        )

    return WithAdjuster(adjuster, make)
