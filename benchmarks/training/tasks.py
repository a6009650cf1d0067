"""Training on any task whose examples are arrays, for seeds.

What a task minimizes and what is told of its outputs are functions; every
number is measured on training, validation and test examples alike.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Validated
from benchmarks.study import Outcome
from benchmarks.training import loop

PARTS = ("train", "valid", "test")
EVALUATED_AT_ONCE = 250
Numbers = Mapping[str, jax.Array]


class Task(NamedTuple):
    """What is minimized, and what is told; each of outputs and targets."""

    losses: Callable[[Any, jax.Array], jax.Array]  # Each example's.
    numbers: Callable[[Any, jax.Array], Numbers]  # Each example's, by name.


def _squared_errors(outputs: Any, targets: jax.Array) -> jax.Array:
    axes = tuple(range(1, targets.ndim))
    return jnp.mean((outputs - targets) ** 2, axis=axes)


def _pixel_entropies(outputs: Any, targets: jax.Array) -> jax.Array:
    """Mean binary cross-entropy of logits; targets are from 0 to 1."""
    axes = tuple(range(1, targets.ndim))
    losses = jnp.logaddexp(0.0, outputs) - outputs * targets
    return jnp.mean(losses, axis=axes)


def _overlap(outputs: Any, targets: jax.Array) -> jax.Array:
    """Intersection over union of what is marked; 1 where nothing is."""
    axes = tuple(range(1, targets.ndim))
    found, real = outputs > 0, targets > 0.5
    both = jnp.sum(found & real, axis=axes, dtype=jnp.float32)
    either = jnp.sum(found | real, axis=axes, dtype=jnp.float32)
    return jnp.where(either > 0, both / jnp.maximum(either, 1), 1.0)


def _boxes(outputs: Any, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Intersection over union of boxes, and what else the smallest box has.

    A box is its centre's two places, width and height; the second number is
    the share of the smallest box around both that is in neither.
    """
    (low, high), (other_low, other_high) = (
        (box[..., :2] - box[..., 2:] / 2, box[..., :2] + box[..., 2:] / 2)
        for box in (outputs, targets)
    )

    def area(low: jax.Array, high: jax.Array) -> jax.Array:
        return jnp.prod(jnp.maximum(high - low, 0), axis=-1)

    inside = area(jnp.maximum(low, other_low), jnp.minimum(high, other_high))
    either = area(low, high) + area(other_low, other_high) - inside
    around = area(jnp.minimum(low, other_low), jnp.maximum(high, other_high))
    return inside / either, (around - either) / around


def _box_losses(outputs: Any, targets: jax.Array) -> jax.Array:
    """DETR's: 5 times the L1 distance, and twice 1 minus generalized IoU."""
    overlap, empty = _boxes(outputs, targets)
    distance = jnp.sum(jnp.abs(outputs - targets), axis=-1)
    return 5 * distance + 2 * (1 - overlap + empty)


def _box_numbers(outputs: Any, targets: jax.Array) -> Numbers:
    overlap, _ = _boxes(outputs, targets)
    return {
        "loss": _box_losses(outputs, targets),
        "overlap": overlap,
        "found_50": (overlap >= 0.5).astype(jnp.float32),
        "found_75": (overlap >= 0.75).astype(jnp.float32),
    }


def _hits(outputs: Any, targets: jax.Array) -> jax.Array:
    hits = jnp.argmax(outputs, axis=-1) == targets
    return hits.astype(jnp.float32)


def _two_losses(outputs: Any, targets: jax.Array) -> Numbers:
    classes, rotations = outputs
    return {
        "loss_cls": loop.cross_entropy(classes, targets[:, 0]),
        "loss_rot": loop.cross_entropy(rotations, targets[:, 1]),
    }


def _sum_of_two(outputs: Any, targets: jax.Array) -> jax.Array:
    return sum(_two_losses(outputs, targets).values(), jnp.zeros([]))


def _two_tasks(outputs: Any, targets: jax.Array) -> Numbers:
    losses = _two_losses(outputs, targets)
    return {
        **losses,
        "loss": losses["loss_cls"] + losses["loss_rot"],
        "accuracy_cls": _hits(outputs[0], targets[:, 0]),
        "accuracy_rot": _hits(outputs[1], targets[:, 1]),
    }


def _words_and_order(outputs: Any, targets: jax.Array) -> Numbers:
    order, words = outputs
    found = {
        "loss_words": loop.cross_entropy(words, targets[:, 1:]).mean(axis=1),
        "loss_order": loop.cross_entropy(order, targets[:, 0]),
        "accuracy_words": _hits(words, targets[:, 1:]).mean(axis=1),
        "accuracy_order": _hits(order, targets[:, 0]),
    }
    return {**found, "loss": found["loss_words"] + found["loss_order"]}


