"""LGA's tables: what their studies share.

The paper adds its term with gamma = 1e-8 at every step. A run of fewer steps
than the paper's has a gamma as many times as large, so that the term, whose
size does not depend on the gradient's, can come as far.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import pathlib
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from benchmarks import data
from benchmarks.contenders import lga
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Validated
from benchmarks.models import described
from benchmarks.reporting import passage
from benchmarks.study import (
    Curve,
    Job,
    Method,
    Metric,
    Outcome,
    Paper,
    Preset,
    Primary,
    Result,
    Settings,
    Study,
    Tuning,
)
from benchmarks.training import loop, tasks

Pictures = Callable[[Study, Result], Mapping[str, bytes]]
Sections = Callable[[Study, Result], Sequence[str]]

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
    count = max(1, round(settings["validation"] * len(split.train.labels)))
    return data.with_validation(split, count)


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
    title: str,
    question: str,
    tables: str,
    data_sets: Sequence[str],
    data: str,
    load: Callable[[Settings, pathlib.Path | None], Any],
    part: Callable[[Job], Validated[Examples]] = lambda job: job.data,
    models: Mapping[str, nn.Module],
    task: Callable[[Settings], str],
    metrics: Sequence[Metric],
    curves: Sequence[Curve],
    methods: Mapping[str, Method],
    make: Callable[[Job, Examples], MakeOptimizer] = make,
    presets: Mapping[str, Preset],
    variants: Mapping[str, Settings],
    tuning: Tuning | None,
    primary: Primary,
    paper: Paper | None = None,
    best: Sequence[str] = (),
    ratio: Metric | None = None,
    kept: Sequence[str] | None = None,
    pictures: Pictures | None = None,
    sections: Sections | None = None,
) -> Study:
    """Returns a study of LGA beside what a user would pick instead.

    Args:
        title: What the tables and plots are called.
        question: What it is to answer.
        tables: Which of the paper's it is.
        data_sets: Keys of ``benchmarks.data.SETS`` that ``load`` reads.
        data: A line on the data.
        load: The examples, from settings and the folder of the data.
        part: Those of a job.
        models: The network, by the settings' ``model``; one has the name "".
        task: A key of ``tasks.TASKS``, from the settings.
        metrics: Of ``tasks.train``; the paper's claim is about the first.
        curves: Those to draw.
        methods: The contenders.
        make: The optimizer of a job.
        presets: Settings have epochs, batch_size, learning_rate and what
            ``make`` reads, where a variant's have not.
        variants: Settings to compare side by side.
        tuning: What validation chooses.
        primary: The test that answers the question.
        paper: The paper's numbers.
        ratio: The metric whose curve the ratio of epochs is of; the first by
            default.
        best: Names of curves whose largest value is a number, ``best_...``.
        kept: Names of the curves that cells keep; all by default.
        pictures: Draws more of them.
        sections: More parts of the page; the ratio of epochs by default.
    """

    def run(job: Job) -> Sequence[Outcome]:
        settings, parts = job.settings, part(job)
        found = tasks.train(
            models[settings.get("model", "")],
            make(job, parts.train),
            parts,
            task(settings),
            learning_rate=settings["learning_rate"],
            seeds=[settings.get("first_seed", 0) + seed for seed in job.seeds],
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            vmapped=settings.get("vmapped"),
            measured_train=settings.get("measured_train", loop.MEASURED_TRAIN),
            on_epoch=job.on_progress,
        )
        return [_told(outcome, best, kept) for outcome in found]

    return Study(
        title=title,
        question=question,
        tables=tables,
        data_sets=data_sets,
        data=data,
        model="; ".join(
            f"{name}: {described(model)}" if name else described(model)
            for name, model in models.items()
        ),
        metrics=metrics,
        curves=curves,
        methods=methods,
        presets=presets,
        load=load,
        run=run,
        variants=variants,
        tuning=tuning,
        primary=primary,
        paper=paper,
        pictures=pictures,
        sections=sections
        or functools.partial(passage.section, metric=ratio or metrics[0]),
    )


def _told(
    outcome: Outcome, best: Sequence[str], kept: Sequence[str] | None
) -> Outcome:
    curves = outcome.curves
    most = {f"best_{name}": max(curves[name]) for name in best}
    return Outcome(
        {name: curves[name] for name in (curves if kept is None else kept)},
        {**outcome.final, **most},
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


def beside(header: Sequence[str], *rows: str) -> dict[str, Any]:
    """Returns a paper's table from lines whose entries have no spaces."""
    return {
        "header": header,
        "rows": [
            [entry.replace("_", " ") for entry in row.split()] for row in rows
        ],
    }
