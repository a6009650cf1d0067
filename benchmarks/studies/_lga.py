"""LGA's tables: what their studies share.

The paper adds its term with gamma = 1e-8 at every step. A run of fewer steps
than the paper's has a gamma as many times as large, so that the term, whose
size does not depend on the gradient's, can come as far.
"""

from collections.abc import Callable, Sequence
import functools
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks import data
from benchmarks.contenders import lga
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Validated
from benchmarks.reporting import passage
from benchmarks.studies._tasks import held_out, task_study
from benchmarks.study import Job, Metric, Settings, Study

GAMMA = 1e-8
# The paper's on MNIST: 20 epochs of 937 batches of 64; on CIFAR-10: 100 of 390
# batches of 128.
STEPS = {"mnist": 18_740, "cifar10": 39_000}
COMMON = {"gamma": GAMMA, "learning_rate": 1e-3, "validation": 0.1}
SOURCE = (
    "*Towards the Gradient Adjustment by Loss Status for Neural Network"
    " Optimization*"
)
REMARK = (
    "The paper tells neither the network's details nor its split; here a tenth"
    " of the training examples is held out, and validation chooses among the"
    " rates of the control. Where a preset has fewer steps than the paper,"
    " gamma is as many times as large as the steps are fewer."
)
PART = " Small and smoke take a fixed sample and fewer epochs than the paper."


def gamma_of(settings: Settings, steps: int) -> float:
    """Returns gamma for a run of so many steps."""
    return settings["gamma"] * settings["paper_steps"] / steps


def make(job: Job, examples: Examples) -> MakeOptimizer:
    settings = job.settings
    steps = len(examples.labels) // settings["batch_size"]
    gamma = gamma_of(settings, steps * settings["epochs"])
    return lga.maker(job.method, gamma, steps, **job.arguments)


def validated(
    name: str, settings: Settings, data_dir: pathlib.Path | None
) -> Validated[Examples]:
    """Returns a set of images, a share of the training ones held out.

    Args:
        name: A key of ``benchmarks.data.SETS``.
        settings: They have validation, the share, and limits, of the sets'
            training and test images.
        data_dir: As of the loader.
    """
    train, test = settings["limits"][name]
    split = data.SETS[name].load(data_dir, limit_train=train, limit_test=test)
    return held_out(split, settings["validation"])


def on_unit_interval(parts: Validated[Examples]) -> Validated[Examples]:
    """Returns images from 0 to 1, which are their own targets."""
    low, high = (
        np.asarray(
            find(np.asarray(parts.train.images), axis=(0, 1, 2), keepdims=True)
        )
        for find in (np.min, np.max)
    )

    def scaled(part: Examples) -> Examples:
        images = (part.images - low) / (high - low)
        return Examples(images, images)

    return Validated(*map(scaled, parts))


def lga_study(
    *,
    metrics: Sequence[Metric],
    make: Callable[[Job, Examples], MakeOptimizer] = make,
    ratio: Metric | None = None,
    sections: Any = None,
    **fields: Any,
) -> Study:
    """Returns a study of LGA beside what a user would pick instead.

    Args:
        metrics: Of ``tasks.train``; the paper's claim is about the first.
        make: The optimizer of a job.
        ratio: The metric whose curve the ratio of epochs is of; the first by
            default.
        sections: As in ``Study``; the ratio of epochs by default.
        fields: Others of ``task_study``; the presets' settings have what
            ``make`` reads, too.
    """
    return task_study(
        metrics=metrics,
        make=make,
        sections=sections
        or functools.partial(passage.section, metric=ratio or metrics[0]),
        **fields,
    )


def turned(parts: Validated[Examples]) -> Validated[Examples]:
    """Returns images beside themselves turned, and class and quarter turns.

    How often an image is turned is drawn once, the same for every method.
    """

    def both(part: Examples, seed: int) -> Examples:
        images = np.asarray(part.images)
        turns = np.random.default_rng(seed).integers(0, 4, len(images))
        other = np.stack(
            [
                np.rot90(image, turn)
                for image, turn in zip(images, turns, strict=True)
            ]
        )
        labels = np.stack([np.asarray(part.labels), turns], axis=1)
        pair = np.concatenate([images, other], axis=-1)
        return Examples(jnp.asarray(pair), jnp.asarray(labels, jnp.int32))

    return Validated(*(both(part, seed) for seed, part in enumerate(parts)))
