"""How large AGR's coefficients are in a small Transformer."""

import pathlib

import jax.numpy as jnp

from benchmarks import data
from benchmarks.models import SmallTransformer
from benchmarks.studies._agr_alpha import alpha_study
from benchmarks.studies._text import frequent
from benchmarks.study import Preset, Settings

VOCABULARY = 2000
LENGTH = 64
COMMON = {
    "batch_size": 16,
    "learning_rate": 1e-3,
    "weight_decay": 1e-2,
    "looks": 8,
}


def load(settings: Settings, data_dir: pathlib.Path | None) -> data.Examples:
    """Windows of the training text; rare words are the unknown one."""
    text = data.wikitext2(data_dir)
    tokens = frequent(text.train, text, VOCABULARY)
    count = min(settings["windows"], (len(tokens) - 1) // LENGTH)
    cut = count * LENGTH
    return data.Examples(
        images=jnp.asarray(tokens[:cut].reshape(count, LENGTH)),
        labels=jnp.asarray(tokens[1 : cut + 1].reshape(count, LENGTH)),
    )


STUDY = alpha_study(
    tables="none; AGR",
    title="The coefficients of AGR in a small Transformer",
    question=(
        "How strongly does AGR damp real gradients, layer by layer? (The"
        " committed results are of a copy of WikiText-2 whose training articles"
        " stand in another order than the official one's.)"
    ),
    data_sets=["wikitext2"],
    data=f"WikiText-2's first training windows of {LENGTH} words, the"
    f" {VOCABULARY:,} most frequent ones kept apart",
    load=load,
    model=SmallTransformer(vocabulary=VOCABULARY, length=LENGTH),
    presets={
        "smoke": Preset(
            {**COMMON, "epochs": 1, "windows": 16, "looks": 1},
            seeds=1,
            methods=["adamw"],
        ),
        "small": Preset({**COMMON, "epochs": 10, "windows": 4096}, seeds=5),
        "paper": Preset({**COMMON, "epochs": 20, "windows": 32600}, seeds=5),
    },
)
