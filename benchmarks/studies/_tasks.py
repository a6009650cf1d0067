"""Studies of networks that train on any task, tuned by validation."""

from collections.abc import Callable, Mapping, Sequence
import functools
import pathlib
from typing import Any

import flax.linen as nn

from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Split, Validated, with_validation
from benchmarks.models import described
from benchmarks.study import (
    Contender,
    Curve,
    Job,
    Method,
    Metric,
    Outcome,
    Paper,
    Preset,
    Primary,
    Settings,
    Study,
    Tuning,
)
from benchmarks.training import loop, tasks
from benchmarks.training.loop import Run


def tuned(name: str) -> str:
    return f"{name}, tuned"


def best_of_each(
    methods: Mapping[str, Method],
    variants: Mapping[str, Sequence[str]],
    among: str,
) -> Tuning:
    """Returns each method at what validation chooses, beside its baseline.

    Args:
        methods: Those of the study.
        variants: As in ``Tuning``.
        among: What is chosen from, such as "rates".
    """
    known = {
        tuned(name): Contender(
            f"`{name}` at the best of the {among}",
            [name],
            tuned(method.baseline) if method.baseline else None,
        )
        for name, method in methods.items()
    }
    return Tuning("valid_loss", known, variants)


def task_study(
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
    make: Callable[[Job, Examples], MakeOptimizer],
    metrics: Sequence[Metric],
    curves: Sequence[Curve],
    methods: Mapping[str, Method],
    presets: Mapping[str, Preset],
    variants: Mapping[str, Settings],
    tuning: Tuning | None,
    primary: Primary,
    paper: Paper | None = None,
    best: Sequence[str] = (),
    kept: Sequence[str] | None = None,
    at_end: Callable[[Job, nn.Module, Run], Mapping[str, Any]] | None = None,
    pictures: Any = None,
    sections: Any = None,
) -> Study:
    """Returns a study of one of ``tasks.TASKS``, or of several.

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
        make: The optimizer of a job, which trains on such examples.
        metrics: Of ``tasks.train``; the paper's claim is about the first.
        curves: Those to draw.
        methods: The contenders.
        presets: Settings have epochs, batch_size and learning_rate, where a
            variant's have not.
        variants: Settings to compare side by side.
        tuning: What validation chooses.
        primary: The test that answers the question.
        paper: The paper's numbers.
        best: Names of curves whose largest value is a number, ``best_...``.
        kept: Names of the curves that cells keep; all by default.
        at_end: Makes more numbers of the trained networks.
        pictures: As in ``Study``.
        sections: As in ``Study``.
    """

    def run(job: Job) -> Sequence[Outcome]:
        settings, parts = job.settings, part(job)
        model = models[settings.get("model", "")]
        look = at_end and functools.partial(at_end, job, model)
        found = tasks.train(
            model,
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
            at_end=look,
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
        sections=sections,
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


def beside(header: Sequence[str], *rows: str) -> dict[str, Any]:
    """Returns a paper's table from lines whose entries have no spaces."""
    return {
        "header": header,
        "rows": [
            [entry.replace("_", " ") for entry in row.split()] for row in rows
        ],
    }


def held_out(split: Split[Examples], share: float) -> Validated[Examples]:
    """Takes a share of the training examples for validation, one at least."""
    count = max(1, round(share * len(split.train.labels)))
    return with_validation(split, count)
