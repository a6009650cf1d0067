"""The demo: ten optimizers side by side on handwritten digits."""

from typing import Any

import optax

from benchmarks import data
from benchmarks.contenders import agr, gal, lga
from benchmarks.contenders.makers import MakeOptimizer, by_content
from benchmarks.models import SmallCNN
from benchmarks.studies._images import image_study
from benchmarks.study import Job, Method, Preset
import optaxmods

LEARNING_RATE = 1e-3
# LGA's paper takes 1e-8 for ten classes and 18,740 steps; small has 880, in
# which so small a push adds up to nothing.
GAMMA = 2e-7
# Before SGD at this learning rate it would be the same push.
CHAINED_GAMMA = GAMMA / LEARNING_RATE
# GAL's network is the paper's for ten classes.
GAL = {"hidden_sizes": (100, 32, 16), "magnitude": 0.01, "tentative_step": 1.0}
COMMON = {
    "batch_size": 32,
    "vmapped": True,
    "learning_rate": LEARNING_RATE,
    "weight_decay": 1e-4,
}
AGR = (
    *("adamw", "agr+adamw", "adamw_agr"),
    *("adan", "adan_agr", "adan_agr-printed"),
)
METHODS = {name: agr.METHODS[name] for name in AGR} | {
    "lga+adamw": Method(
        f"chain(lga({CHAINED_GAMMA:g}), adamw): LGA in both moments",
        "adamw",
        arguments={"gamma": CHAINED_GAMMA},
    ),
    "gal+adamw": Method(
        "chain(gal(adjuster, 10), adamw): GAL on the logits, its network on"
        " Adam",
        "adamw",
        arguments={**gal.FORMS["gal"].arguments, **GAL},
    ),
    "sgd": Method("SGD, for which this learning rate is a small one"),
    "lga+sgd": Method(
        f"with_lga(sgd, {GAMMA:g}): gamma is the paper's 1e-8 times 20, for a"
        " run of about a 20th of its steps",
        "sgd",
        claimed=True,
        arguments={**lga.METHODS["lga+sgd"].arguments, "gamma": GAMMA},
    ),
}


def make(job: Job) -> MakeOptimizer:
    settings, arguments = job.settings, job.arguments
    if job.method in AGR:
        return agr.usual_optimizer(job)
    if job.method == "sgd":
        return optax.sgd
    decay = settings["weight_decay"]
    if job.method == "gal+adamw":
        return gal.maker(job.method, 10, weight_decay=decay, **arguments)
    steps = len(job.data.train.labels) // settings["batch_size"]
    if job.method == "lga+sgd":
        return lga.maker(job.method, steps_per_epoch=steps, **arguments)
    return _chained(decay, steps, **arguments)


@by_content
def _chained(
    weight_decay: float, steps_per_epoch: int, gamma: float
) -> MakeOptimizer:
    def make(rate: Any) -> optax.GradientTransformation:
        return optax.chain(
            optaxmods.lga(
                gamma, status_every=steps_per_epoch, gradient_floor=0.0
            ),
            optax.adamw(rate, weight_decay=weight_decay),
        )

    return make


STUDY = image_study(
    tables="none; all three",
    title="Optimizers side by side on 8x8 digits",
    question=(
        "How do the methods run? Runs this few and this small do not show that"
        " one is better than another; no rate is tuned. That lga+sgd is"
        " 'reproduced' means its direction alone: network, data and gamma are"
        " not the paper's, and SGD's rate is a small one."
    ),
    data_sets=["digits"],
    data="scikit-learn's digits, 1,437 to train on and 360 to test on",
    load=lambda settings, data_dir: data.digits(data_dir),
    model=SmallCNN(),
    methods=METHODS,
    make=make,
    variants={"": {}},
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1},
            seeds=2,
            methods=["adamw", "gal+adamw", "sgd", "lga+sgd"],
        ),
        "small": Preset({**COMMON, "epochs": 20}, seeds=5),
        "paper": Preset({**COMMON, "epochs": 20}, seeds=20),
    },
)
