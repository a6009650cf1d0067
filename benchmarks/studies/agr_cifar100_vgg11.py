"""AGR on CIFAR-100 with VGG11, for an accelerator."""

from benchmarks import agr_methods, data
from benchmarks.classification import image_study
from benchmarks.models import VGG11
from benchmarks.study import Paper, Preset

COMMON = {"batch_size": 128, "learning_rate": 1e-3, "weight_decay": 1e-2}
NAMES = ("adamw", "agr+adamw", "adamw_agr", "clip+adamw")

STUDY = image_study(
    title="AGR on CIFAR-100 with VGG11",
    question="Does AGR raise the accuracy of VGG11, as the paper says?",
    data_sets=["cifar100"],
    data="CIFAR-100; smoke and small take a fixed sample, stratified by class",
    load=lambda settings, data_dir: data.cifar100(
        data_dir,
        limit_train=settings["limit_train"],
        limit_test=settings["limit_test"],
    ),
    model=VGG11(num_classes=100),
    methods={name: agr_methods.METHODS[name] for name in NAMES},
    variants={"": {}},
    paper=Paper(
        source="Table 5, top-1 accuracy in % after so many epochs",
        header=("", "50", "150", "200"),
        rows=[
            ("AdamW", "61.95", "65.09", "65.40"),
            ("AdamW(AGR)", "61.45", "65.48", "65.73"),
        ],
        remark="The caption says Tiny-ImageNet, but these networks and 200"
        " epochs are what the text has for CIFAR-100. The paper has a LambdaLR"
        " schedule; here the rate is constant.",
    ),
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
