"""AGR under heavy tails, beside a better rate and other ways to clip."""

from benchmarks import data
from benchmarks.contenders import agr
from benchmarks.models import SmallCNN
from benchmarks.studies._images import image_study
from benchmarks.studies._tasks import best_of_each, tuned
from benchmarks.studies.agr_heavy_tails import COMMON, make
from benchmarks.study import Job, Preset, Primary
from benchmarks.training.classification import METRICS

# Seeds that no other page has.
FIRST_SEED = 200
RATES = (1e-3, 3e-3, 1e-2)
DEGREES = (1.0, 1.5)
NAMES = [
    f"{front}{plain}"
    for plain in ("adamw", "adan")
    for front in ("", "agr+", "clip+", "clip-entries+")
]
METHODS = {name: (agr.METHODS | agr.ENTRY_CLIPPED)[name] for name in NAMES}
BY_KEY = {metric.key: metric for metric in METRICS}


def name_of(degrees: float, rate: float) -> str:
    return f"{degrees:g} degrees, lr {rate:g}"


def part(job: Job) -> data.Validated[data.Examples]:
    return data.with_validation(job.data, job.settings["validation"])


STUDY = image_study(
    tables="none; AGR",
    title="AGR, clipping or a better rate under heavy tails, on 8x8 digits",
    question=(
        "Where Student's t noise makes a few entries large, does AGR lower the"
        " test loss at the rate that suits each method, and does it do more"
        " than clipping, of the whole gradient or entry by entry?"
    ),
    data_sets=["digits"],
    data="scikit-learn's digits: of the 1,437 to train on 287 are held out for"
    " validation, which chooses the rates; 360 to test on",
    load=lambda settings, data_dir: data.digits(data_dir),
    part=part,
    model=SmallCNN(),
    methods=METHODS,
    make=make,
    metrics=[
        BY_KEY["test_loss"],
        BY_KEY["test_accuracy"],
        BY_KEY["train_loss"],
    ],
    variants={
        name_of(degrees, rate): {"degrees": degrees, "learning_rate": rate}
        for degrees in DEGREES
        for rate in RATES
    },
    tuning=best_of_each(
        METHODS,
        {
            tuned(f"{degrees:g} degrees"): [
                name_of(degrees, rate) for rate in RATES
            ]
            for degrees in DEGREES
        },
        "rates",
    ),
    primary=Primary(tuned("1 degrees"), tuned("agr+adamw"), "test_loss"),
    presets={
        "smoke": Preset(
            {**COMMON, "validation": 287, "epochs": 1},
            seeds=2,
            variants=[name_of(1.0, RATES[0])],
            methods=["adamw", "clip-entries+adamw"],
        ),
        "small": Preset(
            {
                **COMMON,
                "validation": 287,
                "first_seed": FIRST_SEED,
                "epochs": 20,
            },
            seeds=10,
        ),
        "paper": Preset(
            {
                **COMMON,
                "validation": 287,
                "first_seed": FIRST_SEED,
                "epochs": 100,
            },
            seeds=20,
        ),
    },
)