TASKS = {
    "classes": Task(
        loop.cross_entropy,
        lambda outputs, targets: {
            "loss": loop.cross_entropy(outputs, targets),
            "accuracy": _hits(outputs, targets),
        },
    ),
    "squared error": Task(
        _squared_errors,
        lambda outputs, targets: {"loss": _squared_errors(outputs, targets)},
    ),
    "pixels": Task(
        _pixel_entropies,
        lambda outputs, targets: {"loss": _pixel_entropies(outputs, targets)},
    ),
    "mask": Task(
        _pixel_entropies,
        lambda outputs, targets: {
            "loss": _pixel_entropies(outputs, targets),
            "overlap": _overlap(outputs, targets),
        },
    ),
    # Of noise and what the network says it is; the targets are not looked at.
    "noise": Task(
        lambda outputs, targets: _squared_errors(outputs[1], outputs[0]),
        lambda outputs, targets: {
            "loss": _squared_errors(outputs[1], outputs[0])
        },
    ),
    "masked words and order": Task(
        lambda outputs, targets: _words_and_order(outputs, targets)["loss"],
        _words_and_order,
    ),
    "boxes": Task(_box_losses, _box_numbers),
    "class and rotation": Task(_sum_of_two, _two_tasks),
}


# Cached, so that an objective is one object and is compiled once.
@functools.cache
def objective(name: str) -> loop.Objective:
    """Returns what a task of this name minimizes."""
    losses = TASKS[name].losses
    return loop.Objective(
        None, lambda model, params, outputs, targets: losses(outputs, targets)
    )


def train(
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    data: Validated[Examples],
    task: str,
    *,
    learning_rate: float,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    measured_train: int | None = loop.MEASURED_TRAIN,
    vmapped: bool | None = None,
    on_epoch: Callable[[], None] = lambda: None,
    at_end: Callable[[loop.Run], Mapping[str, Any]] | None = None,
) -> list[Outcome]:
    """Trains one network a seed; the arguments are ``classification.train``'s.

    And ``at_end``, which makes more numbers of the trained networks, each an
    array of shape [seeds].

    Returns:
        Each seed's curves before training and after each epoch, such as
        ``train_loss``, and their last points and what there is more.
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
        objective=objective(task),
    )
    last = []

    def measure(run: loop.Run) -> dict[str, jax.Array]:
        last[:] = [run]
        return _measure(model, task, run, data, vmapped, measured_train)

    points = loop.measurements(runs, measure, on_epoch)
    more = at_end(*last) if at_end else {}
    curves = {
        name: np.stack([np.asarray(point[name]) for point in points], axis=1)
        for name in points[0]
    }
    return [
        Outcome(
            {name: curve[row].tolist() for name, curve in curves.items()},
            {name: float(curve[row, -1]) for name, curve in curves.items()}
            | {name: float(numbers[row]) for name, numbers in more.items()},
        )
        for row in range(len(seeds))
    ]


@functools.partial(
    jax.jit, static_argnames=("model", "task", "vmapped", "seen")
)
def _measure(
    model: nn.Module,
    task: str,
    runs: loop.Run,
    data: Validated[Examples],
    vmapped: bool,
    seen: int | None,
) -> dict[str, jax.Array]:
    first = jax.tree.map(lambda x: x[:seen], data.train)

    def measure_one(run: loop.Run) -> dict[str, jax.Array]:
        variables = {"params": run.params, **run.statistics}
        return {
            f"{part}_{name}": mean
            for part, examples in zip(
                PARTS, (first, data.valid, data.test), strict=True
            )
            for name, mean in means(model, task, variables, examples).items()
        }

    return loop.each_seed(measure_one, vmapped)(runs)


def means(
    model: nn.Module, task: str, variables: Any, examples: Examples
) -> dict[str, jax.Array]:
    """Each number's mean, some examples at a time to bound the memory."""
    inputs, targets = examples

    def sums(part: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        outputs = model.apply(variables, part[0], train=False)
        found = TASKS[task].numbers(outputs, part[1])
        return {name: each.sum() for name, each in found.items()}

    count = len(targets)
    size = min(EVALUATED_AT_ONCE, count)
    whole = count // size * size
    parts = jax.tree.map(
        lambda x: x[:whole].reshape(-1, size, *x.shape[1:]), (inputs, targets)
    )
    total = jax.tree.map(lambda x: x.sum(), jax.lax.map(sums, parts))
    if whole < count:
        rest = sums((inputs[whole:], targets[whole:]))
        total = jax.tree.map(jnp.add, total, rest)
    return {name: each / count for name, each in total.items()}
