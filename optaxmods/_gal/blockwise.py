"""GAL's loss and Fig. 8b block by block, the features' layer inside or not.

A block is gone through once, forwards and back: its features are made, the loss
and its gradient taken, Algorithm 1 followed, and the accepted gradient pulled
back through the layer. What stays are sums, and a gradient in what is given for
each example. Its share of the mean is known before.

That, ``hidden``, is [..., k]; the layer makes the features z [..., d] of it and
of ``params``. Where features are given, it changes nothing and has no params.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jax.extend.core import jaxpr_as_fun
import jax.numpy as jnp

from optaxmods._gal import algorithm, arguments, losses
from optaxmods._gal import network as networks
from optaxmods._gal.blocks import Blocks, blocks_of
from optaxmods._gal.examples import Examples, Shares, shares
from optaxmods._gal.losses import Closed, Vanilla, losses_and_gradient
from optaxmods._gal.network import Theta
from optaxmods._shared.mesh import (
    all_varying,
    sum_by_name,
    sum_of_shards,
    vary,
    varying_axes_of,
)

if TYPE_CHECKING:
    from optaxmods._gal.adjuster import GradientAdjuster

Metrics = dict[str, jax.Array]
METRICS = ("acceptance", "remainder", "cosine")


class Work(NamedTuple):
    """What is done with every block."""

    adjuster: GradientAdjuster
    blocks: Blocks
    layer: Callable[[Any, jax.Array], jax.Array]
    loss_fn: Callable[[jax.Array, Any], jax.Array]
    dtype: Any  # In which the loss sees the features.
    step: Any
    key: Any


def work(
    adjuster: GradientAdjuster,
    layer: Any,
    loss_fn: Any,
    block_size: Any,
    params: Any,
    hidden: Any,
    targets: Any,
    tentative_step: Any,
    weights: Any,
    key: Any,
) -> Work | None:
    """What to do with blocks, if the examples are to be cut into any."""
    arguments.check_block_size(block_size, adjuster.convention, targets)
    arguments.check_features(hidden)
    arguments.check_targets(targets, hidden)
    z = jax.eval_shape(layer, params, hidden)
    arguments.check_logits(z, hidden)
    if targets is None or adjuster.convention == "released":
        return None
    blocks = blocks_of(hidden, z.shape[-1], block_size)
    if blocks is None:
        return None
    arguments.check_features(z)
    arguments.check_weights(weights, hidden)

    def paired(z: jax.Array, targets: Any) -> jax.Array:
        return arguments.checked_losses(lambda z: loss_fn(z, targets))(z)

    return Work(
        adjuster,
        blocks,
        layer,
        paired,
        jnp.promote_types(z.dtype, jnp.float32),
        algorithm.step_of(adjuster, tentative_step),
        key,
    )


class Given(NamedTuple):
    """What is known of all examples, or of a block, before the loss."""

    hidden: jax.Array  # [..., k]
    targets: Any  # Arrays [..., *rest].
    shares: Shares


class _Pass(NamedTuple):
    """What comes of all blocks."""

    mean: jax.Array
    slopes: Any  # Of the mean in params' numbers and in hidden, adjusted.
    theta_gradient: Theta
    metrics: Metrics


def loss(
    work: Work,
    theta: Theta,
    params: Any,
    hidden: jax.Array,
    targets: Any,
    weights: Any,
) -> tuple[jax.Array, tuple[Theta, Metrics]]:
    """The mean loss, whose gradients are GAL's; theta's and the metrics."""
    given = _given(work, hidden, targets, weights)
    numbers, with_numbers = _numbers(params)
    # A shard sums its own gradients, and once: not with the others' in a block.
    names = all_varying((numbers, given))
    inputs = vary((numbers, given.hidden), names)

    def closed(function: Callable[..., Any], *settings: Any) -> Closed:
        def of_inputs(numbers: Any, hidden: jax.Array) -> Any:
            params, mine = with_numbers(numbers), given._replace(hidden=hidden)
            return function(work, params, mine, *settings)

        return Closed.of(of_inputs, *inputs)

    once = closed(_once, theta)
    done: _Pass = once.function(
        *jax.lax.stop_gradient((once.constants, *inputs))
    )
    slopes_of = once._replace(
        function=lambda *args: once.function(*args).slopes
    )
    mean = losses.attached(
        done.mean, done.slopes, closed(_mean), slopes_of, inputs
    )
    name = work.adjuster.axis_name
    gradient = sum_of_shards(done.theta_gradient, name)
    sums = jax.tree.map(lambda part: sum_by_name(part, name), done.metrics)
    return mean, (gradient, {**sums, "finite": losses.all_finite(gradient)})


def share_improved(
    work: Work,
    theta: Theta,
    params: Any,
    hidden: jax.Array,
    targets: Any,
    weights: Any,
) -> jax.Array:
    """The share of examples whose loss g lowers more than dl/dz (Fig. 8b)."""
    given = _given(work, hidden, targets, weights)
    theta, params, given = jax.lax.stop_gradient((theta, params, given))
    take = _taker(work, given)
    ready = _ready(work, theta, params, take(0).hidden, given)

    def part(index: jax.Array) -> tuple[tuple[()], jax.Array]:
        block = take(index)
        z = work.layer(params, block.hidden).astype(work.dtype)
        task, _ = _task(work, z, block, index)
        return (), algorithm.improved_of(work.adjuster, ready, task)

    _, share = _summed(work.blocks, part, (), jnp.zeros([], work.dtype))
    return sum_by_name(share, work.adjuster.axis_name)


def _once(work: Work, params: Any, given: Given, theta: Theta) -> _Pass:
    """All blocks, each gone through once."""
    numbers, with_numbers = _numbers(params)
    take = _taker(work, given)
    ready, to_theta = jax.vjp(
        lambda theta: _ready(work, theta, params, take(0).hidden, given),
        jax.lax.stop_gradient(theta),
    )

    def part(index: jax.Array) -> tuple[jax.Array, Any]:
        block = take(index)
        z, pullback = jax.vjp(
            lambda numbers, hidden: work.layer(with_numbers(numbers), hidden),
            numbers,
            block.hidden,
        )
        task, vanilla = _task(work, z.astype(work.dtype), block, index)
        added = jax.lax.stop_gradient(
            algorithm.adjustment_of(work.adjuster, ready, task)
        )
        share = block.shares.share
        # Not the padding: 0 times what is no number is none.
        gradient = jnp.where(
            (share != 0)[..., None], share[..., None] * vanilla.gradient, 0
        )
        cotangent = gradient + added.cotangent
        if any(x.dtype == jnp.float16 for x in (z, block.hidden, *numbers)):
            unit = _unit(cotangent, share.size)
            slopes = pullback((unit * cotangent).astype(z.dtype))
            to_numbers, to_hidden = jax.tree.map(
                lambda slope: slope.astype(_wide(slope)) / unit, slopes
            )
        else:
            to_numbers, to_hidden = pullback(cotangent.astype(z.dtype))
        mean = losses.weighted_sum(vanilla.losses, share)
        return to_hidden, (
            mean,
            to_numbers,
            added.theta_gradient,
            added.metrics,
        )

    scalar = jnp.zeros([], work.dtype)
    metrics = dict.fromkeys(METRICS, scalar)
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros_like(leaf, dtype=_wide(leaf)),
        (scalar, numbers, ready, metrics),
    )
    to_hidden, (mean, to_numbers, to_ready, metrics) = _summed(
        work.blocks, part, given.hidden, zeros
    )
    (gradient,) = to_theta(to_ready)
    return _Pass(mean, (to_numbers, to_hidden), gradient, metrics)


def _unit(cotangent: jax.Array, examples: int) -> jax.Array:
    """A factor with which slopes, and sums over the examples, are float16's.

    A share of a large mean is nothing there, a sum of many infinite, and a
    user's loss scale comes later. Sums are at most 2^8 with it, times what the
    layer multiplies by.
    """
    sizes = jnp.where(jnp.isfinite(cotangent), jnp.abs(cotangent), 0)
    largest = jnp.clip(jnp.max(sizes), 2.0**-100, 2.0**100)
    return 2.0**8 / (examples * largest)


def _mean(work: Work, params: Any, given: Given) -> jax.Array:
    """The mean alone, as a function to be differentiated."""
    take = _taker(work, given)

    @jax.checkpoint
    def part(index: jax.Array) -> tuple[tuple[()], jax.Array]:
        block = take(index)
        z = work.layer(params, block.hidden).astype(work.dtype)
        each = work.loss_fn(z, block.targets)
        return (), losses.weighted_sum(each, block.shares.share)

    return _summed(work.blocks, part, (), jnp.zeros([], work.dtype))[1]


def _given(work: Work, hidden: jax.Array, targets: Any, weights: Any) -> Given:
    all_reduce = functools.partial(
        sum_by_name, axis_name=work.adjuster.axis_name
    )
    each = jnp.sum(hidden, axis=-1).astype(work.dtype)
    return Given(hidden, targets, shares(each, weights, all_reduce))


def _numbers(params: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The leaves that have a gradient, and the tree with others for them."""
    leaves, structure = jax.tree.flatten(params)
    at = [
        index
        for index, leaf in enumerate(leaves)
        if jnp.issubdtype(getattr(leaf, "dtype", int), jnp.inexact)
    ]

    def with_numbers(numbers: list[Any]) -> Any:
        mine = list(leaves)
        for index, number in zip(at, numbers, strict=True):
            mine[index] = number
        return jax.tree.unflatten(structure, mine)

    return [leaves[index] for index in at], with_numbers


