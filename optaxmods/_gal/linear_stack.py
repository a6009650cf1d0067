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
from optaxmods._shared.mesh import vary, varying_axes

Theta = Any
Activation = Callable[[jax.Array], jax.Array] | None
THETA_IS = "theta must be what init or adjuster_params(opt_state) returned"
# So many features that JAX's own pullback of the layers takes too long: XLA's
# CPU backend needs several times as long for a sum over the examples that has
# a row for each feature as for one that has a column, and than a product for a
# sum of the slopes alone.
WIDE = 4096


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
            f" but theta is one for {num_features}: give gal, or the adjuster's"
            f" init, num_features={features.shape[-1]}. With head it is the"
            " size of what the layer makes."
        )
    placed = [
        _placed(layer, features, index == 0, index == len(layers) - 1)
        for index, layer in enumerate(layers)
    ]
    if activation is None:
        placed = _joined(placed, examples)
    if num_features >= WIDE and len(placed) > 1:
        placed = [_Turned(placed[0].kernel.T, placed[0].bias), *placed[1:]]
    return Ready(placed)


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


def with_pullback(
    activation: Activation, theta: Theta, features: jax.Array
) -> tuple[jax.Array, Callable[[jax.Array], Theta]]:
    """``apply``, and from a slope in v to theta's gradient."""
    if not isinstance(theta, Ready):
        names, examples = varying_axes(features), features.shape[:-1]
        theta, to_theta = jax.vjp(
            lambda theta: ready(
                activation, vary(theta, names), features, math.prod(examples)
            ),
            theta,
        )
        v, pullback = with_pullback(activation, theta, features)
        return v, lambda slope: to_theta(pullback(slope))[0]
    if features.shape[-1] < WIDE:
        v, to_layers = jax.vjp(
            lambda theta: apply(activation, theta, features), theta
        )
        return v, lambda slope: to_layers(slope)[0]
    return _with_wide_pullback(activation, theta.layers, features)


def _with_wide_pullback(
    activation: Activation, layers: list["_Affine"], features: jax.Array
) -> tuple[jax.Array, Callable[[jax.Array], Ready]]:
    hidden = _sharding(features, is_last=False)
    inputs, activations = [features], []
    for layer in layers[:-1]:
        x = layer.map(inputs[-1], hidden)
        if activation is not None:
            x, to_layer = jax.vjp(activation, x)
            activations.append(to_layer)
        inputs.append(x)
    v = layers[-1].map(inputs[-1], _sharding(features, is_last=True))

    def pullback(slope: jax.Array) -> Ready:
        gradients = [layers[-1].gradient(inputs[-1], slope)]
        for index in reversed(range(len(layers) - 1)):
            slope = layers[index + 1].back(slope, hidden)
            if activation is not None:
                (slope,) = activations[index](slope)
            gradients.append(layers[index].gradient(inputs[index], slope))
        return Ready(gradients[::-1])

    return v, pullback


class _Affine(NamedTuple):
    """A layer, or several as one."""

    kernel: jax.Array
    bias: jax.Array

    def map(self, x: jax.Array, sharding: NamedSharding | None) -> jax.Array:
        x = jnp.dot(x, self.kernel, out_sharding=sharding)
        return x + jnp.expand_dims(self.bias, tuple(range(x.ndim - 1)))

    def back(
        self, slope: jax.Array, sharding: NamedSharding | None
    ) -> jax.Array:
        """From a slope in what ``map`` returned to one in x."""
        return _times_columns(slope, self.kernel, sharding)

    def gradient(self, x: jax.Array, slope: jax.Array) -> "_Affine":
        """From the same to the one in the layer."""
        ones = jnp.ones_like(jnp.sum(x, axis=-1, keepdims=True))
        return _Affine(_over_examples(x, slope), _over_examples(ones, slope)[0])

    def then(self, layer: "_Affine") -> "_Affine":
        return _Affine(
            jnp.dot(self.kernel, layer.kernel),
            jnp.dot(self.bias, layer.kernel) + layer.bias,
        )


class _Turned(_Affine):
    """A first layer of many features, whose kernel is [out, in]."""

    def map(self, x: jax.Array, sharding: NamedSharding | None) -> jax.Array:
        x = _times_columns(x, self.kernel, sharding)
        return x + jnp.expand_dims(self.bias, tuple(range(x.ndim - 1)))

    def gradient(self, x: jax.Array, slope: jax.Array) -> "_Turned":
        # Else XLA's CPU backend forms the transpose right away, at the price of
        # rows.
        kernel = jax.lax.platform_dependent(
            _over_examples(slope, x),
            cpu=jax.lax.optimization_barrier,
            default=lambda kernel: kernel,
        )
        return _Turned(kernel, jnp.sum(slope, axis=range(slope.ndim - 1)))


def _times_columns(
    x: jax.Array, kernel: jax.Array, sharding: NamedSharding | None
) -> jax.Array:
    """The product of x and kernel^T."""
    axes = (x.ndim - 1,), (1,)
    return jax.lax.dot_general(
        x, kernel, (axes, ((), ())), out_sharding=sharding
    )


def _over_examples(x: jax.Array, slope: jax.Array) -> jax.Array:
    """The product of x^T and slope, split as that is."""
    sharding = _sharding(slope, is_last=True)
    if sharding is not None:
        spec = P(None, sharding.spec[-1])
        sharding = NamedSharding(sharding.mesh, spec)
    examples = tuple(range(x.ndim - 1))
    return jax.lax.dot_general(
        x, slope, ((examples, examples), ((), ())), out_sharding=sharding
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
