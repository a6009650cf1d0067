"""The demo: five optimizers side by side on handwritten digits."""

from benchmarks import agr_methods, data
from benchmarks.classification import image_study
from benchmarks.models import SmallCNN
from benchmarks.study import Preset

COMMON = {
    "batch_size": 32,
    "vmapped": True,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
}
NAMES = ("adamw", "agr+adamw", "adamw_agr", "adan", "adan_agr")

STUDY = image_study(
    title="Optimizers side by side on 8x8 digits",
    question=(
        "How do the methods run? Runs this few and this small do not show that"
        " one is better than another; no rate is tuned."
    ),
    data_sets=["digits"],
    data="scikit-learn's digits, 1,437 to train on and 360 to test on",
    load=lambda settings, data_dir: data.digits(data_dir),
    model=SmallCNN(),
    methods={name: agr_methods.METHODS[name] for name in NAMES},
    variants={"": {}},
    presets={
        "smoke": Preset({**COMMON, "epochs": 1}, seeds=2),
        "small": Preset({**COMMON, "epochs": 20}, seeds=5),
        "paper": Preset({**COMMON, "epochs": 20}, seeds=20),
    },
)
