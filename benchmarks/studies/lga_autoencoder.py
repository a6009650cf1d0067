"""LGA on autoencoders of MNIST and CIFAR-10."""

import pathlib

import jax

from benchmarks.contenders import lga
from benchmarks.data import Examples, Validated
from benchmarks.models import ConvAutoencoder, DenseAutoencoder
from benchmarks.studies import _lga
from benchmarks.studies._tasks import beside
from benchmarks.study import (
    Curve,
    Job,
    Metric,
    Paper,
    Preset,
    Primary,
    Settings,
)

COMMON = {**_lga.COMMON, "batch_size": 64}
OPTIMIZERS = ("sgd", "momentum", "adam", "adadelta")
VARIANTS = {
    "MNIST": {
        "data": "mnist",
        "model": "MNIST",
        "task": "squared error",
        "paper_steps": _lga.STEPS["mnist"],
    },
    "CIFAR-10": {
        "data": "cifar10",
        "model": "CIFAR-10",
        "task": "pixels",
        "paper_steps": _lga.STEPS["cifar10"],
    },
}


def load(
    settings: Settings, data_dir: pathlib.Path | None
) -> dict[str, Validated[Examples]]:
    found = {}
    for name in settings["limits"]:
        parts = _lga.on_unit_interval(_lga.validated(name, settings, data_dir))
        if name == "mnist":  # For a tanh.
            parts = jax.tree.map(lambda x: 2 * x - 1, parts)
        found[name] = parts
    return found


def part(job: Job) -> Validated[Examples]:
    return job.data[job.settings["data"]]


STUDY = _lga.lga_study(
    title="LGA on autoencoders",
    question=(
        "Does LGA lower the loss of autoencoders, as the paper's Table 12 has"
        " it, and does it do more than a higher rate?"
    ),
    tables="LGA, Table 12",
    data_sets=["mnist", "cifar10"],
    data="MNIST from -1 to 1, CIFAR-10 from 0 to 1; a tenth of the training"
    f" images held out for validation.{_lga.PART}",
    load=load,
    part=part,
    models={"MNIST": DenseAutoencoder(), "CIFAR-10": ConvAutoencoder()},
    task=lambda settings: settings["task"],
    metrics=[
        Metric("train_loss", "training loss", False, 1.0, 4),
        Metric("test_loss", "test loss", False, 1.0, 4),
        Metric("valid_loss", "validation loss", False, 1.0, 4, tested=False),
    ],
    curves=[
        Curve("train_loss", "training loss", log=True),
        Curve("test_loss", "test loss", log=True),
    ],
    methods=lga.with_faster(*lga.OPTIMIZERS),
    variants=VARIANTS,
    tuning=lga.tuning(
        tuple(lga.OPTIMIZERS),
        {f"{name}, tuned": [name] for name in VARIANTS},
    ),
    primary=Primary("CIFAR-10", "lga+sgd", "train_loss"),
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 2, "limits": {"mnist": [160, 50]}},
            seeds=2,
            variants=["MNIST"],
            methods=["lga+sgd"],
        ),
        "small": Preset(
            {
                **COMMON,
                "epochs": 10,
                "limits": {"mnist": [10000, 2000], "cifar10": [2000, 1000]},
            },
            seeds=4,
            methods=list(lga.with_faster(*OPTIMIZERS)),
        ),
        "paper": Preset(
            {
                **COMMON,
                "epochs": 20,
                "limits": {"mnist": [None, None], "cifar10": [None, None]},
            },
            seeds=5,
            accelerator=True,
        ),
    },
    paper=Paper(
        source=f"{_lga.SOURCE}, Table 12, the final loss",
        **beside(
            (
                *("Dataset", "Algorithm", "SGD", "Momentum", "ASGD"),
                *("RMSprop", "Adam", "Adamax", "Adadelta"),
            ),
            "Mnist w/o_LGA 0.182 **0.079** 0.177 0.077 0.072 0.071 0.180",
            "Mnist w/_LGA **0.166** 0.080 **0.165** **0.076** 0.072 0.071"
            " **0.167**",
            "CIFAR-10 w/o_LGA 0.691 0.582 0.691 0.566 0.562 0.561 0.691",
            "CIFAR-10 w/_LGA **0.587** **0.564** **0.590** 0.566 0.562"
            " **0.560** **0.591**",
        ),
        remark=_lga.REMARK
        + " The networks are those of two programs that the paper links and"
        " that are not at hand: of the second the layers are as it is known,"
        " with binary cross-entropy, whose 0.691 says that plain SGD has"
        " learned next to nothing (0.693 is that of a grey image). Which part"
        " of the data the loss is of is not said; here it is the training"
        " part.",
    ),
)
