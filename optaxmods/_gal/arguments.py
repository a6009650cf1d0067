"""What GAL says to bad arguments: one sentence, as early as it can."""

from collections.abc import Callable, Mapping
import numbers
import operator
from typing import Any
import warnings

import jax
import jax.numpy as jnp
import optax

from optaxmods._gal.losses import LossFn
from optaxmods._gal.network import Theta
from optaxmods._shared.arguments import (
    check_size,
    checked_share,
    is_int,
    shown,
)

FLOAT0 = jax.dtypes.float0
# Training can diverge at this magnitude and above.
LARGE_MAGNITUDE = 0.1
SCHEDULE_HINT = "what a schedule returns for the step may be traced"


def checked_sizes(hidden_sizes: Any) -> tuple[int, ...]:
    """The widths of hidden layers as a tuple."""
    try:
        sizes = tuple(hidden_sizes)
        if any(isinstance(size, bool) for size in sizes):
            raise TypeError
        sizes = tuple(map(operator.index, sizes))
    except TypeError:
        sizes = (0,)
    if min(sizes, default=1) < 1:
        raise ValueError(
            "hidden_sizes must be a sequence of ints of at least 1, such as"
            f" (16,) for one hidden layer, got {shown(hidden_sizes)}."
        )
    return sizes


def check_activation(activation: Any) -> None:
    if activation is not None and not callable(activation):
        raise ValueError(
            "activation must be None or a function, such as jax.nn.relu, got"
            f" {shown(activation)}."
        )


def check_eps(eps: Any) -> None:
    check_size("eps", eps, schedule_hint=SCHEDULE_HINT)


def check_magnitude(magnitude: Any) -> None:
    checked_share("magnitude", magnitude, schedule_hint=SCHEDULE_HINT)
    is_known = isinstance(magnitude, numbers.Real)
    if is_known and float(magnitude) >= LARGE_MAGNITUDE:
        warnings.warn(
            f"a magnitude of {float(magnitude)} can make training diverge"
            " although its adjustments are accepted; the paper's are 0.001 and"
            " 0.01",
            stacklevel=4,  # Where the adjuster is made, as a dataclass is.
        )


def checked_num_features(num_features: Any, of_adjuster: Any) -> int:
    """The one that is given, here or to the adjuster."""
    size = of_adjuster if num_features is None else num_features
    check_num_features(size)
    if of_adjuster not in (None, size):
        raise ValueError(
            f"num_features is {size} here, and {of_adjuster} in the adjuster:"
            " give it once."
        )
    return size


def check_num_features(num_features: Any) -> None:
    """Raises a sentence where there is no direction to learn."""
    if not is_int(num_features):
        raise ValueError(
            "num_features must be an int, the size of the features' last axis,"
            f" got {shown(num_features)}; with optax.inject_hyperparams give it"
            " to the adjuster, or name it in static_args."
        )
    if num_features < 2:
        raise ValueError(
            f"num_features must be at least 2, got {num_features}: v/||v|| of"
            " one number is its sign, of which theta gets no gradient. Adjust"
            " the last hidden layer instead, with the output layer inside"
            " loss_fn."
        )


def check_seed(key: Any) -> None:
    """Of what is no number JAX does not say what it is."""
    dtype = getattr(key, "dtype", type(key))
    kinds = (jnp.integer, jax.dtypes.prng_key)
    if not (is_int(key) or any(jnp.issubdtype(dtype, k) for k in kinds)):
        raise ValueError(
            f"key must be an int or a key of jax.random, got {shown(key)}."
        )


def check_step(tentative_step: Any) -> None:
    check_size(
        "tentative_step",
        tentative_step,
        schedule_hint="pass adjuster.loss what a schedule returns for the step",
    )


def check_features(features: Any) -> None:
    """Refuses what the network could not take as numbers."""
    dtype = getattr(features, "dtype", None)
    if dtype is None or not features.ndim:
        raise ValueError(
            "features must be an array of shape [..., d], got"
            f" {shown(features)}; the order is theta, features, loss_fn."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            "features must be real floating-point numbers, whose gradient is"
            f" adjusted, got an array of {dtype}; integers pass as"
            " features.astype(jnp.float32)."
        )


def check_weights(weights: Any, features: jax.Array) -> None:
    shape = features.shape[:-1]
    is_array = hasattr(weights, "shape") or isinstance(weights, (int, float))
    if weights is not None and not (is_array and jnp.shape(weights) == shape):
        got = jnp.shape(weights) if is_array else shown(weights)
        raise ValueError(
            f"example_weights must be an array of the shape {shape} of the"
            f" losses, got {got}."
        )
    dtype = getattr(weights, "dtype", jnp.dtype(bool))
    is_real = jnp.issubdtype(dtype, jnp.number) and not jnp.issubdtype(
        dtype, jnp.complexfloating
    )
    if not is_real and dtype != jnp.bool_:
        raise ValueError(f"example_weights must be real numbers, got {dtype}.")


