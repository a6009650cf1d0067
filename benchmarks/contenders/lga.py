"""The contenders of the LGA study: each optimizer without and with LGA."""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any, NamedTuple

import optax

from benchmarks.contenders.averaged_sgd import averaged_sgd
from benchmarks.contenders.makers import MakeOptimizer, by_content
from benchmarks.contenders.sign_descent import with_sign_descent
from benchmarks.study import Contender, Method, Tuning
import optaxmods


class Optimizer(NamedTuple):
    """What LGA is put around."""

    description: str
    make: Callable[..., optax.GradientTransformation]
    arguments: Mapping[str, Any] = {}  # Beside the learning rate.


# With PyTorch's defaults, as the paper tells nothing but the learning rate;
# momentum has none there.
OPTIMIZERS = {
    "sgd": Optimizer("SGD", optax.sgd),
    "momentum": Optimizer(
        "SGD with a momentum of 0.9", optax.sgd, {"momentum": 0.9}
    ),
    "asgd": Optimizer(
        "averaged SGD; its average begins after a million steps",
        averaged_sgd,
        {"decay": 1e-4, "power": 0.75, "start": 1e6},
    ),
    "rmsprop": Optimizer(
        "RMSprop, decay 0.99",
        optax.rmsprop,
        {"decay": 0.99, "eps": 1e-8, "eps_in_sqrt": False},
    ),
    "adam": Optimizer("Adam", optax.adam),
    "adamax": Optimizer("Adamax", optax.adamax),
    "adadelta": Optimizer(
        "Adadelta", optax.adadelta, {"rho": 0.9, "eps": 1e-6}
    ),
}
# What the paper's text says brings no significant improvement (Section 4.2).
NOT_CLAIMED = ("adam",)


class Reading(NamedTuple):
    """What the paper's text can be read as."""

    description: str
    # Of ``with_lga``, beside gamma; the status moves once an epoch or a step.
    arguments: Mapping[str, Any]
    is_the_papers: bool = True


ONCE_AN_EPOCH = {"status_every": "epoch"}
AT_EVERY_STEP = {"status_every": "step"}
READINGS = {
    "lga": Reading("LGA, Eq. 2, the status once an epoch", ONCE_AN_EPOCH),
    "lga-log": Reading(
        "LGA with the natural logarithm in Eq. 3",
        {**ONCE_AN_EPOCH, "log_base": math.e},
    ),
    "lga-first-value": Reading(
        "LGA with the first batch's loss as the upper bound",
        {**ONCE_AN_EPOCH, "upper_bound": "first_value"},
    ),
    "lga-per-step": Reading(
        "LGA with the status at every step, the natural logarithm and the first"
        " batch's loss as the upper bound",
        {**AT_EVERY_STEP, "log_base": math.e, "upper_bound": "first_value"},
    ),
    "lga-per-step-log10": Reading(
        "LGA with the status at every step and the first batch's loss as the"
        " upper bound",
        {**AT_EVERY_STEP, "upper_bound": "first_value"},
    ),
    "lga-ceiling": Reading(
        "LGA with the lower bound 0, no upper bound and no decay, which is not"
        " the paper's but the most that its term can do",
        {
            **ONCE_AN_EPOCH,
            "lower_bound": 0.0,
            "upper_bound": None,
            "decay_factor": 1.0,
        },
        is_the_papers=False,
    ),
}


def _methods() -> dict[str, Method]:
    methods = {}
    for name, (description, _, arguments) in OPTIMIZERS.items():
        own = {"optimizer": arguments} if arguments else {}
        methods[name] = Method(description, arguments=own)
        for prefix, reading in READINGS.items():
            # SGD alone tells the readings apart.
            if prefix == "lga" or name == "sgd":
                methods[f"{prefix}+{name}"] = Method(
                    f"{reading.description}, around {description}",
                    baseline=name,
                    claimed=reading.is_the_papers and name not in NOT_CLAIMED,
                    arguments={**own, "lga": reading.arguments},
                )
    return methods


