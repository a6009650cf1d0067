"""GAL's tables on CIFAR-10: what their studies share."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks import data
from benchmarks.contenders import gal
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Validated
from benchmarks.models import ConvNet
from benchmarks.reporting import adjustments
from benchmarks.studies._images import adjusted, image_study
from benchmarks.study import (
    Contender,
    Job,
    Method,
    Paper,
    Preset,
    Primary,
    Settings,
    Study,
    Tuning,
)

SOURCE = "*Learning to Minimize the Remainder in Supervised Learning*"
# The paper's, for ten classes.
HIDDEN_SIZES = (100, 32, 16)
COMMON = {"batch_size": 64, "learning_rate": 1e-3, "validation": 0.2}
SMOKE = {**COMMON, "batch_size": 16, "epochs": 1, "side": 8, "limits": [40, 20]}
SMALL = {**COMMON, "epochs": 12, "side": 16, "limits": [2500, 1000]}
WHOLE = {**COMMON, "epochs": 100, "side": 32, "limits": [None, None]}
DATA = (
    "CIFAR-10, a fifth of the training images held out for validation. Small"
    " and smoke take a fixed sample, stratified by class, of images whose"
    " pixels are means of windows: small 2,500 to train and 1,000 to test on,"
    " of 16 pixels a side, for 12 epochs"
)
REMARK = (
    " The paper has EfficientNet-B1, started from ImageNet's weights by the"
    " training scheme that it follows, and all images; here it is a network of"
    " two convolutions that starts from nothing, in all presets, so that"
    " errors are many times the paper's. Theta learns by Adam at Adam's rate."
    " The tentative step is beta times the optimizer's learning rate. Where it"
    " is short and alpha small, theta's gradient is below Adam's eps, and"
    " theta hardly moves."
)


def load(
    settings: Settings, data_dir: pathlib.Path | None
) -> Validated[Examples]:
    train, test = settings["limits"]
    split = data.cifar10(data_dir, limit_train=train, limit_test=test)
    count = max(1, round(settings["validation"] * len(split.train.labels)))

    def pooled(part: Examples) -> Examples:
        images = data.window_means(np.asarray(part.images), settings["side"])
        return part._replace(images=jnp.asarray(images))

    return Validated(*map(pooled, data.with_validation(split, count)))


def make(job: Job) -> MakeOptimizer:
    rate = job.settings["learning_rate"]
    return gal.maker_at(job.method, 10, rate, **job.arguments)


def with_numbers(methods: Mapping[str, Method]) -> dict[str, Method]:
    """Returns methods whose descriptions tell alpha and beta."""
    told = {}
    for name, method in methods.items():
        if numbers := method.arguments.get("magnitude"):
            beta = method.arguments["beta"]
            text = f"{method.description}; alpha {numbers:g}, beta {beta:g}"
            method = method._replace(description=text)
        told[name] = method
    return told


def tuned(name: str) -> str:
    return f"{name}, tuned"


def tuning(
    methods: Mapping[str, Method], variants: Mapping[str, Sequence[str]]
) -> Tuning:
    """Returns each method at the best of the rates, by the loss.

    Args:
        methods: All of them.
        variants: As in ``Tuning``.
    """
    return Tuning(
        "valid_loss",
        {
            tuned(name): Contender(
                f"`{name}` at its best rate",
                [name],
                tuned(method.baseline) if method.baseline else None,
            )
            for name, method in methods.items()
        },
        variants,
    )


def cifar_study(
    *,
    title: str,
    question: str,
    tables: str,
    methods: Mapping[str, Method],
    presets: Mapping[str, Preset],
    primary: Primary,
    paper: Paper,
    variants: Mapping[str, Settings] | None = None,
    tuning: Tuning | None = None,
    drawn: Callable[..., Any] | None = None,
) -> Study:
    """Returns a study of GAL on CIFAR-10.

    Args:
        title: What the tables and plots are called.
        question: What it is to answer.
        tables: Which of the paper's it is.
        methods: The contenders; their arguments are ``gal.maker_at``'s.
        presets: Settings are ``SMOKE``, ``SMALL`` or ``WHOLE``.
        primary: The test that answers the question.
        paper: The paper's numbers.
        variants: Learning rates to compare side by side, if any.
        tuning: What validation chooses.
        drawn: Further pictures, as ``Study.pictures``.
    """
    return image_study(
        title=title,
        question=question,
        tables=tables,
        data_sets=["cifar10"],
        data=DATA,
        load=load,
        model=ConvNet(),
        methods=with_numbers(methods),
        make=make,
        presets=presets,
        variants={"": {}} if variants is None else variants,
        tuning=tuning,
        primary=primary,
        paper=paper._replace(remark=paper.remark + REMARK),
        train=adjusted,
        pictures=drawn,
        sections=adjustments.section,
    )
