"""AGR where a weight matrix is small, or little of its gradient is not 0."""

from collections.abc import Sequence
import pathlib
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.contenders import agr
from benchmarks.data import Rows, Split
from benchmarks.models import Regressor
from benchmarks.study import (
    Job,
    Method,
    Metric,
    Outcome,
    Preset,
    Settings,
    Study,
)
from benchmarks.training import regression

HALF = {"max_alpha": 0.5}
BETTER_RATE = {"rate_factor": 3}
BINS = 16
# Of the columns of the diabetes table: the body mass index.
COLUMN = 2
DATA = ("column", "table", "digits")
COMMON = {"weight_decay": 0.0, "measure_every": 5}
METRICS = (
    Metric("test_r2", "test R²", True, 1.0, 4),
    Metric("train_mse", "training MSE", False, 1.0, 4),
)


def with_half(*names: str) -> dict[str, Method]:
    """Returns methods of AGR, and each with ``max_alpha=0.5`` after it."""
    methods = {}
    for name in names:
        method = agr.METHODS[name]
        *prefix, last = name.split("+")
        half = f"{prefix[0]}-half+{last}" if prefix else f"{last}-half"
        methods[name] = method
        # The paper has no such bound.
        methods[half] = method._replace(
            description=f"{method.description}, max_alpha=0.5",
            claimed=False,
            arguments={**method.arguments, **HALF},
        )
    return methods


def better_rate(plain: str) -> Method:
    return Method(
        f"{plain} at {BETTER_RATE['rate_factor']} times the rate, a control",
        plain,
        arguments=BETTER_RATE,
    )


METHODS = {
    "adamw": agr.METHODS["adamw"],
    "adamw-faster": better_rate("adamw"),
    **with_half("agr+adamw", "adamw_agr"),
    "adan": agr.METHODS["adan"],
    "adan-faster": better_rate("adan"),
    **with_half("agr+adan", "adan_agr", "adan_agr-printed"),
}


def one_hot(split: Split[Rows], columns: Sequence[int]) -> Split[Rows]:
    """Returns each column as one of up to 16 bins of equal training counts."""
    train, test = (np.asarray(part.inputs) for part in split)

    def encode(inputs: np.ndarray) -> np.ndarray:
        blocks = []
        for column in columns:
            shares = np.arange(1, BINS) / BINS
            edges = np.unique(np.quantile(train[:, column], shares))
            bins = np.searchsorted(edges, inputs[:, column], side="right")
            blocks.append(np.eye(len(edges) + 1, dtype=np.float32)[bins])
        return np.concatenate(blocks, axis=1)

    return Split(
        *(
            part._replace(inputs=encode(inputs))
            for part, inputs in zip(split, (train, test), strict=True)
        )
    )


def in_deviations(split: Split[Rows]) -> Split[Rows]:
    """Returns targets shifted and scaled by those of the training rows."""
    mean = split.train.targets.mean()
    deviation = split.train.targets.std()
    return Split(
        *(
            part._replace(targets=(part.targets - mean) / deviation)
            for part in split
        )
    )


def load(settings: Settings, data_dir: pathlib.Path | None) -> Any:
    del settings
    table = data.diabetes(data_dir)
    digits = Split(
        *(
            Rows(part.images.reshape(len(part.labels), -1), 1.0 * part.labels)
            for part in data.digits(data_dir)
        )
    )
    every = range(table.train.inputs.shape[1])
    splits = (one_hot(table, [COLUMN]), one_hot(table, every), digits)
    return dict(zip(DATA, map(in_deviations, splits), strict=True))


def run(job: Job) -> Sequence[Outcome]:
    settings = job.settings
    return regression.train_and_measure(
        Regressor(sizes=tuple(settings["hidden_sizes"])),
        agr.maker(
            job.method.replace("-half", "").replace("-faster", ""),
            settings["weight_decay"],
            **job.arguments,
        ),
        job.data[settings["data"]],
        learning_rate=settings["learning_rate"],
        seeds=job.seeds,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        measure_every=settings["measure_every"],
        on_epoch=job.on_progress,
    )


LINEAR = {"hidden_sizes": [], "learning_rate": 1e-2}
VARIANTS = {
    "one-hot column, batch 1": {
        **LINEAR,
        "data": "column",
        "batch_size": 1,
        "epochs": 20,
    },
    "one-hot column, batch 32": {
        **LINEAR,
        "data": "column",
        "batch_size": 32,
        "epochs": 100,
    },
    "one-hot table, batch 1": {
        **LINEAR,
        "data": "table",
        "batch_size": 1,
        "epochs": 20,
    },
    "one-hot table, batch 32": {
        **LINEAR,
        "data": "table",
        "batch_size": 32,
        "epochs": 100,
    },
    "digits, batch 32": {
        "data": "digits",
        "hidden_sizes": [64],
        "learning_rate": 1e-3,
        "batch_size": 32,
        "epochs": 30,
    },
}

STUDY = Study(
    title="AGR on small matrices",
    question=(
        "Does AGR keep layers with one output, and one-hot inputs, from"
        " learning, and does max_alpha help?"
    ),
    data_sets=["diabetes", "digits"],
    data="scikit-learn's diabetes, 353 rows to train on and 89 to test on, each"
    " column as one of up to 16 bins, or the body mass index alone; its digits,"
    " 1,437 and 360, as numbers to predict; all targets in standard deviations",
    model="Regressor(): one output after no hidden layer, for digits after one",
    metrics=METRICS,
    curves=regression.CURVES,
    methods=METHODS,
    presets={
        "smoke": Preset(
            {**COMMON, "measure_every": 20},
            seeds=1,
            variants=["one-hot column, batch 1"],
            methods=["adamw", "adamw_agr", "adan_agr-half"],
        ),
        "small": Preset(COMMON, seeds=10),
        "paper": Preset(COMMON, seeds=20),
    },
    load=load,
    run=run,
    variants=VARIANTS,
    tables="none; AGR",
    x_label="epochs, five at a time",
)
