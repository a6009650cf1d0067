"""Training of one method, for all its seeds at once."""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from benchmarks.data import Examples, Split


class Curves(NamedTuple):
    """Measurements before training and after each epoch.

    Each is an array of shape [seeds, epochs + 1].
    """

    train_loss: jax.Array
    test_loss: jax.Array
    test_accuracy: jax.Array


class Run(NamedTuple):
    """What one seed carries from epoch to epoch."""

    params: Any
    opt_state: optax.OptState


def train(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    data: Split,
    *,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> Curves:
    """Trains one network a seed, all seeds in one vmapped program.

    A seed fixes the initial weights and the batches of every epoch whatever
    the optimizer, so that methods given the same seeds differ in nothing else.

    Args:
        model: A classifier that maps images to logits.
        optimizer: The method; it is given the batch's loss as ``value``.
        data: The images to train and to test on.
        seeds: One run each.
        epochs: Passes over the training images.
        batch_size: Images a step; what does not fill a batch at an epoch's end
            is left out of that epoch.
        on_epoch: Called after each epoch.

    Returns:
        The curves of all seeds.
    """
    optimizer = optax.with_extra_args_support(optimizer)
    seed_array = jnp.asarray(seeds, jnp.uint32)
    params = _initial_params(model, seed_array, data.train.images[:1])
    runs = Run(params, jax.vmap(optimizer.init)(params))
    measured = [_measure(model, runs.params, data)]
    for epoch in range(epochs):
        batches = batch_indices(
            seed_array, epoch, len(data.train.labels), batch_size
        )
        runs = _epoch(model, optimizer, runs, batches, data.train)
        # Without the wait the progress would be that of dispatching.
        measured.append(
            jax.block_until_ready(_measure(model, runs.params, data))
        )
        on_epoch()
    return jax.tree.map(lambda *points: jnp.stack(points, axis=1), *measured)


def _keys(seed: jax.Array) -> jax.Array:
    """Returns a seed's key for its weights and that for its batches."""
    return jax.random.split(jax.random.key(seed))


# Weights and batches have programs of their own: random numbers compile
# slowly, and these compile once for all methods.
@functools.partial(jax.jit, static_argnames="model")
def _initial_params(
    model: nn.Module, seeds: jax.Array, images: jax.Array
) -> Any:
    def init_one(seed: jax.Array) -> Any:
        return model.init(_keys(seed)[0], images)

    return jax.vmap(init_one)(seeds)


@functools.partial(jax.jit, static_argnames=("num_examples", "batch_size"))
def batch_indices(
    seeds: jax.Array, epoch: int, num_examples: int, batch_size: int
) -> jax.Array:
    """Returns an epoch's batches of each seed: [seeds, steps, batch_size]."""
    steps = num_examples // batch_size

    def batches_one(seed: jax.Array) -> jax.Array:
        key = jax.random.fold_in(_keys(seed)[1], epoch)
        order = jax.random.permutation(key, num_examples)
        return order[: steps * batch_size].reshape(steps, batch_size)

    return jax.vmap(batches_one)(seeds)


@functools.partial(jax.jit, static_argnames=("model", "optimizer"))
def _epoch(
    model: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    runs: Run,
    batches: jax.Array,
    train: Examples,
) -> Run:
    """Takes every seed through one epoch of its own batches."""

    def step(run: Run, batch: jax.Array) -> tuple[Run, None]:
        value, grads = jax.value_and_grad(_loss, argnums=1)(
            model, run.params, train.images[batch], train.labels[batch]
        )
        updates, opt_state = optimizer.update(
            grads, run.opt_state, run.params, value=value
        )
        return Run(optax.apply_updates(run.params, updates), opt_state), None

    def epoch_one(run: Run, batches: jax.Array) -> Run:
        return jax.lax.scan(step, run, batches)[0]

    return jax.vmap(epoch_one)(runs, batches)


@functools.partial(jax.jit, static_argnames="model")
def _measure(model: nn.Module, params: Any, data: Split) -> Curves:
    def measure_one(params: Any) -> Curves:
        logits: Any = model.apply(params, data.test.images)
        hits = jnp.argmax(logits, axis=-1) == data.test.labels
        return Curves(
            train_loss=_loss(model, params, *data.train),
            test_loss=_cross_entropy(logits, data.test.labels),
            test_accuracy=jnp.mean(hits),
        )

    return jax.vmap(measure_one)(params)


def _loss(
    model: nn.Module, params: Any, images: jax.Array, labels: jax.Array
) -> jax.Array:
    return _cross_entropy(model.apply(params, images), labels)


def _cross_entropy(logits: Any, labels: jax.Array) -> jax.Array:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses)
