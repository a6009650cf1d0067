"""AGR on MNIST and CIFAR: what the studies of several networks share."""

from collections.abc import Callable, Sequence
import functools
import pathlib

import flax.linen as nn

from benchmarks import data
from benchmarks.contenders import agr
from benchmarks.data import Examples, Split, Validated
from benchmarks.studies._images import SMOKE, image_study
from benchmarks.studies._tasks import best_of_each, held_out, tuned
from benchmarks.study import Paper, Preset, Primary, Settings, Study

# Fewer than on MNIST, for each is 200 epochs of a large network.
CIFAR_METHODS = {
    name: agr.METHODS[name]
    for name in ("adamw", "agr+adamw", "adamw_agr", "clip+adamw")
}
RATES = (1e-3, 3e-3)
CIFAR = {"batch_size": 128, "weight_decay": 1e-2, "validation": 0.1}
CIFAR_VARIANTS = {f"lr {rate:g}": {"learning_rate": rate} for rate in RATES}


def mnist_study(network: str, model: nn.Module) -> Study:
    """Returns the study of a small network, at three learning rates."""
    common = {"batch_size": 64, "weight_decay": 1e-4}
    return image_study(
        title=f"AGR on MNIST with {network}",
        question=f"Does AGR change what {network} learns?",
        data_sets=["mnist"],
        data="MNIST; small and smoke take a fixed sample, stratified by class",
        load=functools.partial(_load, "mnist"),
        model=model,
        tables="none; AGR",
        presets={
            "smoke": Preset(
                {**common, "epochs": 1, **limits(200, 100)},
                seeds=2,
                variants=["lr 0.001"],
                methods=SMOKE,
            ),
            "small": Preset(
                {**common, "epochs": 5, **limits(10000, 5000)}, seeds=5
            ),
            "paper": Preset(
                {**common, "epochs": 20, **limits(None, None)}, seeds=10
            ),
        },
    )


def cifar_study(
    network: str,
    make_model: Callable[..., nn.Module],
    classes: int,
    paper: Paper | None = None,
    device: Preset | None = None,
) -> Study:
    """Returns the study of a network that needs an accelerator.

    Args:
        network: What it is called.
        make_model: Called as ``make_model(num_classes=...)``.
        classes: 10 or 100.
        paper: The paper's numbers.
        device: Ten minutes on one.
    """
    name = f"CIFAR-{classes}"
    return image_study(
        title=f"AGR on {name} with {network}",
        question=f"Does AGR raise the accuracy of {network} on {name}?",
        data_sets=[f"cifar{classes}"],
        data=f"{name}; a tenth of the training images is held out for"
        " validation. Smoke and small take a fixed sample, stratified by class",
        load=functools.partial(_load_validated, f"cifar{classes}"),
        model=make_model(num_classes=classes),
        methods=CIFAR_METHODS,
        variants=CIFAR_VARIANTS,
        tuning=best_of_each(
            CIFAR_METHODS, {"tuned": list(CIFAR_VARIANTS)}, "rates"
        ),
        primary=Primary("tuned", tuned("adamw_agr"), "test_accuracy"),
        paper=paper,
        tables="AGR, Table 5, a part of it" if paper else "none; AGR",
        presets={
            "smoke": Preset(
                {**CIFAR, "batch_size": 16, "epochs": 1, **limits(32, 16)},
                seeds=1,
                variants=["lr 0.001"],
                methods=["agr+adamw"],
            ),
            "small": Preset(
                {**CIFAR, "epochs": 10, **limits(5000, 2000)},
                seeds=3,
                accelerator=True,  # Hours on a CPU.
            ),
            "paper": Preset(
                {
                    **CIFAR,
                    "epochs": 200,
                    **limits(None, None),
                    "seeds_at_once": 1,
                },
                seeds=4,
                accelerator=True,
            ),
        }
        | ({"device": device} if device else {}),
    )


def table_5(adamw: Sequence[str], adamw_agr: Sequence[str]) -> Paper:
    """Returns two lines of the paper's table on CIFAR-100."""
    return Paper(
        source="Table 5, top-1 accuracy in % after so many epochs",
        header=("", "50", "150", "200"),
        rows=[("AdamW", *adamw), ("AdamW(AGR)", *adamw_agr)],
        remark="The caption says Tiny-ImageNet, but these networks and 200"
        " epochs are what the text has for CIFAR-100. The paper has a LambdaLR"
        " schedule; here the rate is constant.",
    )


def limits(train: int | None, test: int | None) -> Settings:
    return {"limit_train": train, "limit_test": test}


def _load(
    data_set: str, settings: Settings, data_dir: pathlib.Path | None
) -> Split[Examples]:
    return data.SETS[data_set].load(
        data_dir,
        limit_train=settings["limit_train"],
        limit_test=settings["limit_test"],
    )


def _load_validated(
    data_set: str, settings: Settings, data_dir: pathlib.Path | None
) -> Validated[Examples]:
    split = _load(data_set, settings, data_dir)
    return held_out(split, settings["validation"])
