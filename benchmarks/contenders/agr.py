"""The contenders of the AGR studies, and the controls beside them."""

from collections.abc import Callable
from typing import Any

import optax

from benchmarks.contenders.entry_clipping import clip_entries
from benchmarks.contenders.makers import MakeOptimizer, by_content
from benchmarks.study import Job, Method
import optaxmods

AGR = {"strength": 1.0}
AGR_ALL = {**AGR, "reduction_axes": "all"}
REGULARIZED = {**AGR, "difference": "regularized"}
PRINTED = {**AGR, "difference": "printed"}
CLIPPING = {"max_norm": 1.0}

# Claimed is what the paper says of AGR in general: that it improves the
# optimizer it is built into. It has none of these data or networks.
METHODS = {
    "adamw": Method("AdamW, as optax has it"),
    "agr+adamw": Method(
        "chain(agr(), adamw): AGR in both moments",
        "adamw",
        claimed=True,
        arguments=AGR,
    ),
    "adamw_agr": Method(
        "AdamW with AGR in the first moment only (Algorithm 2)",
        "adamw",
        claimed=True,
        arguments=AGR,
    ),
    "agr-all+adamw": Method(
        "AGR on every leaf, biases included, before AdamW (released code)",
        "adamw",
        claimed=True,
        arguments=AGR_ALL,
    ),
    "clip+adamw": Method(
        f"clip_by_global_norm({CLIPPING['max_norm']:g}) before AdamW, a"
        " control",
        "adamw",
        arguments=CLIPPING,
    ),
    "adan": Method("Adan, as published"),
    "agr+adan": Method(
        "chain(agr(), adan): AGR in all moments",
        "adan",
        claimed=True,
        arguments=AGR,
    ),
    "adan_agr": Method(
        "Adan with AGR in the first moment and in both gradients of the"
        " difference (Algorithm 1, made safe)",
        "adan",
        claimed=True,
        arguments=REGULARIZED,
    ),
    "adan_agr-printed": Method(
        "Adan with AGR in the first moment and in the new gradient of the"
        " difference (Algorithm 1 as printed)",
        "adan",
        claimed=True,
        arguments=PRINTED,
    ),
    "clip+adan": Method(
        f"clip_by_global_norm({CLIPPING['max_norm']:g}) before Adan, a control",
        "adan",
        arguments=CLIPPING,
    ),
}

# More controls, of the studies that name them.
ENTRY_CLIPPING = {"factor": 10.0}
ENTRY_CLIPPED = {
    f"clip-entries+{plain}": Method(
        f"each leaf's entries clipped at {ENTRY_CLIPPING['factor']:g} times"
        f" their median size before {name}, a control",
        plain,
        arguments=ENTRY_CLIPPING,
    )
    for plain, name in {"adamw": "AdamW", "adan": "Adan"}.items()
}

IN_FRONT = {
    "agr": optaxmods.agr,
    "agr-all": optaxmods.agr,
    "clip": optax.clip_by_global_norm,
    "clip-entries": clip_entries,
}
OPTIMIZERS = {
    "adamw": optax.adamw,
    "adamw_agr": optaxmods.adamw_agr,
    "adan": optaxmods.adan,
    "adan_agr": optaxmods.adan_agr,
    "adan_agr-printed": optaxmods.adan_agr,
}


@by_content
def maker(
    name: str,
    weight_decay: float,
    *,
    first: Callable[[], optax.GradientTransformation] | None = None,
    rate_factor: float = 1.0,
    **arguments: Any,
) -> MakeOptimizer:
    """Returns a function of the learning rate that makes a method.

    Args:
        name: A key of ``METHODS``.
        weight_decay: That of AdamW or Adan.
        first: Makes what stands in front of everything, such as noise.
        rate_factor: The method's learning rate in those that it is called with.
        arguments: Of what stands in front of the optimizer, else its own.
    """
    *prefix, last = name.split("+")
    own = {} if prefix else arguments

    def make(rate: Any) -> optax.GradientTransformation:
        parts = [first()] if first else []
        parts += [IN_FRONT[part](**arguments) for part in prefix]
        optimizer = OPTIMIZERS[last](
            rate_factor * rate, weight_decay=weight_decay, **own
        )
        return optax.chain(*parts, optimizer)

    return make


def usual_optimizer(job: Job) -> MakeOptimizer:
    """Returns a job's method, with the weight decay of its settings."""
    return maker(job.method, job.settings["weight_decay"], **job.arguments)
