"""AGR on CIFAR-10 with ResNet-18, for an accelerator."""

from benchmarks import agr_methods, data
from benchmarks.classification import image_study
from benchmarks.models import ResNet18
from benchmarks.study import Preset

COMMON = {"batch_size": 128, "learning_rate": 1e-3, "weight_decay": 1e-2}
NAMES = ("adamw", "agr+adamw", "adamw_agr", "clip+adamw")

STUDY = image_study(
    title="AGR on CIFAR-10 with ResNet-18",
    question="Does AGR raise the accuracy of ResNet-18 on CIFAR-10?",
    data_sets=["cifar10"],
    data="CIFAR-10; smoke and small take a fixed sample, stratified by class",
    load=lambda settings, data_dir: data.cifar10(
        data_dir,
        limit_train=settings["limit_train"],
        limit_test=settings["limit_test"],
    ),
    model=ResNet18(num_classes=10),
    methods={name: agr_methods.METHODS[name] for name in NAMES},
    variants={"": {}},
    presets={
        "smoke": Preset(
            {
                **COMMON,
                "batch_size": 16,
                "epochs": 1,
                "limit_train": 32,
                "limit_test": 16,
            },
            seeds=1,
            methods=["agr+adamw"],
        ),
        "small": Preset(
            {**COMMON, "epochs": 10, "limit_train": 5000, "limit_test": 2000},
            seeds=3,
            accelerator=True,
        ),
        "paper": Preset(
            {
                **COMMON,
                "epochs": 200,
                "limit_train": None,
                "limit_test": None,
                "seeds_at_once": 1,
            },
            seeds=4,
            accelerator=True,
        ),
    },
)
