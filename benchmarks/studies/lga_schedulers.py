"""LGA on MNIST under four schedules of the learning rate."""

from collections.abc import Callable
import functools
from typing import Any

import jax.numpy as jnp
import optax
import optax.contrib

from benchmarks.contenders import lga
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples
from benchmarks.models import TorchLeNet5
from benchmarks.studies import _lga
from benchmarks.studies._tasks import beside
from benchmarks.study import Curve, Job, Metric, Paper, Preset, Primary

COMMON = {
    **_lga.COMMON,
    "batch_size": 64,
    "paper_steps": _lga.STEPS["mnist"],
}
OPTIMIZERS = ("sgd", "adam", "adadelta")
# Of PyTorch's schedulers, a step an epoch. The paper tells no arguments: the
# plateau has PyTorch's, the cosine ends with the run.
VARIANTS = {
    "CosineAnnealingLR": {"schedule": {"kind": "cosine"}},
    "ExponentialLR": {"schedule": {"kind": "exponential", "decay": 0.9}},
    "ReduceLROnPlateau": {
        "schedule": {"kind": "plateau", "decay": 0.1, "patience": 10}
    },
    "StepLR": {
        "schedule": {"kind": "step", "decay": 0.1, "share_of_epochs": 0.5}
    },
}


# Cached, so that the method is one object and is compiled once.
@functools.cache
def factors(
    steps: int,
    epochs: int,
    kind: str,
    decay: float = 0.0,
    patience: int = 0,
    share_of_epochs: float = 0.0,
    floor: float = 0.0,
) -> Callable[[], optax.GradientTransformation]:
    """Returns what makes the factors of a learning rate.

    Args:
        steps: Those of an epoch.
        epochs: Those of the run.
        kind: ``cosine``, ``exponential``, ``linear``, ``plateau`` or ``step``.
        decay: What the rate is multiplied by.
        patience: Epochs without a lower loss, of ``plateau``.
        share_of_epochs: Those between two steps, in those of the run.
        floor: What a factor of 0 is raised to, and others in proportion;
            not of ``plateau``.
    """
    if kind == "plateau":
        return functools.partial(
            optax.contrib.reduce_on_plateau,
            factor=decay,
            patience=patience,
            accumulation_size=steps,
        )

    def falling(count: Any) -> Any:
        epoch = count // steps
        if kind == "cosine":
            return (1 + jnp.cos(jnp.pi * epoch / epochs)) / 2
        if kind == "linear":
            return 1 - epoch / epochs
        if kind == "exponential":
            return decay**epoch
        return decay ** (epoch // max(1, round(share_of_epochs * epochs)))

    def factor(count: Any) -> Any:
        return floor + (1 - floor) * falling(count)

    return functools.partial(
        optax.scale_by_schedule, factor if floor else falling
    )


def make(job: Job, examples: Examples) -> MakeOptimizer:
    settings = job.settings
    steps = len(examples.labels) // settings["batch_size"]
    epochs = settings["epochs"]
    return lga.maker(
        job.method,
        _lga.gamma_of(settings, steps * epochs),
        steps,
        factors=factors(steps, epochs, **settings["schedule"]),
        **job.arguments,
    )


STUDY = _lga.lga_study(
    title="LGA on MNIST under schedules of the learning rate",
    question=(
        "Does LGA raise the training accuracy where the rate falls, as the"
        " paper's Table 5 has it, and does it do more than a higher rate?"
    ),
    tables="LGA, Table 5",
    data_sets=["mnist"],
    data="MNIST; a tenth of the training images held out for validation."
    + _lga.PART,
    load=lambda settings, data_dir: _lga.validated("mnist", settings, data_dir),
    models={"": TorchLeNet5()},
    task=lambda settings: "classes",
    metrics=[
        Metric("train_accuracy", "training accuracy, %", True, 100.0, 2),
        Metric("test_accuracy", "test accuracy, %", True, 100.0, 2),
        Metric("test_loss", "test loss", False, 1.0, 4),
    ],
    curves=[
        Curve("train_accuracy", "training accuracy"),
        Curve("test_loss", "test loss", log=True),
    ],
    methods=lga.with_faster(*lga.OPTIMIZERS),
    make=make,
    variants=VARIANTS,
    tuning=lga.tuning(
        tuple(lga.OPTIMIZERS),
        {f"{name}, tuned": [name] for name in VARIANTS},
    ),
    primary=Primary("StepLR", "lga+sgd", "train_accuracy"),
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 2, "limits": {"mnist": [160, 50]}},
            seeds=2,
            variants=["ReduceLROnPlateau", "StepLR"],
            methods=["lga+sgd"],
        ),
        "small": Preset(
            {**COMMON, "epochs": 10, "limits": {"mnist": [2000, 1000]}},
            seeds=3,
            methods=list(lga.with_faster(*OPTIMIZERS)),
        ),
        "paper": Preset(
            {**COMMON, "epochs": 20, "limits": {"mnist": [None, None]}},
            seeds=5,
            accelerator=True,
        ),
    },
    paper=Paper(
        source=f"{_lga.SOURCE}, Table 5, accuracy on the training set, %, with"
        " mean and deviation over the optimizers",
        **beside(
            (
                *("Algorithm", "CosineAnnealingLR w/o LGA", "w/ LGA"),
                *("ExponentialLR w/o LGA", "w/ LGA"),
                *("ReduceLROnPlateau w/o LGA", "w/ LGA"),
                *("StepLR w/o LGA", "w/ LGA"),
            ),
            "SGD 91.16 **94.20** 91.16 **93.21** 94.95 **95.95** 76.68"
            " **90.93**",
            "Momentum 98.67 **98.72** **98.67** 98.48 98.98 **99.07** 97.87"
            " **97.98**",
            "ASGD 92.73 **94.22** 92.73 **93.51** 95.70 **96.01** 81.86"
            " **91.60**",
            "RMSprop 99.98 99.98 **99.98** 99.95 **99.66** 99.60 99.86"
            " **99.87**",
            "Adam 99.98 99.98 99.98 99.98 99.55 **99.65** 99.81 99.81",
            "Adamax 99.61 **99.62** 99.61 **99.93** 99.63 **99.64** 99.08"
            " **99.10**",
            "Adadelta 76.47 **88.42** 76.47 **99.44** 88.59 **91.18** 52.18"
            " **85.46**",
            "mean 94.09 **96.45** 94.09 **96.01** 96.72 **97.30** 86.76"
            " **94.96**",
            "deviation 7.94 **4.05** 7.94 **4.40** 3.79 **2.94** 16.64"
            " **5.23**",
        ),
        remark=_lga.REMARK
        + " It tells no argument of a scheduler. Without LGA its columns of"
        " two schedulers are equal to every digit, and the plateau's are those"
        " of a constant rate. The schedule multiplies the optimizer's update,"
        " not LGA's term. In runs of no more epochs than its patience, the"
        " plateau's rate is constant, too.",
    ),
)
