"""The contenders of the AGR studies, and the controls beside them."""

from collections.abc import Callable
import functools
from typing import Any

import optax

from benchmarks.study import Method
import optaxmods

CLIPPING_NORM = 1.0

# Claimed is what the paper says of AGR in general: that it improves the
# optimizer it is built into. It has none of these data or networks.
METHODS = {
    "adamw": Method("AdamW, as optax has it"),
    "agr+adamw": Method(
        "chain(agr(), adamw): AGR in both moments", "adamw", claimed=True
    ),
    "adamw_agr": Method(
        "AdamW with AGR in the first moment only (Algorithm 2)",
        "adamw",
        claimed=True,
    ),
    "agr-all+adamw": Method(
        "AGR on every leaf, biases included, before AdamW (released code)",
        "adamw",
        claimed=True,
    ),
    "clip+adamw": Method(
        f"clip_by_global_norm({CLIPPING_NORM:g}) before AdamW, a control",
        "adamw",
    ),
    "adan": Method("Adan, as published"),
    "agr+adan": Method(
        "chain(agr(), adan): AGR in all moments", "adan", claimed=True
    ),
    "adan_agr": Method(
        "Adan with AGR in the first moment and the difference (Algorithm 1)",
        "adan",
        claimed=True,
    ),
    "clip+adan": Method(
        f"clip_by_global_norm({CLIPPING_NORM:g}) before Adan, a control",
        "adan",
    ),
}


# Cached, so that a method is one object and is compiled once.
@functools.cache
def maker(
    name: str,
    weight_decay: float,
    strength: optax.ScalarOrSchedule = 1.0,
    first: Callable[[], optax.GradientTransformation] | None = None,
) -> Callable[[Any], optax.GradientTransformation]:
    """Returns a function of the learning rate that makes a method.

    Args:
        name: A key of ``METHODS``.
        weight_decay: That of AdamW or Adan.
        strength: AGR's.
        first: Makes what stands in front of everything, such as noise.
    """
    agr = functools.partial(optaxmods.agr, strength)
    clip = optax.clip_by_global_norm(CLIPPING_NORM)
    plain = {"adamw": optax.adamw, "adan": optaxmods.adan}
    regularized = {
        "adamw_agr": optaxmods.adamw_agr,
        "adan_agr": optaxmods.adan_agr,
    }
    in_front = {
        "agr": agr(),
        "agr-all": agr(reduction_axes="all"),
        "clip": clip,
    }

    def make(rate: Any) -> optax.GradientTransformation:
        *prefix, last = name.split("+")
        parts = [first()] if first else []
        parts += [in_front[part] for part in prefix]
        if last in regularized:
            parts.append(
                regularized[last](
                    rate, weight_decay=weight_decay, strength=strength
                )
            )
        else:
            parts.append(plain[last](rate, weight_decay=weight_decay))
        return optax.chain(*parts)

    return make