METHODS = _methods()
# What a user would pick instead.
FACTORS = (3, 10)


def with_faster(*names: str) -> dict[str, Method]:
    """Returns each optimizer, with LGA, and alone at several times its rate.

    Args:
        names: Keys of ``OPTIMIZERS``.
    """
    methods = {}
    for name in names:
        methods |= {key: METHODS[key] for key in (name, f"lga+{name}")}
        for factor in FACTORS:
            methods[faster(name, factor)] = Method(
                f"{OPTIMIZERS[name].description} at {factor} times the rate, a"
                " control",
                name,
                arguments={
                    **METHODS[name].arguments,
                    "rate_factor": factor,
                },
            )
    return methods


def with_bounds(*names: str) -> dict[str, Method]:
    """Returns what ``with_faster`` does, and LGA with other lower bounds.

    Args:
        names: Keys of ``OPTIMIZERS``.
    """
    methods = {}
    for name in names:
        methods |= with_faster(name)
        arguments = METHODS[f"lga+{name}"].arguments
        for bound in ("average", "momentum"):
            methods[f"lga-{bound}+{name}"] = Method(
                f"LGA with the lower bound {bound!r}, around"
                f" {OPTIMIZERS[name].description}",
                f"lga+{name}",
                arguments={
                    **arguments,
                    "lga": {**arguments["lga"], "lower_bound": bound},
                },
            )
    return methods


def faster(name: str, factor: float) -> str:
    return f"{name}-{factor:g}x"


def tuning(
    names: Sequence[str], variants: Mapping[str, Sequence[str]]
) -> Tuning:
    """Returns LGA at its rate beside each optimizer at the best of three.

    Args:
        names: Keys of ``OPTIMIZERS``.
        variants: As in ``Tuning``.
    """
    known = {}
    for name in names:
        alone = [name, *(faster(name, factor) for factor in FACTORS)]
        best = f"{name}, tuned"
        known[best] = Contender(f"{name} alone, at the best rate", alone)
        known[f"lga+{name} beside it"] = Contender(
            f"lga+{name} at its own rate", [f"lga+{name}"], best
        )
    return Tuning("valid_loss", known, variants)


@by_content
def maker(
    name: str,
    gamma: float,
    steps_per_epoch: int,
    *,
    optimizer: Mapping[str, Any] | None = None,
    lga: Mapping[str, Any] | None = None,
    rate_factor: float = 1.0,
    factors: Callable[[], Any] | None = None,
    sign: Mapping[str, Any] | None = None,
    steps: int | None = None,
) -> MakeOptimizer:
    """Returns a function of the learning rate that makes a method.

    Args:
        name: A key of ``METHODS``.
        gamma: LGA's.
        steps_per_epoch: The steps of a status window, but for two readings.
        optimizer: Arguments of what LGA is put around.
        lga: Those of LGA; without it there is none.
        rate_factor: The method's learning rate in those that it is called with.
        factors: Makes what the optimizer's updates go through, which makes the
            rate fall; LGA's term does not.
        sign: What sign descent is added: its ``size``, and whether it
            ``falls``. The factors are not its.
        steps: Those of the run, where something falls.
    """
    make_plain = OPTIMIZERS[name.split("+")[-1].split("-")[0]].make
    windows = {"epoch": steps_per_epoch, "step": 1}

    def make(rate: Any) -> optax.GradientTransformation:
        plain = make_plain(rate_factor * rate, **(optimizer or {}))
        if factors:
            plain = optax.chain(plain, factors())
        if sign:
            end = steps if sign["falls"] else None
            plain = with_sign_descent(plain, sign["size"], end)
        if lga is None:
            return plain
        window = windows[lga["status_every"]]
        # Small gradients are pushed as in Eq. 5, unless a method has a floor.
        arguments = {"gradient_floor": 0.0, **lga, "status_every": window}
        return optaxmods.with_lga(plain, gamma, **arguments)

    return make
