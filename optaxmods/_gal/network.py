"""Eq. 3 of GAL, by its adjustment network h: the default one, or the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
import inspect
import numbers
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from optaxmods._gal import linear_stack
from optaxmods._gal.examples import Examples
from optaxmods._gal.linear_stack import THETA_IS, Activation, Theta
from optaxmods._shared.arguments import shown

if TYPE_CHECKING:
    from optaxmods._gal.adjuster import GradientAdjuster

# Above this, where float32 squares overflow, a feature is a mask.
LARGEST = 1.8e19


def direction(
    adjuster: GradientAdjuster, theta: Theta, batch: Examples, key: Any
) -> tuple[jax.Array, Callable[[jax.Array], Theta]]:
    """Eq. 3, where padding and masked entries are 0, and its pullback.

    Theta's gradient is a product with the features, and 0 times what is no
    number is none. Masks are infinite or nearly so, and losses of logits are
    flat there: the pullback need not turn down their slopes, for which it would
    keep the features in memory beside those that the network has seen.
    """
    is_mask = jnp.abs(batch.z) > LARGEST
    is_seen = (batch.share != 0)[..., None] & ~is_mask
    seen = jnp.where(is_seen, batch.z, 0)
    theta = jax.lax.stop_gradient(theta)
    if adjuster.network is None:
        v, pullback = linear_stack.with_pullback(
            adjuster.activation, theta, seen
        )
    else:
        v, of_network = jax.vjp(
            lambda theta: apply(adjuster.network, None, theta, seen, key), theta
        )
        pullback = lambda slope: of_network(slope)[0]  # noqa: E731

    def to_theta(slope: jax.Array) -> Theta:
        return pullback(slope.astype(v.dtype))

    return jnp.where(is_seen, v, 0).astype(batch.z.dtype), to_theta


def ready(
    adjuster: GradientAdjuster, theta: Theta, z: jax.Array, examples: int
) -> Theta:
    """What ``direction`` takes in theta's place for parts of the examples.

    What is the same for all of them is done once; z are some of them.
    """
    if adjuster.network is not None:
        return theta
    return linear_stack.ready(adjuster.activation, theta, z, examples)


def init(
    network: Any, hidden_sizes: Sequence[int], key: Any, num_features: int
) -> Theta:
    """Theta of the user's network, or of the default one, in float32."""
    if network is not None:
        make, _ = _functions(network)
        theta = make(key, jnp.zeros((1, num_features), jnp.float32))
        return jax.tree.map_with_path(_in_float32, theta)
    return linear_stack.init(hidden_sizes, key, num_features)


def apply(
    network: Any,
    activation: Activation,
    theta: Theta,
    features: jax.Array,
    key: Any = None,
) -> jax.Array:
    """Returns v = h(z; theta), of the features' shape."""
    if network is not None:
        _, run = _functions(network)
        return _checked_output(run(theta, features, key), features)
    return linear_stack.apply(activation, theta, features)


def _checked_output(v: Any, features: jax.Array) -> jax.Array:
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


def check(network: Any) -> None:
    """Raises a sentence where it is no network."""
    if isinstance(network, type):
        raise ValueError(
            f"network must be an instance, such as {network.__name__}(), got"
            f" {shown(network)}."
        )
    if network is not None:
        _functions(network)


def check_theta(network: Any, theta: Theta) -> None:
    """Refuses whole optimizer states, whose counts are integers, and others."""
    for path, leaf in jax.tree.leaves_with_path(theta):
        dtype = getattr(leaf, "dtype", type(leaf))
        if not jnp.issubdtype(dtype, jnp.floating):
            kind = dtype if hasattr(leaf, "dtype") else shown(leaf)
            where = jax.tree_util.keystr(path)
            raise ValueError(f"{THETA_IS}, but theta{where} is {kind}.")
    if network is None:
        linear_stack.check_theta(theta)


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
