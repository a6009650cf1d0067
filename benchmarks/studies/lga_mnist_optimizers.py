"""LGA on MNIST around seven optimizers, and in how many epochs."""

from benchmarks.contenders import lga
from benchmarks.models import TorchLeNet5
from benchmarks.studies import _lga
from benchmarks.studies._tasks import beside
from benchmarks.study import Curve, Metric, Paper, Preset, Primary

COMMON = {
    **_lga.COMMON,
    "batch_size": 64,
    "paper_steps": _lga.STEPS["mnist"],
}
TEST = Metric("test_accuracy", "test accuracy, %", True, 100.0, 2)
RATES = (1e-1, 1e-2, 1e-3, 1e-4)

STUDY = _lga.lga_study(
    title="LGA on MNIST around seven optimizers",
    question=(
        "Does LGA raise the accuracies of seven optimizers, and in fewer"
        " epochs, as the paper's Tables 1, 3, 6 and 7 have it of MNIST, and"
        " does it do more than a higher rate?"
    ),
    tables="LGA, Tables 1, 3, 6 and 7 of MNIST, and Table 2",
    data_sets=["mnist"],
    data="MNIST; a tenth of the training images held out for validation."
    + _lga.PART,
    load=lambda settings, data_dir: _lga.validated("mnist", settings, data_dir),
    models={"": TorchLeNet5()},
    task=lambda settings: "classes",
    metrics=[
        Metric("train_accuracy", "training accuracy, %", True, 100.0, 2),
        TEST,
        Metric("best_test_accuracy", "best test accuracy, %", True, 100.0, 2),
        Metric("test_loss", "test loss", False, 1.0, 4),
    ],
    curves=[
        Curve("train_accuracy", "training accuracy"),
        Curve("test_accuracy", "test accuracy"),
    ],
    best=["test_accuracy"],
    ratio=TEST,
    methods=lga.with_faster(*lga.OPTIMIZERS),
    variants={f"lr {rate:g}": {"learning_rate": rate} for rate in RATES},
    tuning=lga.tuning(
        tuple(lga.OPTIMIZERS),
        {f"lr {rate:g}, tuned": [f"lr {rate:g}"] for rate in RATES},
    ),
    primary=Primary("lr 0.001", "lga+sgd", "train_accuracy"),
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 2, "limits": {"mnist": [160, 50]}},
            seeds=2,
            variants=["lr 0.001"],
            methods=["sgd", "lga+sgd", "sgd-3x"],
        ),
        "small": Preset(
            {**COMMON, "epochs": 10, "limits": {"mnist": [2000, 1000]}},
            seeds=5,
            variants=["lr 0.001"],
        ),
        "paper": Preset(
            {**COMMON, "epochs": 20, "limits": {"mnist": [None, None]}},
            seeds=5,
            accelerator=True,
        ),
    },
    paper=Paper(
        source=f"{_lga.SOURCE}, MNIST in %: Table 1, training sets; Table 3,"
        " test sets and the ratio of epochs; Table 6, the best of the run on"
        " the test set; Table 7, its last. Table 2 is on the page lga-mnist",
        **beside(
            (
                *("Table", "Algorithm", "SGD", "Momentum", "ASGD"),
                *("RMSprop", "Adam", "Adamax", "Adadelta"),
            ),
            "1 w/o_LGA 94.95 98.98 95.70 99.59 99.55 99.63 88.59",
            "1 w/_LGA **95.95** **99.04** **96.01** **99.60** **99.57**"
            " **99.64** **91.18**",
            "3 w/o_LGA 95.47 98.78 96.02 98.91 99.01 99.03 89.62",
            "3 w/_LGA **95.53** **98.79** **96.10** **98.98** **99.02**"
            " **99.10** **89.96**",
            "3 Ratio 0.76 0.89 0.9 0.29 0.48 0.69 0.63",
            "6 w/o_LGA 95.47 98.78 96.02 98.95 99.01 99.07 89.62",
            "6 w/_LGA **96.28** **98.80** **96.25** **99.04** **99.03**"
            " **99.12** **91.93**",
            "7 w/o_LGA 95.47 98.78 96.02 **98.91** **99.01** 99.03 89.62",
            "7 w/_LGA **96.28** **98.80** **96.25** 98.84 98.99 99.03"
            " **91.93**",
        ),
        remark=_lga.REMARK
        + " The ratio of epochs is by first passage there, which a lucky epoch"
        " brings about; here it is shown smoothed, too, and of the controls."
        " Table 3's lines with LGA are of the epoch that first passed. CIFAR-10"
        " and CIFAR-100 with Densenet-40-12 and ResNet50 are not here.",
    ),
)