def _taker(work: Work, given: Given) -> Callable[[Any], Given]:
    """Returns what takes a block of what is given."""
    blocks = work.blocks
    _, _, (share, climbs, part, count) = given
    views = jax.tree.map(
        functools.partial(blocks.view, num_axes=share.ndim),
        (given.hidden, given.targets, (share, climbs, part)),
    )

    def take(index: Any) -> Given:
        index = jnp.asarray(index, jnp.int32)
        hidden, targets, (share, climbs, part) = jax.tree.map(
            lambda view: blocks.take(view, index), views
        )
        if not blocks.is_even:  # What an earlier block has had is padding.
            is_new = blocks.is_new(index)
            share, part = (jnp.where(is_new, each, 0) for each in (share, part))
        return Given(hidden, targets, Shares(share, climbs, part, count))

    return take


def _ready(
    work: Work, theta: Theta, params: Any, hidden: jax.Array, given: Given
) -> Theta:
    """The network for all blocks, which are like this one."""
    theta = vary(theta, all_varying((params, given)))
    z = work.layer(params, hidden).astype(work.dtype)
    examples = given.shares.share.size
    return networks.ready(work.adjuster, theta, z, examples)


def _task(
    work: Work, z: jax.Array, block: Given, index: jax.Array
) -> tuple[algorithm.Task, Vanilla]:
    """A block for Algorithm 1, and its gradient to be differentiated."""

    def loss_fn(z: jax.Array) -> jax.Array:
        return work.loss_fn(z, block.targets)

    vanilla = Vanilla(*losses_and_gradient(loss_fn, z))
    batch, found = jax.lax.stop_gradient((Examples(z, *block.shares), vanilla))
    key = work.key
    if key is not None:  # Not the same noise in each block.
        key = jax.random.fold_in(key, index)
    task = algorithm.Task(batch, loss_fn, found, work.step, key, lambda x: x)
    return task, vanilla


