"""GAL where labels are wrong, on the smallest real images."""

import pathlib

from benchmarks import data
from benchmarks.contenders import gal
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.models import MLP
from benchmarks.studies._gal import HIDDEN_SIZES
from benchmarks.studies._images import OTHER_SEEDS, image_study
from benchmarks.study import Job, Paper, Preset, Settings
from benchmarks.training.classification import CURVES, METRICS
from benchmarks.training.noise import labelled_wrongly, mislabel

COMMON = {
    "batch_size": 32,
    "vmapped": True,
    "learning_rate": 1e-3,
    "wrong_labels": 0.1,
    "magnitude": 0.01,
    "tentative_step": 1.0,
}
BY_KEY = {metric.key: metric for metric in labelled_wrongly(METRICS)}


def load(
    settings: Settings, data_dir: pathlib.Path | None
) -> data.Split[data.Examples]:
    clean = data.digits(data_dir)
    wrong = mislabel(clean.train, settings["wrong_labels"], 10)
    return clean._replace(train=wrong)


def make(job: Job) -> MakeOptimizer:
    return gal.maker(
        job.method,
        10,
        job.settings["magnitude"],
        job.settings["tentative_step"],
        **job.arguments,
    )


STUDY = image_study(
    tables="GAL, Table VI, its rows with the norm, on other data",
    title="GAL under label noise, on 8x8 digits",
    question=(
        "Does adjusting the logits' gradients lower the test loss where a tenth"
        " of the labels is wrong, and does learning the adjustment matter?"
    ),
    data_sets=["digits"],
    data="scikit-learn's digits, 10 % of the 1,437 training labels wrong",
    load=load,
    model=MLP(),
    # The paper claims nothing of wrong labels.
    methods={
        name: method._replace(claimed=False)
        for plain in ("adam", "sgd")
        for name, method in gal.methods(
            *gal.FORMS, plain=plain, hidden_sizes=HIDDEN_SIZES
        ).items()
    },
    make=make,
    variants={
        **{f"{epochs} epochs": {"epochs": epochs} for epochs in (20, 100)},
        "20 epochs, other seeds": {"epochs": 20, **OTHER_SEEDS},
    },
    metrics=[
        # The effects are of a hundredth, and smaller.
        BY_KEY["test_loss"]._replace(label="test cross-entropy", digits=5),
        BY_KEY["test_accuracy"],
        BY_KEY["train_loss"],
    ],
    curves=labelled_wrongly(CURVES),
    paper=Paper(
        source=(
            "Table VI, error of EfficientNet with SGD on CIFAR-100; that of the"
            " standard learning process is 11.81%, that of GAL 11.37%"
        ),
        header=("v", "v~", "error (%)"),
        rows=[
            ("U(-1, 1)", "alpha |dl/dz| v / |v| (Eq. (4))", "11.62"),
            ("U(-1, 1)", "alpha v / |v|", "97.20"),
            ("N(0, 1)", "alpha |dl/dz| v / |v| (Eq. (4))", "11.65"),
            ("N(0, 1)", "alpha v / |v|", "98.36"),
        ],
        remark=(
            "The paper has neither these data nor wrong labels. What it shares"
            " with this study is the question whether GAL does more than noise"
            " of its size; `gal-noise` is its N(0, 1) with Eq. 4. Adam with"
            " 20 epochs was run first; 100 epochs and then SGD were added when"
            " the results before them were known, and the other seeds when"
            " SGD's were. The runs of a pair, equal but for GAL, part less with"
            " SGD, so that smaller effects show."
        ),
    ),
    presets={
        "smoke": Preset(
            COMMON,
            seeds=2,
            variants=["20 epochs"],
            methods=["adam", "gal+adam"],
        ),
        "small": Preset(COMMON, seeds=20),
        "paper": Preset(COMMON, seeds=60),
    },
)
