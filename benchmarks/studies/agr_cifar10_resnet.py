"""AGR on CIFAR-10 with a small residual network."""

from benchmarks import data
from benchmarks.models import SmallResNet
from benchmarks.studies._images import image_study
from benchmarks.study import Preset

COMMON = {"batch_size": 64, "learning_rate": 1e-3, "weight_decay": 1e-2}

STUDY = image_study(
    tables="none; AGR",
    title="AGR on CIFAR-10 with a small ResNet",
    question="Does AGR change what a small residual network learns?",
    data_sets=["cifar10"],
    data="CIFAR-10; small and smoke take a fixed sample, stratified by class",
    load=lambda settings, data_dir: data.cifar10(
        data_dir,
        limit_train=settings["limit_train"],
        limit_test=settings["limit_test"],
    ),
    model=SmallResNet(),
    variants={"": {}},
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1, "limit_train": 64, "limit_test": 50},
            seeds=2,
            methods=["agr+adamw"],
        ),
        "small": Preset(
            {**COMMON, "epochs": 6, "limit_train": 2500, "limit_test": 2000},
            seeds=5,
        ),
        "paper": Preset(
            {**COMMON, "epochs": 100, "limit_train": None, "limit_test": None},
            seeds=5,
        ),
    },
)
