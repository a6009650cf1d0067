"""Which gamma LGA needs, on three tasks: how far a rule of thumb holds."""

import pathlib

from benchmarks.data import Examples, Validated
from benchmarks.models import MLP, SmallCNN
from benchmarks.studies import _lga
from benchmarks.studies import _lga_grids as grids
from benchmarks.study import Job, Preset, Primary, Settings

# From the paper's to where training was seen to end.
GAMMAS = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3)
TASKS = {
    "digits": {"data": "digits", "model": "perceptron"},
    "MNIST": {"data": "mnist", "model": "perceptron"},
    "CIFAR-10": {"data": "cifar10", "model": "convolutions"},
}


def load(
    settings: Settings, data_dir: pathlib.Path | None
) -> dict[str, Validated[Examples]]:
    return {
        name: _lga.validated(name, settings, data_dir)
        for name in settings["limits"]
    }


def part(job: Job) -> Validated[Examples]:
    return job.data[job.settings["data"]]


STUDY = grids.grid_study(
    title="Which gamma LGA needs",
    question=(
        "Which gamma suits a rate, is it the same on three tasks, and does a"
        " tuned one lower the test loss more than a tuned rate does?"
    ),
    data_sets=["digits", "mnist", "cifar10"],
    data="scikit-learn's digits, and fixed samples of MNIST (2,000 and 1,000"
    " images) and CIFAR-10 (1,200 and 600), cut to fit a quarter of an hour of"
    " two cores; a quarter of the training images held out for validation",
    load=load,
    part=part,
    models={
        "perceptron": MLP((64, 32)),
        "convolutions": SmallCNN(),
    },
    places=TASKS,
    grids={
        "sgd": (grids.alone("sgd"), None),
        "lga+sgd": (grids.with_lga("sgd", GAMMAS), "sgd"),
        "adam": (grids.alone("adam"), None),
        "lga+adam": (grids.with_lga("adam", GAMMAS), "adam"),
    },
    beside={},
    drawn={
        plain: grids.lines(plain, {"gamma": grids.with_lga(plain, GAMMAS)})
        for plain in grids.FACTORS
    },
    make=grids.make,
    primary=Primary(grids.tuned("digits"), grids.tuned("lga+sgd"), "test_loss"),
    presets={
        "smoke": Preset(
            {**grids.COMMON, "epochs": 2, "limits": {"digits": [160, 50]}},
            seeds=2,
            variants=[grids.at_rate("digits", rate) for rate in (0.1, 0.3)],
            methods=["sgd", "lga-0.0001+sgd"],
        ),
        "small": Preset(
            {
                **grids.COMMON,
                "first_seed": 3000,
                "epochs": 8,
                "limits": {
                    "digits": [None, None],
                    "mnist": [2000, 1000],
                    "cifar10": [1200, 600],
                },
            },
            seeds=3,
        ),
        "paper": Preset(
            {
                **grids.COMMON,
                "first_seed": 3000,
                "epochs": 30,
                "limits": {
                    name: [None, None]
                    for name in ("digits", "mnist", "cifar10")
                },
            },
            seeds=10,
            accelerator=True,
        ),
    },
)
