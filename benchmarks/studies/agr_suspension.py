"""Suspending AGR after a part of the training, as in Tables 7 and 8."""

import functools

import optax

from benchmarks import data
from benchmarks.contenders import agr
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.models import SmallCNN
from benchmarks.studies._images import image_study
from benchmarks.study import Job, Method, Paper, Preset

COMMON = {
    "batch_size": 32,
    "vmapped": True,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
}
SHARES = (25, 50, 75, 100)
PLAIN = ("adamw", "adan")


def name_of(share: int, optimizer: str) -> str:
    return f"agr {share} %+{optimizer}"


METHODS = {
    method: contender
    for optimizer in PLAIN
    for method, contender in [
        (optimizer, agr.METHODS[optimizer]),
        *[
            (
                name_of(share, optimizer),
                Method(
                    f"chain(agr(), {optimizer}), AGR off after {share} % of"
                    " the steps",
                    # A part is compared with all, and all with nothing.
                    optimizer if share == 100 else name_of(100, optimizer),
                    # The paper's tables agree on no share but on all of it.
                    claimed=share == 100,
                    arguments={**agr.AGR, "share": share},
                ),
            )
            for share in SHARES
        ],
    ]
}


# Cached, so that the schedule and with it the method is one object.
@functools.cache
def suspended_after(steps: int, strength: float) -> optax.Schedule:
    return optax.piecewise_constant_schedule(strength, {steps: 0.0})


def make(job: Job) -> MakeOptimizer:
    decay = job.settings["weight_decay"]
    if job.method in PLAIN:
        return agr.maker(job.method, decay)
    steps = len(job.data.train.labels) // job.settings["batch_size"]
    steps = steps * job.settings["epochs"] * job.arguments["share"] // 100
    _, optimizer = job.method.split("+")
    return agr.maker(
        f"agr+{optimizer}",
        decay,
        strength=suspended_after(steps, job.arguments["strength"]),
    )


STUDY = image_study(
    tables="AGR, Tables 7 and 8, on other networks and data",
    title="Suspending AGR, on 8x8 digits",
    question="Is AGR for a part of the training better than for all of it?",
    data_sets=["digits"],
    data="scikit-learn's digits, 1,437 to train on and 360 to test on",
    load=lambda settings, data_dir: data.digits(data_dir),
    model=SmallCNN(),
    methods=METHODS,
    make=make,
    variants={"": {}},
    paper=Paper(
        source="Tables 7 and 8, by the share of epochs that AGR ran",
        header=(
            "",
            "0 %",
            "33 or 20 %",
            "50 or 40 %",
            "67 or 60 %",
            "83 or 80 %",
            "100 %",
        ),
        rows=[
            (
                "TinyViT-11M on Tiny-ImageNet, AdamW, top-1 accuracy, %",
                "71.39",
                "71.57",
                "72.88",
                "72.92",
                "73.58",
                "73.02",
            ),
            (
                "DDPM on CIFAR-10, Adan, FID (lower is better)",
                "7.73",
                "7.64",
                "7.58",
                "7.02",
                "7.81",
                "7.44",
            ),
        ],
        remark="Table 7's shares are the first number, Table 8's the second."
        " The networks, the data and the budgets are others than here. Adan"
        " alone, 0 % in Table 8, has an FID of 7.73 there and of 7.98 in Table"
        " 2.",
    ),
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 2},
            seeds=2,
            methods=["adamw", "agr 50 %+adamw"],
        ),
        "small": Preset({**COMMON, "epochs": 20}, seeds=10),
        "paper": Preset({**COMMON, "epochs": 100}, seeds=20),
    },
)
