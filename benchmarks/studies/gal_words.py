"""How large GAL's magnitude may be with a large vocabulary."""

from collections.abc import Sequence
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks import data
from benchmarks.contenders import gal
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples, Split
from benchmarks.models import SmallTransformer
from benchmarks.reporting import adjustments
from benchmarks.studies._images import adjusted, image_study
from benchmarks.study import (
    Job,
    Method,
    Metric,
    Outcome,
    Preset,
    Primary,
    Settings,
)

VOCABULARY = 8192
LENGTH = 32
COMMON = {
    "batch_size": 8,
    "learning_rate": 1e-3,
    "tentative_step": 1.0,
    "measured_train": 64,
}
MAGNITUDES = (0.001, 0.01)
# Of one layer: theta grows with the vocabulary.
HIDDEN_SIZES = (32,)


def _methods() -> dict[str, Method]:
    methods = gal.methods(plain="adam")
    for form, magnitude in [
        *(("gal", magnitude) for magnitude in MAGNITUDES),
        ("gal-frozen", MAGNITUDES[-1]),
    ]:
        found = gal.methods(
            form, hidden_sizes=HIDDEN_SIZES, magnitude=magnitude
        )[f"{form}+adam"]
        methods[f"{form}-{magnitude:g}+adam"] = found._replace(
            description=f"{found.description}; a magnitude of {magnitude:g}",
            claimed=False,
        )
    return methods


def load(settings: Settings, data_dir: pathlib.Path | None) -> Split[Examples]:
    """Windows of words, and the words that follow each."""
    text = data.wikitext2(data_dir)
    unknown = text.vocabulary.index("<unk>")

    def windows(words: np.ndarray, most: int) -> Examples:
        # Words are numbered by how frequent they are.
        words = np.where(words < VOCABULARY, words, unknown)
        count = min(most, (len(words) - 1) // LENGTH)
        cut = count * LENGTH
        return Examples(
            jnp.asarray(words[:cut].reshape(count, LENGTH)),
            jnp.asarray(words[1 : cut + 1].reshape(count, LENGTH)),
        )

    train, test = settings["windows"]
    return Split(
        windows(np.asarray(text.train), train),
        windows(np.asarray(text.test), test),
    )


def make(job: Job) -> MakeOptimizer:
    arguments = {"magnitude": 0.0, **job.arguments}
    step = job.settings["tentative_step"]
    return gal.maker(job.method, VOCABULARY, tentative_step=step, **arguments)


def train(*args: Any, **settings: Any) -> Sequence[Outcome]:
    return adjusted(*args, looked_at=8, **settings)


STUDY = image_study(
    title="GAL's magnitude and a vocabulary of 8,192 words",
    question=(
        "Does the loss of a language model stay high with a magnitude of 0.01,"
        " where alpha times the root of the vocabulary is 0.9, and not with"
        " 0.001, though the adjustments are accepted? (WikiText-2's training"
        " articles may stand in another order than the official one's.)"
    ),
    tables="none; GAL",
    data_sets=["wikitext2"],
    data=f"WikiText-2's first windows of {LENGTH} words, the {VOCABULARY:,}"
    " most frequent ones kept apart, to train on and of its test text to test"
    " on: small takes 1,600 and 100, for 4 epochs",
    load=load,
    model=SmallTransformer(vocabulary=VOCABULARY, length=LENGTH, layers=1),
    methods=_methods(),
    make=make,
    train=train,
    variants={"": {}},
    metrics=[
        Metric("test_loss", "test loss", False, 1.0, 4),
        Metric("train_loss", "training loss", False, 1.0, 4),
    ],
    primary=Primary("", "gal-0.01+adam", "test_loss"),
    sections=adjustments.section,
    presets={
        "smoke": Preset(
            {**COMMON, "batch_size": 2, "epochs": 1, "windows": [4, 2]},
            seeds=2,
            methods=["gal-0.01+adam"],
        ),
        "small": Preset(
            {**COMMON, "epochs": 4, "windows": [1600, 100]}, seeds=5
        ),
        "paper": Preset(
            {**COMMON, "epochs": 10, "windows": [65000, 1000]},
            seeds=5,
            accelerator=True,
        ),
    },
)
