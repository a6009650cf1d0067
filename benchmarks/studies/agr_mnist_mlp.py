"""AGR on MNIST with a multilayer perceptron, at three learning rates."""

from benchmarks import data
from benchmarks.classification import SMOKE, image_study
from benchmarks.models import MLP
from benchmarks.study import Preset

COMMON = {"batch_size": 64, "weight_decay": 1e-4}

STUDY = image_study(
    title="AGR on MNIST with a multilayer perceptron",
    question="Does AGR change what a multilayer perceptron learns?",
    data_sets=["mnist"],
    data="MNIST; small and smoke take a fixed sample, stratified by class",
    load=lambda settings, data_dir: data.mnist(
        data_dir,
        limit_train=settings["limit_train"],
        limit_test=settings["limit_test"],
    ),
    model=MLP(),
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1, "limit_train": 200, "limit_test": 100},
            seeds=2,
            variants=["lr 0.001"],
            methods=SMOKE,
        ),
        "small": Preset(
            {**COMMON, "epochs": 5, "limit_train": 10000, "limit_test": 5000},
            seeds=5,
        ),
        "paper": Preset(
            {**COMMON, "epochs": 20, "limit_train": None, "limit_test": None},
            seeds=10,
        ),
    },
)
