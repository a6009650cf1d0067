"""Which small gradients LGA should leave alone."""

from benchmarks import data
from benchmarks.contenders import lga
from benchmarks.study import Method, Preset, Study
from benchmarks.training import floor

COMMON = {"batch_size": 32, "looks": 8}
TASKS = {
    "before batch norm": {
        "model": "normalized",
        "learning_rate": 0.05,
        "gamma": 1e-5,
    },
    "before batch norm, in bfloat16": {
        "model": "normalized in bfloat16",
        "learning_rate": 0.05,
        "gamma": 1e-5,
    },
    "attention": {
        "model": "row attention",
        "learning_rate": 0.01,
        "gamma": 1e-6,
    },
    "vanishing gradients": {
        "model": "sigmoids",
        "learning_rate": 0.1,
        "gamma": 1e-5,
    },
}


def _methods() -> dict[str, Method]:
    methods = {
        "sgd": Method("SGD"),
        "lga+sgd": Method(
            "LGA around SGD, small gradients pushed as in Eq. 5",
            "sgd",
            arguments={"lga": {**lga.ONCE_AN_EPOCH, "gradient_floor": 0.0}},
        ),
    }
    for size in floor.FLOORS:
        arguments = {**lga.ONCE_AN_EPOCH, "gradient_floor": size}
        methods[f"lga-{size:.0e}+sgd"] = Method(
            f"the same with gradients below {size:.0e} left alone",
            "lga+sgd",
            arguments={"lga": arguments},
        )
    return methods


STUDY = Study(
    title="A floor for the gradients that LGA pushes",
    question=(
        "Below which size are gradients rounding errors, whose push is a random"
        " walk, and how high can a floor be without a loss of what LGA does"
        " where gradients vanish?"
    ),
    data_sets=["digits"],
    data=(
        "scikit-learn's digits, 1,437 to train on. Batches of 32, the first"
        " eight of the training set after each epoch, are looked at: the loss"
        " is their mean, and so are the shares of gradients below a floor,"
        " without those that are exactly 0. The drift is that of biases on"
        " which the loss does not depend: before a batch normalization, and"
        " those of attention's keys; the last task has none, which is shown as"
        " 0"
    ),
    model="; ".join(
        f"{name}: {each}" for name, each in floor.DESCRIBED.items()
    ),
    metrics=floor.METRICS,
    curves=floor.CURVES,
    methods=_methods(),
    variants=TASKS,
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1},
            seeds=2,
            variants=["before batch norm, in bfloat16", "attention"],
            methods=["lga+sgd", "lga-1e-06+sgd"],
        ),
        "small": Preset({**COMMON, "epochs": 20}, seeds=5),
        "paper": Preset({**COMMON, "epochs": 100}, seeds=20),
    },
    load=lambda settings, data_dir: data.digits(data_dir).train,
    run=floor.run,
    tables="none; LGA",
)
