"""GAL under wrong labels, beside a frozen network, noise and smoothing."""

import functools
import pathlib

from benchmarks import data
from benchmarks.contenders import gal
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Validated
from benchmarks.models import MLP
from benchmarks.reporting import adjustments
from benchmarks.studies import _gal
from benchmarks.studies._images import adjusted, image_study
from benchmarks.studies.gal_digits import BY_KEY
from benchmarks.studies.gal_digits import COMMON as OF_DIGITS
from benchmarks.study import (
    Contender,
    Job,
    Method,
    Preset,
    Primary,
    Settings,
    Tuning,
)
from benchmarks.training import loop
from benchmarks.training.classification import CURVES
from benchmarks.training.noise import labelled_wrongly, mislabel

# Seeds that no other page has.
COMMON = {**OF_DIGITS, "validation": 287, "first_seed": 300}
# That of gal-digits, and a larger one; as many strengths as smoothing has.
MAGNITUDES = (0.01, 0.05)
SMOOTHINGS = (0.05, 0.1)
FORMS = ("gal", "gal-frozen", "gal-noise")
RATES = (3e-4, 1e-3, 3e-3)
SMOOTHED = "smoothed+sgd"


def _methods() -> tuple[dict[str, Method], dict[str, list[str]]]:
    """Returns all methods, and those of each contender."""
    methods = gal.methods(plain="sgd")
    families = {"sgd": ["sgd"]}
    for form in FORMS:
        for magnitude in MAGNITUDES:
            found = gal.methods(
                form,
                plain="sgd",
                hidden_sizes=_gal.HIDDEN_SIZES,
                magnitude=magnitude,
            )[f"{form}+sgd"]
            name = f"{form}-{magnitude:g}+sgd"
            families.setdefault(f"{form}+sgd", []).append(name)
            methods[name] = found._replace(
                description=f"{found.description}; alpha {magnitude:g}",
                claimed=False,
            )
    for share in SMOOTHINGS:
        name = f"smoothed-{share:g}+sgd"
        families.setdefault(SMOOTHED, []).append(name)
        methods[name] = Method(
            f"SGD with a share of {share:g} of each label on all classes, a"
            " control",
            "sgd",
            arguments={**gal.SGD, "label_smoothing": share},
        )
    return methods, families


METHODS, FAMILIES = _methods()
VARIANTS = {f"lr {rate:g}": {"learning_rate": rate} for rate in RATES}
BESIDE = (*FORMS[1:], SMOOTHED.split("+")[0])


def beside(control: str) -> str:
    return f"gal+sgd, tuned, beside {control}+sgd"


def _contenders() -> dict[str, Contender]:
    words = "at the best of its rates and strengths"
    known = {
        _gal.tuned(name): Contender(
            f"`{name}` {words}",
            names,
            None if name == "sgd" else _gal.tuned("sgd"),
        )
        for name, names in FAMILIES.items()
    }
    for control in BESIDE:
        known[beside(control)] = Contender(
            f"`gal+sgd` {words}",
            FAMILIES["gal+sgd"],
            _gal.tuned(f"{control}+sgd"),
        )
    return known


def load(
    settings: Settings, data_dir: pathlib.Path | None
) -> Validated[Examples]:
    """Labels for validation are as wrong as those to train on."""
    parts = data.with_validation(data.digits(data_dir), settings["validation"])
    wrong = functools.partial(
        mislabel, share=settings["wrong_labels"], num_classes=10
    )
    return parts._replace(
        train=wrong(parts.train), valid=wrong(parts.valid, seed=1)
    )


def make(job: Job) -> MakeOptimizer:
    arguments = {"magnitude": 0.0, **job.arguments}
    arguments.pop("label_smoothing", None)
    step = job.settings["tentative_step"]
    return gal.maker(job.method, 10, tentative_step=step, **arguments)


def objective(job: Job) -> loop.Objective:
    share = job.arguments.get("label_smoothing")
    return loop.smoothed(share) if share else loop.CLASSIFICATION


STUDY = image_study(
    title="GAL, noise or label smoothing under wrong labels, on 8x8 digits",
    question=(
        "Where a tenth of the labels is wrong, does GAL lower the test loss of"
        " SGD at the rates and strengths that suit each method, and does it do"
        " more than a network that never learns, noise, or label smoothing?"
    ),
    tables="none; GAL",
    data_sets=["digits"],
    data="scikit-learn's digits: of the 1,437 to train on 287 are held out for"
    " validation, which chooses rates and strengths; 10 % of the labels of"
    " both are wrong, none of the 360 to test on",
    load=load,
    model=MLP(),
    methods=METHODS,
    make=make,
    objective=objective,
    train=adjusted,
    metrics=[
        BY_KEY["test_loss"]._replace(label="test cross-entropy", digits=5),
        BY_KEY["test_accuracy"],
        BY_KEY["train_loss"],
    ],
    curves=labelled_wrongly(CURVES),
    variants=VARIANTS,
    tuning=Tuning("valid_loss", _contenders(), {"tuned": list(VARIANTS)}),
    primary=Primary("tuned", _gal.tuned("gal+sgd"), "test_loss"),
    sections=adjustments.section,
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1},
            seeds=2,
            variants=["lr 0.001"],
            methods=["smoothed-0.1+sgd"],
        ),
        "small": Preset({**COMMON, "epochs": 20}, seeds=60),
        "paper": Preset({**COMMON, "epochs": 100}, seeds=60),
    },
)
