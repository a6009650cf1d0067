"""AGR where labels are wrong, which may make for large gradients."""

import pathlib

from benchmarks import data
from benchmarks.models import SmallCNN
from benchmarks.studies._images import SMOKE, image_study
from benchmarks.study import Preset, Settings
from benchmarks.training.classification import CURVES, METRICS
from benchmarks.training.noise import labelled_wrongly, mislabel

COMMON = {
    "batch_size": 32,
    "vmapped": True,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
}
SHARES = (0.2, 0.4, 0.6)


def load(
    settings: Settings, data_dir: pathlib.Path | None
) -> dict[str, data.Split[data.Examples]]:
    clean = data.digits(data_dir)
    return {
        f"{share:g}": clean._replace(train=mislabel(clean.train, share, 10))
        for share in SHARES
    }


STUDY = image_study(
    tables="none; AGR",
    title="AGR under label noise, on 8x8 digits",
    question=(
        "Does damping the largest entries help where wrong labels make them?"
    ),
    data_sets=["digits"],
    data="scikit-learn's digits, a share of the 1,437 training labels wrong",
    load=load,
    part=lambda job: job.data[f"{job.settings['wrong_labels']:g}"],
    model=SmallCNN(),
    metrics=labelled_wrongly(METRICS),
    curves=labelled_wrongly(CURVES),
    variants={
        f"{share:.0%} wrong": {"wrong_labels": share} for share in SHARES
    },
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1},
            seeds=2,
            variants=["40% wrong"],
            methods=SMOKE,
        ),
        "small": Preset({**COMMON, "epochs": 20}, seeds=10),
        "paper": Preset({**COMMON, "epochs": 100}, seeds=20),
    },
)
