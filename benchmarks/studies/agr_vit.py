"""AGR in a small ConvNeXt and a small TinyViT, on CIFAR-10."""

from benchmarks.contenders import agr
from benchmarks.models import SmallConvNeXt, SmallTinyViT
from benchmarks.studies._lga import validated
from benchmarks.studies._tasks import beside, best_of_each, task_study, tuned
from benchmarks.study import Curve, Metric, Paper, Preset, Primary

NAMES = ("adamw", "adamw_agr", "agr+adamw", "clip+adamw")
METHODS = {name: agr.METHODS[name] for name in NAMES}
MODELS = {"ConvNeXt": SmallConvNeXt(), "TinyViT": SmallTinyViT()}
RATES = (1e-3, 3e-3)
VARIANTS = {
    f"{model}, lr {rate:g}": {"model": model, "learning_rate": rate}
    for model in MODELS
    for rate in RATES
}
COMMON = {"batch_size": 64, "weight_decay": 5e-2, "validation": 0.1}

STUDY = task_study(
    title="AGR in a small ConvNeXt and a small TinyViT, on CIFAR-10",
    question=(
        "Does AGR raise the accuracy of a small ConvNeXt or of a small network"
        " after TinyViT, as the paper's Tables 3 and 4 have it of larger ones,"
        " and does it do more than a global clip or a better rate?"
    ),
    tables="AGR, Tables 3 and 4, on other data",
    data_sets=["cifar10"],
    data="CIFAR-10, as Tiny-ImageNet could not be had; a tenth of the training"
    " images is held out for validation. Small and smoke take a fixed sample,"
    " stratified by class",
    load=lambda settings, data_dir: validated("cifar10", settings, data_dir),
    models=MODELS,
    task=lambda settings: "classes",
    make=lambda job, examples: agr.usual_optimizer(job),
    metrics=[
        Metric("test_accuracy", "test accuracy, %", True, 100.0, 2),
        Metric("test_loss", "test loss", False, 1.0, 4),
        Metric("train_loss", "training loss", False, 1.0, 4),
    ],
    curves=[
        Curve("train_loss", "training loss", log=True),
        Curve("test_accuracy", "test accuracy"),
    ],
    methods=METHODS,
    variants=VARIANTS,
    tuning=best_of_each(
        METHODS,
        {
            tuned(model): [n for n in VARIANTS if n.startswith(model)]
            for model in MODELS
        },
        "rates",
    ),
    primary=Primary(tuned("TinyViT"), tuned("adamw_agr"), "test_accuracy"),
    presets={
        "smoke": Preset(
            {
                **COMMON,
                "batch_size": 16,
                "epochs": 1,
                "limits": {"cifar10": [40, 16]},
            },
            seeds=1,
            variants=["TinyViT, lr 0.001"],
            methods=["adamw_agr"],
        ),
        "small": Preset(
            {**COMMON, "epochs": 8, "limits": {"cifar10": [3000, 2000]}},
            seeds=3,
            methods=["adamw", "adamw_agr", "clip+adamw"],
        ),
        "paper": Preset(
            {
                **COMMON,
                "batch_size": 256,
                "epochs": 300,
                "limits": {"cifar10": [None, None]},
            },
            seeds=4,
            accelerator=True,
        ),
    },
    paper=Paper(
        source="Tables 3 and 4, top-1 accuracy on Tiny-ImageNet, %, after so"
        " many epochs",
        **beside(
            ("", "optimizer", "100", "200", "300"),
            "ConvNext_Tiny AdamW 64.78 67.47 68.47",
            "ConvNext_Tiny AdamW(AGR) **64.98** **67.71** **69.03**",
            "ConvNext_Tiny AdamW 65.92 67.81 70.02",
            "ConvNext_Tiny AdamW(AGR) **66.12** **68.90** **70.54**",
            "Swin_Tiny AdamW 64.79 69.85 72.01",
            "Swin_Tiny AdamW(AGR) **65.17** **70.16** **72.21**",
            "Swin_Small AdamW 65.43 70.49 72.12",
            "Swin_Small AdamW(AGR) **66.02** **70.69** **72.39**",
            "TinyViT-5M AdamW 61.80 68.14 69.50",
            "TinyViT-5M AdamW(AGR) **62.96** **68.75** **69.83**",
            "TinyViT-11M AdamW 63.91 70.25 71.39",
            "TinyViT-11M AdamW(AGR) **65.71** **72.45** **73.02**",
            "TinyViT-21M AdamW 65.06 71.38 72.50",
            "TinyViT-21M AdamW(AGR) **66.13** **71.94** **72.96**",
        ),
        remark="Two columns of Table 3 are headed ConvNext Tiny; the second may"
        " be another size. The paper has Tiny-ImageNet, batches of 256, a"
        " LambdaLR schedule and the means of four runs; here it is CIFAR-10"
        " and a constant rate, in all presets, and networks of these kinds that"
        " a CPU trains. There is none of Swin.",
    ),
)
