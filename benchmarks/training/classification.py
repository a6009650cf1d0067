"""Training of a classifier, and its loss and accuracy, for seeds."""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Split, Validated
from benchmarks.study import Curve, Metric, Outcome
from benchmarks.training import loop

METRICS = (
    Metric("test_accuracy", "test accuracy, %", True, 100.0, 2),
    Metric("test_loss", "test loss", False, 1.0, 4),
    Metric("train_loss", "training loss", False, 1.0, 4),
)
CURVES = (
    Curve("train_loss", "training loss (cross-entropy)", log=True),
    Curve("test_loss", "test loss (cross-entropy)", log=True),
    Curve("test_accuracy", "test accuracy"),
)
# More are no faster, and the patches of a convolution take memory.
EVALUATED_AT_ONCE = 250


class Curves(NamedTuple):
    """Measurements before training and after each epoch.

    Each is an array of shape [seeds, epochs + 1].
    """

    train_loss: jax.Array
    train_accuracy: jax.Array
    test_loss: jax.Array
    test_accuracy: jax.Array


class ValidatedCurves(NamedTuple):
    """``Curves`` where there are examples for validation, too."""

    train_loss: jax.Array
    train_accuracy: jax.Array
    test_loss: jax.Array
    test_accuracy: jax.Array
    valid_loss: jax.Array
    valid_accuracy: jax.Array


def train(
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    data: Split[Examples] | Validated[Examples],
    *,
    learning_rate: float,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    vmapped: bool | None = None,
    measured_train: int | None = loop.MEASURED_TRAIN,
    on_epoch: Callable[[], None] = lambda: None,
) -> Any:
    """Trains one network a seed, all seeds in one program.

    A seed fixes the initial weights and the batches of every epoch whatever
    the optimizer, so that methods given the same seeds differ in nothing else.
    Whole epochs run under one scan.

    Args:
        model: A classifier, called as ``model(images, train=...)`` for logits.
        make_optimizer: The method; called with the learning rate. Its update
            is given the batch's loss as ``value`` and a ``key`` of the step,
            and GAL's theta is drawn by the seed.
        data: The images to train and to test on, and those for validation.
        learning_rate: What the method is called with.
        seeds: One run each.
        epochs: Passes over the training images.
        batch_size: Images a step; what does not fill a batch at an epoch's end
            is left out of that epoch.
        vmapped: Whether the seeds run under vmap or one after another in one
            program. By default they do on an accelerator; a CPU is busy with
            one, which fits its caches and takes a fraction of the memory, but
            for the smallest networks.
        measured_train: How many training examples, the first ones, are
            measured; all of them if None.
        on_epoch: Called after each epoch.

    Returns:
        The curves of all seeds: ``Curves``, or ``ValidatedCurves``.
    """
    vmapped = loop.is_vmapped(vmapped)
    runs = loop.epochs_of(
        model,
        make_optimizer,
        data.train,
        learning_rate=learning_rate,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        vmapped=vmapped,
    )
    measured = loop.measurements(
        runs,
        lambda runs: measure(model, runs, data, vmapped, measured_train),
        on_epoch,
    )
    return jax.tree.map(lambda *points: jnp.stack(points, axis=1), *measured)


def outcomes(curves: Curves | ValidatedCurves) -> list[Outcome]:
    """Returns the curves seed by seed, with their last points."""
    return outcomes_of(curves._asdict())


def outcomes_of(curves: Mapping[str, Any]) -> list[Outcome]:
    """Returns curves of any names, each [seeds, points], likewise."""
    by_name = {
        name: np.asarray(curve, np.float64) for name, curve in curves.items()
    }
    return [
        Outcome(
            curves={name: c[row].tolist() for name, c in by_name.items()},
            final={name: float(c[row, -1]) for name, c in by_name.items()},
        )
        for row in range(len(next(iter(by_name.values()))))
    ]


@functools.partial(jax.jit, static_argnames=("model", "vmapped", "seen"))
def measure(
    model: nn.Module,
    runs: loop.Run,
    data: Split[Examples] | Validated[Examples],
    vmapped: bool,
    seen: int | None,
) -> Curves | ValidatedCurves:
    """Returns one point of all seeds' curves."""

    def measure_one(run: loop.Run) -> Curves | ValidatedCurves:
        variables = {"params": run.params, **run.statistics}
        first = jax.tree.map(lambda x: x[:seen], data.train)
        found = (
            *evaluate(model, variables, first),
            *evaluate(model, variables, data.test),
        )
        if isinstance(data, Validated):
            more = evaluate(model, variables, data.valid)
            return ValidatedCurves(*found, *more)
        return Curves(*found)

    return loop.each_seed(measure_one, vmapped)(runs)


def evaluate(
    model: nn.Module, variables: Any, examples: Examples
) -> tuple[jax.Array, jax.Array]:
    """Mean loss and accuracy, some examples at a time to bound the memory."""

    def sums(part: Examples) -> tuple[jax.Array, jax.Array]:
        logits: Any = model.apply(variables, part.images, train=False)
        hits = jnp.argmax(logits, axis=-1) == part.labels
        losses = loop.cross_entropy(logits, part.labels)
        # A mean over an example's tokens, where it is a sequence.
        tokens = losses.size / len(part.labels)
        return losses.sum() / tokens, hits.sum(dtype=jnp.float32) / tokens

    count = len(examples.labels)
    whole = count // EVALUATED_AT_ONCE * EVALUATED_AT_ONCE
    loss, hits = jnp.zeros([]), jnp.zeros([])
    if whole < count:
        loss, hits = sums(jax.tree.map(lambda x: x[whole:], examples))
    if whole:
        parts = jax.tree.map(
            lambda x: x[:whole].reshape(-1, EVALUATED_AT_ONCE, *x.shape[1:]),
            examples,
        )
        more_loss, more_hits = jax.lax.map(sums, parts)
        loss, hits = loss + more_loss.sum(), hits + more_hits.sum()
    return loss / count, hits / count
