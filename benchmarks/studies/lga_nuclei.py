"""LGA on the segmentation of nuclei."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import data
from benchmarks.contenders import lga
from benchmarks.data import Examples, Nuclei, Validated
from benchmarks.models import UNet
from benchmarks.studies import _lga
from benchmarks.studies._tasks import beside
from benchmarks.study import Curve, Metric, Paper, Preset, Primary, Settings

COMMON = {
    **_lga.COMMON,
    "batch_size": 8,
    "validation": 0.2,
    # The paper tells neither its batches nor its gamma here: those of MNIST.
    "paper_steps": _lga.STEPS["mnist"],
}
OPTIMIZERS = ("sgd", "adam", "adadelta")


def pooled(part: Nuclei, side: int) -> Examples:
    """Returns images of so many pixels a side, and what of them is nuclei."""
    images = data.window_means(np.asarray(part.images), side)
    marked = (np.asarray(part.label_maps) > 0).astype(np.float32)
    masks = data.window_means(marked, side)[..., 0] >= 0.5
    return Examples(jnp.asarray(images), jnp.asarray(masks, jnp.float32))


def load(
    settings: Settings, data_dir: pathlib.Path | None
) -> Validated[Examples]:
    split = data.dsb2018(data_dir)
    train, test = (
        jax.tree.map(lambda x: x[: settings["limit"]], part) for part in split
    )
    train, test = (pooled(part, settings["side"]) for part in (train, test))
    count = max(1, round(settings["validation"] * len(train.labels)))
    order = np.random.default_rng(0).permutation(len(train.labels))
    valid, kept = (
        jax.tree.map(lambda x, rows=rows: x[rows], train)
        for rows in (order[:count], order[count:])
    )
    return Validated(kept, valid, test)


STUDY = _lga.lga_study(
    title="LGA on the segmentation of nuclei",
    question=(
        "Does LGA lower the training loss of a segmentation, and in fewer"
        " epochs, as the paper's Table 9 has it, and does it do more than a"
        " higher rate?"
    ),
    tables="LGA, Table 9, on other data",
    data_sets=["dsb2018"],
    data="334 gray images of nuclei of the 2018 Data Science Bowl, 267 to"
    " train on, of which small takes the first 160, and 67 to test on; a fifth"
    " of the training images is held out for validation. Pixels are means of"
    " windows, 64 or, in the preset paper, 128 a side",
    load=load,
    models={"": UNet()},
    task=lambda settings: "mask",
    metrics=[
        Metric("train_loss", "training loss", False, 1.0, 4),
        Metric("test_loss", "test loss", False, 1.0, 4),
        Metric("test_overlap", "test overlap, %", True, 100.0, 2),
    ],
    curves=[
        Curve("train_loss", "training loss", log=True),
        Curve("test_overlap", "test overlap"),
    ],
    methods=lga.with_faster(*lga.OPTIMIZERS),
    variants={"": {}},
    tuning=lga.tuning(tuple(lga.OPTIMIZERS), {"tuned": [""]}),
    primary=Primary("", "lga+sgd", "train_loss"),
    presets={
        "smoke": Preset(
            {
                **COMMON,
                "batch_size": 2,
                "epochs": 2,
                "side": 32,
                "limit": 6,
            },
            seeds=2,
            methods=["lga+sgd"],
        ),
        "small": Preset(
            {**COMMON, "epochs": 15, "side": 64, "limit": 160},
            seeds=3,
            methods=list(lga.with_faster(*OPTIMIZERS)),
        ),
        "paper": Preset(
            {**COMMON, "epochs": 50, "side": 128, "limit": None},
            seeds=5,
            accelerator=True,
        ),
    },
    paper=Paper(
        source=f"{_lga.SOURCE}, Table 9, training loss after 50 epochs, and"
        " the share of epochs in which LGA comes to the loss without it",
        **beside(
            (
                *("Algorithm", "SGD", "Momentum", "ASGD", "RMSprop", "Adam"),
                *("Adamax", "Adadelta"),
            ),
            "w/o_LGA 0.218 0.181 0.058 0.220 0.373 0.317 0.261",
            "w/_LGA **0.102** **0.089** **0.055** **0.172** 0.373 0.317"
            " **0.103**",
            "Ratio 0.23 0.17 0.23 0.23 0.16 0.23 0.43",
        ),
        remark=_lga.REMARK
        + " Data, network, loss and gamma are those of a program that the"
        " paper links and that is not at hand; here they are nuclei, a small"
        " U-Net, binary cross-entropy and the gamma of ten classes. ASGD,"
        " which is SGD in so few steps, has a quarter of SGD's loss in the"
        " paper, and Adam and Adamax a ratio below 1 with equal losses.",
    ),
)
