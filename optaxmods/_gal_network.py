"""The adjustment network h of GAL: the default one, or the user's."""

from collections.abc import Callable, Sequence
import functools
import inspect
import itertools
import math
import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, reshard
from jax.sharding import PartitionSpec as P

from optaxmods._checks import shown
from optaxmods._gal_checks import check_key

Theta = Any
Activation = Callable[[jax.Array], jax.Array] | None
THETA_IS = "theta must be what init or adjuster_params(opt_state) returned"


def init(
    network: Any, hidden_sizes: Sequence[int], key: Any, num_features: int
) -> Theta:
    """Theta of the user's network, or of the default one, in float32."""
    if network is None:
        return _init_stack(hidden_sizes, key, num_features)
    make, _ = _functions(network)
    theta = make(key, jnp.zeros((1, num_features), jnp.float32))
    return jax.tree.map_with_path(_in_float32, theta)


def apply(
    network: Any,
    activation: Activation,
    theta: Theta,
    features: jax.Array,
    key: Any = None,
) -> jax.Array:
    """Eq. 3, v = h(z; theta), checked for its shape."""
    if network is None:
        return _apply_stack(activation, theta, features)
    v = _functions(network)[1](theta, features, key)
    dtype = getattr(v, "dtype", None)
    if dtype is None or v.shape != features.shape:
        got = shown(v) if dtype is None else v.shape
        raise ValueError(
            "network must map features to vectors of their shape"
            f" {features.shape}, but it returned {got}."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            "network must return real floating-point numbers, which have a"
            f" gradient, but it returned {dtype}."
        )
    return v


def check(network: Any, activation: Any) -> None:
    """Raises a sentence where it is no network, or no activation."""
    if isinstance(network, type):
        raise ValueError(
            f"network must be an instance, such as {network.__name__}(), got"
            f" {shown(network)}."
        )
    if network is not None:
        _functions(network)
    if activation is not None and not callable(activation):
        raise ValueError(
            "activation must be None or a function, such as jax.nn.relu, got"
            f" {shown(activation)}."
        )


def check_theta(network: Any, theta: Theta) -> None:
    """Refuses whole optimizer states, whose counts are integers, and others."""
    for path, leaf in jax.tree.leaves_with_path(theta):
        dtype = getattr(leaf, "dtype", type(leaf))
        if not jnp.issubdtype(dtype, jnp.floating):
            kind = dtype if hasattr(leaf, "dtype") else shown(leaf)
            where = jax.tree_util.keystr(path)
            raise ValueError(f"{THETA_IS}, but theta{where} is {kind}.")
    if network is not None:
        return
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


def _functions(network: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns init(key, features) and apply(theta, features, key)."""
    if _is_pair(network):
        make, run = network
        if not _takes_key(run):
            return make, lambda theta, z, key: run(theta, z)
        return make, functools.partial(_run_with_key, run)
    if callable(getattr(network, "init", None)) and callable(
        getattr(network, "apply", None)
    ):
        return network.init, lambda theta, z, key: network.apply(
            theta, z, rngs=None if key is None else {"dropout": key}
        )
    raise ValueError(
        "network must be a flax.linen module or a pair (init, apply) with"
        " init(key, features) -> theta and apply(theta, features) -> v, got"
        f" {shown(network)}."
    )


def _run_with_key(
    run: Callable[..., jax.Array], theta: Theta, z: jax.Array, key: Any
) -> jax.Array:
    if key is not None:
        return run(theta, z, key=key)
    default = inspect.signature(run).parameters["key"].default
    if default is inspect.Parameter.empty:
        raise ValueError(
            "the network's apply takes a key: pass key=... to adjuster.loss,"
            " or to tx.update on the direct route."
        )
    return run(theta, z)


def _is_pair(network: Any) -> bool:
    is_pair = isinstance(network, tuple) and len(network) == 2
    return is_pair and all(map(callable, network))


def _takes_key(function: Callable[..., Any]) -> bool:
    return "key" in inspect.signature(function).parameters


def _in_float32(path: Any, leaf: Any) -> jax.Array:
    is_number = hasattr(leaf, "dtype") or isinstance(leaf, numbers.Number)
    dtype = jnp.result_type(leaf) if is_number else shown(leaf)
    if not is_number or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            "theta must hold real floating-point numbers, which its optimizer"
            f" moves, but theta{jax.tree_util.keystr(path)} is {dtype}: let"
            " the network's apply close over it."
        )
    # Copied: the state is donated, and the user's arrays are not.
    return jnp.array(leaf, jnp.float32)


def _init_stack(
    hidden_sizes: Sequence[int], key: Any, num_features: int
) -> Theta:
    """Linear layers as PyTorch starts them: all in U(-1, 1) / sqrt(fan in)."""
    check_key(key)
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


def _apply_stack(
    activation: Activation, theta: Theta, features: jax.Array
) -> jax.Array:
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
    if activation is None:
        placed = _joined(placed, math.prod(features.shape[:-1]))
    x = features
    for layer in placed[:-1]:
        x = layer.map(x, _sharding(features, is_last=False))
        x = x if activation is None else activation(x)
    return placed[-1].map(x, _sharding(features, is_last=True))


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
