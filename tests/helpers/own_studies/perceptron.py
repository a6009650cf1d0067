"""A study that a test trains in earnest, in seconds."""

from benchmarks import data
from benchmarks.contenders import agr
from benchmarks.models import MLP
from benchmarks.studies._images import image_study
from benchmarks.study import Preset

SETTINGS = {
    "epochs": 2,
    "batch_size": 32,
    # Then a seed has other last bits alone than among others.
    "vmapped": True,
    "learning_rate": 1e-2,
    "weight_decay": 1e-4,
}

STUDY = image_study(
    tables="none",
    title="A perceptron on 8x8 digits",
    question="Does a run that was killed resume to the same?",
    data_sets=["digits"],
    data="scikit-learn's digits",
    load=lambda settings, data_dir: data.digits(data_dir),
    model=MLP(sizes=(16,), num_classes=10),
    methods={name: agr.METHODS[name] for name in ("adamw", "adamw_agr")},
    variants={"": {}},
    presets={"small": Preset(SETTINGS, seeds=3)},
)
