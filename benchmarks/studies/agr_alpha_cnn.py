"""How large AGR's coefficients are in a small convolutional network."""

from benchmarks import data
from benchmarks.models import SmallCNN
from benchmarks.studies._agr_alpha import alpha_study
from benchmarks.study import Preset

COMMON = {
    "batch_size": 32,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "looks": 8,
}

STUDY = alpha_study(
    tables="none; AGR",
    title="The coefficients of AGR in a small convolutional network",
    question="How strongly does AGR damp real gradients, layer by layer?",
    data_sets=["digits"],
    data="scikit-learn's digits, 1,437 to train on",
    load=lambda settings, data_dir: data.digits(data_dir).train,
    model=SmallCNN(),
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1}, seeds=2, methods=["agr+adamw"]
        ),
        "small": Preset({**COMMON, "epochs": 20}, seeds=5),
        "paper": Preset({**COMMON, "epochs": 100}, seeds=20),
    },
)
