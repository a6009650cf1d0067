"""AGR on the smallest real images, at three learning rates."""

from benchmarks import data
from benchmarks.models import SmallCNN
from benchmarks.studies._images import SMOKE, image_study
from benchmarks.study import Preset

COMMON = {"batch_size": 32, "vmapped": True, "weight_decay": 1e-4}

STUDY = image_study(
    tables="none; AGR",
    title="AGR on 8x8 digits",
    question="Does AGR change what a small convolutional network learns?",
    data_sets=["digits"],
    data="scikit-learn's digits, 1,437 to train on and 360 to test on",
    load=lambda settings, data_dir: data.digits(data_dir),
    model=SmallCNN(),
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1},
            seeds=2,
            variants=["lr 0.001"],
            methods=[*SMOKE, "adan_agr"],
        ),
        "small": Preset({**COMMON, "epochs": 20}, seeds=10),
        "paper": Preset({**COMMON, "epochs": 100}, seeds=20),
    },
)
