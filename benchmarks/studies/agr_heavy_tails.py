"""AGR where gradients have heavy tails."""

import functools

from benchmarks import data
from benchmarks.contenders import agr
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.models import SmallCNN
from benchmarks.studies._images import OTHER_SEEDS, SMOKE, image_study
from benchmarks.study import Job, Preset
from benchmarks.training.noise import student_t_noise

COMMON = {
    "batch_size": 32,
    "vmapped": True,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "noise_scale": 1.0,
}
DEGREES = (1.0, 1.5, 3.0)


def make(job: Job) -> MakeOptimizer:
    settings = job.settings
    return agr.maker(
        job.method,
        settings["weight_decay"],
        first=noise(settings["noise_scale"], settings["degrees"]),
        **job.arguments,
    )


# Cached, so that the method is one object and is compiled once.
@functools.cache
def noise(scale: float, degrees: float):
    return functools.partial(student_t_noise, scale, degrees)


STUDY = image_study(
    tables="none; AGR",
    title="AGR under heavy-tailed gradient noise, on 8x8 digits",
    question=(
        "Does damping the largest entries help where Student's t noise, of the"
        " size of the gradient, makes them? Accuracy was to answer it; that the"
        " losses differ was seen in the runs with the first seeds before the"
        " losses were tested, so the heaviest tails have other seeds, too."
    ),
    data_sets=["digits"],
    data="scikit-learn's digits, 1,437 to train on and 360 to test on",
    load=lambda settings, data_dir: data.digits(data_dir),
    model=SmallCNN(),
    make=make,
    variants={
        f"{degrees:g} degrees": {"degrees": degrees} for degrees in DEGREES
    }
    | {"1 degrees, other seeds": {"degrees": 1.0, **OTHER_SEEDS}},
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1},
            seeds=2,
            variants=["1 degrees"],
            methods=SMOKE,
        ),
        "small": Preset({**COMMON, "epochs": 20}, seeds=10),
        "paper": Preset({**COMMON, "epochs": 100}, seeds=20),
    },
)