def checked_losses(loss_fn: Any) -> LossFn:
    """``loss_fn``, whose losses are checked."""

    def checked(z: jax.Array) -> jax.Array:
        losses: Any = loss_fn(z)
        if getattr(losses, "shape", None) != z.shape[:-1]:
            got = jax.tree.map(jnp.shape, losses)
            raise ValueError(
                "loss_fn must return one loss for each example, shape"
                f" {z.shape[:-1]} for features of shape {z.shape}, but it"
                f" returned shape {got}; take no mean in it."
            )
        if not jnp.issubdtype(losses.dtype, jnp.floating):
            raise ValueError(
                "loss_fn must return real floating-point numbers, which have a"
                f" gradient, but it returned {losses.dtype}."
            )
        return losses

    return checked


def with_targets(loss_fn: Any, targets: Any) -> LossFn:
    """``loss_fn`` as a function of the features alone."""
    if targets is None:
        return loss_fn
    return lambda z: loss_fn(z, targets)


def check_targets(targets: Any, features: jax.Array) -> None:
    """Refuses what could not be cut where the features are."""
    shape = features.shape[:-1]
    for path, leaf in jax.tree.leaves_with_path(targets):
        if jnp.shape(leaf)[: len(shape)] != shape:
            raise ValueError(
                "targets must be arrays whose first axes are those of the"
                f" losses, {shape}, but targets{jax.tree_util.keystr(path)} has"
                f" the shape {jnp.shape(leaf)}; what all examples share belongs"
                " in loss_fn."
            )


def check_block_size(block_size: Any, convention: str, targets: Any) -> None:
    if block_size is None:
        return
    if not is_int(block_size) or block_size < 1:
        raise ValueError(
            "block_size must be None or an int of at least 1, the examples of a"
            f" block, got {shown(block_size)}."
        )
    if convention == "released":
        raise ValueError(
            'the convention "released" decides by the whole batch, which no'
            ' block sees: leave block_size out, or use "paper".'
        )
    if targets is None:
        raise ValueError(
            "block_size needs targets=..., so that loss_fn(z, targets) can be"
            " given those of a block; it must not close over labels."
        )


def checked_head(
    head: Any, targets: Any
) -> tuple[Callable[[Any, jax.Array], jax.Array], Any]:
    """A layer and its params; without one, it changes nothing."""
    if head is None:
        return lambda params, features: features, ()
    is_pair = isinstance(head, tuple) and len(head) == 2
    if not is_pair or not callable(head[0]):
        raise ValueError(
            "head must be a pair (function, params) with function(params,"
            f" features) -> logits, got {shown(head)}."
        )
    if targets is None:
        raise ValueError(
            "head needs targets=..., so that loss_fn(z, targets) can be given"
            " those of a block; targets=() serves a loss that has none."
        )
    return head


def check_logits(logits: Any, features: jax.Array) -> None:
    shape, wanted = getattr(logits, "shape", None), features.shape[:-1]
    if shape is None or len(shape) != features.ndim or shape[:-1] != wanted:
        got = jax.tree.map(jnp.shape, logits)
        raise ValueError(
            f"head must map features of shape {features.shape} to one array"
            f" {(*wanted, 'd')}, but it returned {got}."
        )


def check_not_in_blocks(head: Any, block_size: Any) -> None:
    """The plain gradients have been made, of all features."""
    if head is not None or block_size is not None:
        name = "block_size" if head is None else "head"
        raise TypeError(
            f"{name} is for the direct route without gradients: pass None in"
            " their place, and update makes them, or leave it out."
        )


def check_routes(adjuster_grads: Any, direct: Mapping[str, Any]) -> None:
    """Refuses the arguments of no route, and those of both."""
    given = [name for name, value in direct.items() if value is not None]
    if adjuster_grads is None and len(given) < len(direct):
        raise TypeError(
            "GAL needs theta's gradient: pass adjuster_grads=..., the"
            " gradient of adjuster.loss(theta, ...) in theta, to"
            " tx.update, as optaxmods.value_and_adjusted_grad returns it; or"
            " features=..., loss_fn=... and"
            " pullback=jax.vjp(...)[1] of the function from params to"
            " features. optaxmods.flax.TrainState and"
            " nnx.Optimizer.update hand them on; Flax's own TrainState"
            " does not."
        )
    if adjuster_grads is not None and len(given) == len(direct):
        raise TypeError(
            "GAL was given adjuster_grads, of adjuster.loss, together with"
            f" {', '.join(given)}, of the direct route: leave them out, or"
            " adjuster_grads if the gradients are plain."
        )


