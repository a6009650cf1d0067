"""The default adjustment network h of GAL: linear layers, on meshes too."""

from collections.abc import Callable, Sequence
import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, reshard
from jax.sharding import PartitionSpec as P

from optaxmods._shared.arguments import shown

Theta = Any
Activation = Callable[[jax.Array], jax.Array] | None
THETA_IS = "theta must be what init or adjuster_params(opt_state) returned"


def init(hidden_sizes: Sequence[int], key: Any, num_features: int) -> Theta:
    """Linear layers as PyTorch starts them: all in U(-1, 1) / sqrt(fan in)."""
    sizes = (num_features, *hidden_sizes, num_features)
    theta = {}
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        key, for_kernel, for_bias = jax.random.split(key, 3)
        bound = 1 / math.sqrt(fan_in)

        def draw(key, shape, bound=bound):
            return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

        theta[f"layer_{index}"] = {
            "kernel": draw(for_kernel, (fan_in, fan_out)),
            "bias": draw(for_bias, (fan_out,)),
        }
    return theta


def check_theta(theta: Theta) -> None:
    """Refuses what is no stack of layers, such as an optimizer's state."""
    try:
        is_stack = all(
            layer.keys() >= {"kernel", "bias"} for layer in _layers(theta)
        )
    except (AttributeError, TypeError, LookupError):
        is_stack = False
    if not is_stack or not len(theta):
        raise ValueError(f"{THETA_IS}, got {shown(theta)}.")


def _layers(theta: Theta) -> list[Any]:
    return [theta[f"layer_{index}"] for index in range(len(theta))]


class Ready(NamedTuple):
    """Theta's layers as they are applied."""

    layers: list["_Affine"]


def ready(
    activation: Activation, theta: Theta, features: jax.Array, examples: int
) -> Ready:
    """What ``apply`` takes in theta's place for so many examples like these."""
    layers = _layers(theta)
    num_features = layers[0]["kernel"].shape[0]
    if features.shape[-1] != num_features:
        raise ValueError(
            f"features have {features.shape[-1]} entries on their last axis,"
            f" but theta is one for {num_features}: call init with"
            f" num_features={features.shape[-1]}."
        )
    placed = [
        _placed(layer, features, index == 0, index == len(layers) - 1)
        for index, layer in enumerate(layers)
    ]
    return Ready(
        placed if activation is not None else _joined(placed, examples)
    )


def apply(
    activation: Activation, theta: Theta, features: jax.Array
) -> jax.Array:
    if not isinstance(theta, Ready):
        examples = math.prod(features.shape[:-1])
        theta = ready(activation, theta, features, examples)
    x = features
    for layer in theta.layers[:-1]:
        x = layer.map(x, _sharding(features, is_last=False))
        x = x if activation is None else activation(x)
    return theta.layers[-1].map(x, _sharding(features, is_last=True))


class _Affine(NamedTuple):
    """A layer, or several as one."""

    kernel: jax.Array
    bias: jax.Array

    def map(self, x: jax.Array, sharding: NamedSharding | None) -> jax.Array:
        x = jnp.dot(x, self.kernel, out_sharding=sharding)
        return x + jnp.expand_dims(self.bias, tuple(range(x.ndim - 1)))

    def then(self, layer: "_Affine") -> "_Affine":
        return _Affine(
            jnp.dot(self.kernel, layer.kernel),
            jnp.dot(self.bias, layer.kernel) + layer.bias,
        )


def _joined(layers: list[_Affine], examples: int) -> list[_Affine]:
    """Linear layers as two, to and from the narrowest, where that is cheaper.

    Joining them costs what as many examples cost as the narrowest is wide.
    """
    if len(layers) < 3:
        return layers
    widths = [layer.kernel.shape[0] for layer in layers]
    middle = min(range(1, len(layers)), key=widths.__getitem__)
    size = sum(layer.kernel.size for layer in layers)
    size_joined = widths[middle] * (widths[0] + layers[-1].bias.size)
    if widths[middle] * size + examples * size_joined >= examples * size:
        return layers
    into = functools.reduce(
        lambda joined, layer: layer.then(joined), reversed(layers[:middle])
    )
    return [into, functools.reduce(_Affine.then, layers[middle:])]


def _placed(
    layer: Theta, features: jax.Array, is_first: bool, is_last: bool
) -> _Affine:
    """A layer in the features' dtype, split as they are on explicit axes.

    However theta is kept, it follows, so that no features travel. The hidden
    layers are narrow and stay whole.
    """
    kernel, bias = (
        layer[name].astype(features.dtype) for name in ("kernel", "bias")
    )
    sharding = _sharding(features, is_last)
    if sharding is not None:
        split = jax.typeof(features).sharding.spec[-1]
        into = split if is_first and not is_last else None
        out_of = split if is_last else None
        mesh = sharding.mesh
        kernel = reshard(kernel, NamedSharding(mesh, P(into, out_of)))
        bias = reshard(bias, NamedSharding(mesh, P(out_of)))
    return _Affine(kernel, bias)


def _sharding(features: jax.Array, is_last: bool) -> NamedSharding | None:
    """What a layer returns is split by on explicit axes; v is as features are.

    A sum over what is split has to say there how its result is.
    """
    sharding = jax.typeof(features).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return None
    *examples, last = sharding.spec
    return NamedSharding(sharding.mesh, P(*examples, last if is_last else None))
