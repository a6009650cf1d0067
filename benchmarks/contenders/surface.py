"""The contenders on the surface of GAL's 3D example."""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from benchmarks.contenders.adabound import adabound
from benchmarks.contenders.lookahead import lookahead
from benchmarks.contenders.makers import MakeOptimizer, by_content
from benchmarks.study import Method

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "gd": optax.sgd,
    "rmsprop": optax.rmsprop,
    "adam": optax.adam,
    "lookahead": lambda rate, **arguments: lookahead(
        optax.sgd(rate), **arguments
    ),
    "adabound": adabound,
}
DRAWS = {"uniform": jax.random.uniform, "normal": jax.random.normal}

# The authors' network.
WIDTHS = (64, 24, 2)
# Table VI is on an error rate: of noise it claims no faster descent.
METHODS = {
    "plain": Method("the optimizer alone; its runs do not depend on the seed"),
    "gal": Method(
        "GAL; theta has the same optimizer",
        "plain",
        claimed=True,
        arguments={"widths": WIDTHS, "learns": True},
    ),
    "frozen": Method(
        "GAL whose theta stays as it was drawn",
        "plain",
        arguments={"widths": WIDTHS, "learns": False},
    ),
    "uniform": Method(
        "noise of U(-1, 1) in place of h(z; theta)",
        "plain",
        arguments={"draw": "uniform", "minval": -1.0, "maxval": 1.0},
    ),
    "normal": Method(
        "noise of N(0, 1) in place of h(z; theta)",
        "plain",
        arguments={"draw": "normal"},
    ),
}


@by_content
def optimizer(name: str, **arguments: Any) -> MakeOptimizer:
    """Returns a function of the learning rate that makes an optimizer."""
    return functools.partial(OPTIMIZERS[name], **arguments)


@by_content
def adjustment_network(widths: Sequence[int]) -> nn.Module:
    """The authors': linear, biases of 0, and no activation."""
    glorot = nn.initializers.xavier_uniform()
    layers = [nn.Dense(width, kernel_init=glorot) for width in widths]
    return nn.Sequential(tuple(layers))


@by_content
def noise_network(draw: str, **arguments: Any) -> tuple[Any, Any]:
    """A network whose output is drawn, whatever theta and the features.

    Args:
        draw: A key of ``DRAWS``.
        arguments: Those of the distribution.
    """

    def init(key: jax.Array, features: jax.Array) -> dict[str, jax.Array]:
        del key, features
        return {"unused": jnp.zeros([])}

    def apply(theta: Any, features: jax.Array, key: jax.Array) -> jax.Array:
        del theta
        return DRAWS[draw](key, features.shape, **arguments)

    return init, apply


def adjusted(*, learns: bool = False, **network: Any) -> Mapping[str, Any]:
    """Returns what ``descents`` is told of a method's arguments."""
    if not network:
        return {"network": None, "learns": False}
    make = noise_network if "draw" in network else adjustment_network
    return {"network": make(**network), "learns": learns}