def only_one(cotangents: Any) -> Any:
    """What a pullback returns for the params, out of its tuple."""
    is_sequence = isinstance(cotangents, (tuple, list))
    if not is_sequence or len(cotangents) != 1:
        what = f"{len(cotangents)}" if is_sequence else shown(cotangents)
        raise ValueError(
            "pullback must be that of a function of params alone, which returns"
            f" one cotangent in a tuple, but it returned {what}."
        )
    return cotangents[0]


def pulled_back_with_head(pullback: Any, slopes: tuple[Any, Any]) -> Any:
    """What a pullback makes of the gradients in the features and the head."""
    try:
        return pullback(slopes)
    except (TypeError, ValueError) as error:  # JAX's, of another tree.
        raise ValueError(
            "with head, pullback must be jax.vjp(...)[1] of the function from"
            " params to the pair (features, the head's params), both of them."
        ) from error


def checked_pulled_back(cotangents: Any, like: Any, name: str) -> Any:
    """The same, leaf by leaf like the updates, or the params, of that name."""
    pulled = only_one(cotangents)
    _check_fits(pulled, like, name)
    return pulled


FITTING = (
    "it must be jax.vjp(...)[1] of a function of the params that update is for"
)


def check_like(gradient: Any, theta: Theta) -> None:
    shapes, expected = (jax.tree.map(jnp.shape, t) for t in (gradient, theta))
    if shapes != expected:
        raise ValueError(
            "adjuster_grads must be the gradient of adjuster.loss(theta, ...)"
            f" in theta, with theta's shapes {expected}, got {shapes}."
        )


def is_absent(node: Any) -> bool:
    """What stands for a leaf, or a branch, that the updates lack.

    ``optax.masked`` and ``optax.partition`` take them out of the updates, but
    not out of what the pullback gives.
    """
    return node is None or isinstance(node, optax.MaskedNode)


def has_nodes(updates: Any) -> bool:
    """Whether there are any gradients, or places that they were taken from."""
    if updates is None:
        return False
    leaves = jax.tree.leaves(updates, is_leaf=is_absent)
    if leaves and all(leaf is None for leaf in leaves):
        raise ValueError(
            "the gradients are None at every leaf: pass None in place of the"
            " tree, and update makes them."
        )
    return len(leaves) > 0


def is_variable(node: Any) -> bool:
    """Whether nnx keeps an array in it."""
    return hasattr(node, "get_metadata")


def plain(leaf: Any) -> Any:
    """An array that may stand in a variable of nnx."""
    # Those of Flax 0.12.0, the lower bound, lack get_value.
    return leaf[...] if is_variable(leaf) else leaf


def is_moved(update: Any) -> bool:
    """Whether gradients of it exist; integers have none."""
    return not is_absent(update) and _kind(update) is not None


def unmoved(param: Any) -> Any:
    """The gradient of a leaf that has none."""
    is_number = not is_absent(param) and jnp.result_type(param) != FLOAT0
    return jnp.zeros_like(param) if is_number else param


def _check_fits(pulled: Any, like: Any, name: str) -> None:
    """Refuses what a sum would broadcast, or cut to fit."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(
        like, is_leaf=is_absent
    )
    parts = treedef.flatten_up_to(pulled)
    for (path, leaf), part in zip(leaves, parts, strict=True):
        where = jax.tree_util.keystr(path)
        if is_absent(leaf):
            continue
        # nnx.Optimizer takes the gradients out of their variables.
        part = plain(part)
        if not jax.tree_util.all_leaves([part]):
            raise ValueError(
                f"pullback must return an array for {name}{where}, but it"
                f" returned {shown(part)}; {FITTING}."
            )
        if jnp.shape(part) != jnp.shape(leaf) or _kind(part) != _kind(leaf):
            raise ValueError(
                f"pullback must return arrays like the {name}, but for"
                f" {name}{where} of {_described(leaf)} it returned one of"
                f" {_described(part)}; {FITTING}."
            )


def _kind(leaf: Any) -> Any:
    """Real, complex, or neither, as integers are and gradients in them."""
    dtype = getattr(leaf, "dtype", type(leaf))
    kinds = (jnp.floating, jnp.complexfloating)
    return next((kind for kind in kinds if jnp.issubdtype(dtype, kind)), None)


def _described(leaf: Any) -> str:
    dtype = getattr(leaf, "dtype", type(leaf).__name__)
    return f"shape {jnp.shape(leaf)} and dtype {dtype}"
