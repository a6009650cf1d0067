"""The contenders of the LGA study: each optimizer without and with LGA."""

from collections.abc import Callable
import functools
import math
from typing import Any, NamedTuple

import optax

from benchmarks.averaged_sgd import averaged_sgd
from benchmarks.study import Method
import optaxmods

MakeOptimizer = Callable[[Any], optax.GradientTransformation]

# With PyTorch's defaults, as the paper tells nothing but the learning rate;
# momentum has none there.
OPTIMIZERS = {
    "sgd": ("SGD", optax.sgd),
    "momentum": (
        "SGD with a momentum of 0.9",
        functools.partial(optax.sgd, momentum=0.9),
    ),
    "asgd": (
        "averaged SGD; its average begins after a million steps",
        averaged_sgd,
    ),
    "rmsprop": (
        "RMSprop, decay 0.99",
        functools.partial(
            optax.rmsprop, decay=0.99, eps=1e-8, eps_in_sqrt=False
        ),
    ),
    "adam": ("Adam", optax.adam),
    "adamax": ("Adamax", optax.adamax),
    "adadelta": (
        "Adadelta",
        functools.partial(optax.adadelta, rho=0.9, eps=1e-6),
    ),
}
# What the paper's text says brings no significant improvement (Section 4.2).
NOT_CLAIMED = ("adam",)


class Reading(NamedTuple):
    """What the paper's text can be read as."""

    description: str
    arguments: dict[str, Any]  # Of ``with_lga``, beside gamma.
    per_step: bool = False  # Else the status moves once an epoch.
    is_the_papers: bool = True


READINGS = {
    "lga": Reading("LGA, Eq. 2, the status once an epoch", {}),
    "lga-log": Reading(
        "LGA with the natural logarithm in Eq. 3", {"log_base": math.e}
    ),
    "lga-first-value": Reading(
        "LGA with the first batch's loss as the upper bound",
        {"upper_bound": "first_value"},
    ),
    "lga-per-step": Reading(
        "LGA with the status at every step, the natural logarithm and the first"
        " batch's loss as the upper bound",
        {"log_base": math.e, "upper_bound": "first_value"},
        per_step=True,
    ),
    "lga-per-step-log10": Reading(
        "LGA with the status at every step and the first batch's loss as the"
        " upper bound",
        {"upper_bound": "first_value"},
        per_step=True,
    ),
    "lga-ceiling": Reading(
        "LGA with the lower bound 0, no upper bound and no decay, which is not"
        " the paper's but the most that its term can do",
        {"lower_bound": 0.0, "upper_bound": None, "decay_factor": 1.0},
        is_the_papers=False,
    ),
}


def _methods() -> dict[str, Method]:
    methods = {}
    for name, (description, _) in OPTIMIZERS.items():
        methods[name] = Method(description)
        for prefix, reading in READINGS.items():
            # SGD alone tells the readings apart.
            if prefix == "lga" or name == "sgd":
                methods[f"{prefix}+{name}"] = Method(
                    f"{reading.description}, around {description}",
                    baseline=name,
                    claimed=reading.is_the_papers and name not in NOT_CLAIMED,
                )
    return methods


METHODS = _methods()


# Cached, so that a method is one object and is compiled once.
@functools.cache
def maker(name: str, gamma: float, steps_per_epoch: int) -> MakeOptimizer:
    """Returns a function of the learning rate that makes a method.

    Args:
        name: A key of ``METHODS``.
        gamma: LGA's.
        steps_per_epoch: The steps of a status window, but for one reading.
    """
    *prefix, last = name.split("+")
    plain = OPTIMIZERS[last][1]

    def make(rate: Any) -> optax.GradientTransformation:
        if not prefix:
            return plain(rate)
        reading = READINGS[prefix[0]]
        return optaxmods.with_lga(
            plain(rate),
            gamma,
            status_every=1 if reading.per_step else steps_per_epoch,
            **reading.arguments,
        )

    return make
