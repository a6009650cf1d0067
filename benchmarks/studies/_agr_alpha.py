"""How large AGR's coefficients are: what the studies of two networks share."""

from collections.abc import Callable, Mapping, Sequence
import functools
import pathlib
from typing import Any

import flax.linen as nn

from benchmarks.contenders import agr
from benchmarks.models import described
from benchmarks.reporting import coefficients
from benchmarks.study import Method, Preset, Settings, Study
from benchmarks.training import alpha

METHODS = {
    "adamw": Method("AdamW; alpha is only looked at"),
    "agr+adamw": Method(
        "chain(agr(), adamw): alpha is at work, too", arguments=agr.AGR
    ),
}


def alpha_study(
    *,
    title: str,
    question: str,
    data_sets: Sequence[str],
    data: str,
    load: Callable[[Settings, pathlib.Path | None], Any],
    model: nn.Module,
    presets: Mapping[str, Preset],
    tables: str,
) -> Study:
    """Returns a study that looks at alpha, layer by layer, while it trains.

    Args:
        title: What the tables and plots are called.
        question: What it is to answer.
        data_sets: Keys of ``benchmarks.data.SETS`` that ``load`` reads.
        data: A line on the data.
        load: The examples, from settings and the folder of the data.
        model: Called as ``model(inputs, train=...)`` for logits.
        presets: Settings have epochs, batch_size, learning_rate, weight_decay,
            and looks, the number of batches that are looked at.
        tables: Which of which paper the study is.
    """
    return Study(
        title=title,
        question=question,
        data_sets=data_sets,
        data=data,
        model=described(model),
        metrics=alpha.METRICS,
        curves=alpha.CURVES,
        methods=METHODS,
        presets=presets,
        tables=tables,
        load=load,
        run=functools.partial(alpha.run, model),
        pictures=functools.partial(
            coefficients.pictures, quantiles=alpha.QUANTILES, size=alpha.SIZE
        ),
    )