def _summed(
    blocks: Blocks,
    part: Callable[[jax.Array], tuple[Any, Any]],
    each: Any,
    zeros: Any,
) -> tuple[Any, Any]:
    """Each block's first results, kept as ``each`` is, and the others' sums."""
    first = jnp.zeros([], jnp.int32)
    traced, shape = jax.make_jaxpr(part, return_shape=True)(first)
    kept = jax.tree.map(
        lambda leaf: blocks.view(
            jnp.zeros_like(leaf, dtype=_kept(leaf)), leaf.ndim - 1
        ),
        each,
    )
    sums = jax.tree.map(
        lambda zero, part: zero.astype(
            jnp.promote_types(zero.dtype, part.dtype)
        ),
        zeros,
        shape[1],
    )
    names = frozenset().union(*map(varying_axes_of, traced.out_avals))

    def step(carry: Any, index: jax.Array) -> tuple[Any, None]:
        kept, sums = carry
        mine, added = jax.tree.unflatten(
            jax.tree.structure(shape), jaxpr_as_fun(traced)(index)
        )
        kept = jax.tree.map(
            lambda all, block: blocks.put(all, block.astype(all.dtype), index),
            kept,
            mine,
        )
        return (kept, jax.tree.map(jnp.add, sums, added)), None

    (kept, sums), _ = jax.lax.scan(
        step,
        vary((kept, sums), names),
        jnp.arange(blocks.count, dtype=first.dtype),
    )
    return jax.tree.map(blocks.whole, kept, each), sums


def _wide(array: jax.Array) -> Any:
    return jnp.promote_types(array.dtype, jnp.float32)


def _kept(array: jax.Array) -> Any:
    """The dtype of a gradient that waits for the factor of the loss."""
    is_narrow = array.dtype == jnp.float16
    return jnp.float32 if is_narrow else array.dtype
