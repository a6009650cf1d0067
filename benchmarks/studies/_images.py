"""Studies that train a classifier of images with several optimizers."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

import flax.linen as nn

from benchmarks.contenders import agr
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Split, Validated
from benchmarks.models import described
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
from benchmarks.training import adjustments, classification, loop

# Enough to see that a study runs.
SMOKE = ("adamw", "agr+adamw")
# What was seen before it was tested is run again with seeds that nobody saw.
OTHER_SEEDS = {"first_seed": 100}
# The defaults of AdamW in the AGR paper, and one decade around.
LEARNING_RATES = {
    f"lr {rate:g}": {"learning_rate": rate} for rate in (1e-4, 1e-3, 1e-2)
}


def _classified(*args: Any, **settings: Any) -> Sequence[Outcome]:
    return classification.outcomes(classification.train(*args, **settings))


def adjusted(*args: Any, **settings: Any) -> Sequence[Outcome]:
    """Trains where GAL's adjustments are looked at, too."""
    return adjustments.train(*args, **settings)


def image_study(
    *,
    title: str,
    question: str,
    data_sets: Sequence[str],
    data: str,
    load: Callable[[Settings, pathlib.Path | None], Any],
    part: Callable[[Job], Split[Examples] | Validated[Examples]] = lambda job: (
        job.data
    ),
    model: nn.Module,
    presets: Mapping[str, Preset],
    methods: Mapping[str, Method] | None = None,
    make: Callable[[Job], MakeOptimizer] | None = None,
    variants: Mapping[str, Settings] | None = None,
    metrics: Sequence[Metric] = classification.METRICS,
    curves: Sequence[Curve] = classification.CURVES,
    paper: Paper | None = None,
    tables: str,
    tuning: Tuning | None = None,
    primary: Primary | None = None,
    train: Callable[..., Sequence[Outcome]] = _classified,
    objective: Callable[[Job], loop.Objective] | None = None,
    pictures: Callable[[Study, Result], Mapping[str, bytes]] | None = None,
    sections: Callable[[Study, Result], Sequence[str]] | None = None,
) -> Study:
    """Returns a study that is judged by accuracy and loss after training.

    Args:
        title: What the tables and plots are called.
        question: What it is to answer.
        data_sets: Keys of ``benchmarks.data.SETS`` that ``load`` reads.
        data: A line on the data.
        load: The images, from settings and the folder of the data.
        part: Those of a job, where ``load`` returns more than these.
        model: Called as ``model(images, train=...)``.
        presets: Settings have epochs, batch_size, learning_rate, weight_decay,
            and where they are not the usual numbers measured_train and
            first_seed, which is 0.
        methods: The contenders; those of AGR by default.
        make: The optimizer of a job, as a function of the learning rate.
        variants: Settings to compare side by side; the learning rates by
            default.
        metrics: Of ``classification.Curves``; the paper's claim is about the
            first.
        curves: Those to draw.
        paper: The paper's numbers.
        tables: Which of which paper the study is.
        tuning: What validation chooses, where ``load`` returns such examples.
        primary: The test that answers the question.
        train: Called as ``classification.train``.
        objective: What a job minimizes, for a ``train`` that takes it.
        pictures: As of ``Study``.
        sections: Likewise.
    """
    make = make or agr.usual_optimizer

    def run(job: Job) -> Sequence[Outcome]:
        settings = job.settings
        given = {"objective": objective(job)} if objective else {}
        return train(
            model,
            make(job),
            part(job),
            learning_rate=settings["learning_rate"],
            seeds=[settings.get("first_seed", 0) + seed for seed in job.seeds],
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            vmapped=settings.get("vmapped"),
            measured_train=settings.get("measured_train", loop.MEASURED_TRAIN),
            on_epoch=job.on_progress,
            **given,
        )

    return Study(
        title=title,
        question=question,
        data_sets=data_sets,
        data=data,
        model=described(model),
        metrics=metrics,
        curves=curves,
        methods=agr.METHODS if methods is None else methods,
        presets=presets,
        load=load,
        run=run,
        variants=LEARNING_RATES if variants is None else variants,
        paper=paper,
        tables=tables,
        tuning=tuning,
        primary=primary,
        pictures=pictures,
        sections=sections,
    )
