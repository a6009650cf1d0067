"""LGA and its controls, each on as large a grid: what two studies share.

A grid is of five rates, the variants, times five values of the method's own
number; a rate alone has five times as many rates. Nothing is compared at a
single setting: validation chooses one for each contender.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any

from benchmarks.contenders import lga
from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples
from benchmarks.models import MLP
from benchmarks.reporting import rates, verdicts
from benchmarks.studies import _lga
from benchmarks.study import (
    Contender,
    Curve,
    Job,
    Method,
    Metric,
    Result,
    Settings,
    Study,
    Tuning,
)

# Half a decade apart, and between two of them, a tenth of a decade.
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
BETWEEN = tuple(round(10 ** (step / 10), 2) for step in range(5))
# Where gradients are 0, gamma pushes an entry by 100 times it and the excess of
# the loss, which is about 1: sign descent has such sizes.
GAMMAS = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4)
SIZES = tuple(100 * gamma for gamma in GAMMAS)
MOMENTA = (0.5, 0.8, 0.9, 0.95, 0.99)
# In SGD's rate, which the variants have.
FACTORS = {"sgd": 1.0, "adam": 0.01}
# Seeds that no other page has.
FIRST_SEED = 1000
COMMON = {
    "batch_size": 32,
    "validation": 0.25,
    "measured_train": 500,
    "first_seed": FIRST_SEED,
    "vmapped": True,
}
LIMITS = {
    "smoke": {"mnist": [160, 50]},
    "small": {"mnist": [2000, 1000]},
    "paper": {"mnist": [None, None]},
}
DATA = (
    "MNIST, a fixed sample of 2,000 images, of which 500 are held out for"
    " validation and 1,500 trained on, and 1,000 to test on, cut to fit half an"
    " hour of two cores; paper has all"
)
METRICS = (
    Metric("test_loss", "test loss", False, 1.0, 4),
    Metric("test_accuracy", "test accuracy, %", True, 100.0, 2),
)
CURVES = (Curve("test_loss", "test loss", log=True),)
Methods = dict[str, Method]


def _arguments(plain: str) -> dict[str, Any]:
    return {"rate_factor": FACTORS[plain]}


def alone(plain: str) -> Methods:
    """Returns an optimizer at five rates for each of the variants'."""
    found = {}
    for factor in BETWEEN:
        rate = FACTORS[plain] * factor
        found[plain if factor == 1 else lga.faster(plain, factor)] = Method(
            f"{lga.OPTIMIZERS[plain].description} at the setting's rate times"
            f" {rate:g}",
            arguments={"rate_factor": rate},
        )
    return found


def momenta() -> Methods:
    """Returns momenta whose rates move as far as SGD's in the end."""
    return {
        f"momentum-{share:g}": Method(
            f"SGD with a momentum of {share:g} at the setting's rate times"
            f" {1 - share:.2g}",
            arguments={
                "optimizer": {"momentum": share},
                "rate_factor": round(1 - share, 2),
            },
        )
        for share in MOMENTA
    }


def with_lga(plain: str, gammas: Sequence[float] = GAMMAS) -> Methods:
    return {
        f"lga-{gamma:g}+{plain}": Method(
            f"LGA with gamma {gamma:g} around `{plain}`",
            arguments={
                **_arguments(plain),
                "gamma": gamma,
                "lga": lga.ONCE_AN_EPOCH,
            },
        )
        for gamma in gammas
    }


def with_sign(plain: str, *, falls: bool) -> Methods:
    how = "falling to 0 in a line" if falls else "constant"
    return {
        f"{'falling' if falls else 'sign'}-{size:g}+{plain}": Method(
            f"`{plain}` and sign descent of size {size:g}, {how}",
            arguments={
                **_arguments(plain),
                "sign": {"size": size, "falls": falls},
            },
        )
        for size in SIZES
    }


def make(
    job: Job, examples: Examples, factors: Callable[[], Any] | None = None
) -> MakeOptimizer:
    """Returns the optimizer of a job, whose updates the factors multiply."""
    settings = job.settings
    arguments = dict(job.arguments)
    steps = len(examples.labels) // settings["batch_size"]
    if arguments.get("sign", {}).get("falls"):  # Else no other program.
        arguments["steps"] = steps * settings["epochs"]
    gamma = arguments.pop("gamma", 0.0)
    return lga.maker(job.method, gamma, steps, factors=factors, **arguments)


def tuned(name: str) -> str:
    return f"{name}, tuned"


def variants(places: Mapping[str, Settings]) -> dict[str, Settings]:
    """Returns each of these settings at five rates."""
    return {
        at_rate(name, rate): {**settings, "learning_rate": rate}
        for name, settings in places.items()
        for rate in RATES
    }


def at_rate(name: str, rate: float) -> str:
    return f"{name}, rate {rate:g}"


def tuning(
    grids: Mapping[str, tuple[Sequence[str], str | None]],
    beside: Mapping[str, str],
    places: Sequence[str],
) -> Tuning:
    """Returns what validation chooses at each place.

    Args:
        grids: Each contender's methods, and the one that it is compared with.
        beside: Contenders that are compared with another one, too.
        places: What the variants are of.
    """
    contenders = {
        tuned(name): Contender(
            f"`{name}`", methods, baseline and tuned(baseline)
        )
        for name, (methods, baseline) in grids.items()
    }
    for name, other in beside.items():
        contenders[beside_of(name, other)] = Contender(
            f"`{name}` as before", grids[name][0], tuned(other)
        )
    return Tuning(
        "valid_loss",
        contenders,
        {
            tuned(place): [at_rate(place, rate) for rate in RATES]
            for place in places
        },
    )


def beside_of(name: str, other: str) -> str:
    return f"{name} beside {other}"


def lines(plain: str, others: Mapping[str, Methods]) -> rates.Lines:
    """Returns a picture's lines: the optimizer alone, and methods of grids.

    Args:
        plain: A key of ``FACTORS``.
        others: By how a line's number is called.
    """
    found: dict[str, Sequence[str]] = {f"{plain} alone": [*alone(plain)]}
    for what, methods in others.items():
        for name in methods:
            number = name.partition("+")[0].partition("-")[2]
            found[f"{what} {number}"] = [name]
    return found


def rate_of(study: Study, place: verdicts.Place) -> float:
    """Returns the rate that a method has in a setting."""
    variant, method = place
    factor = study.methods[method].arguments.get("rate_factor", 1.0)
    return study.variants[variant]["learning_rate"] * factor


def ends_section(study: Study, result: Result) -> list[str]:
    """Returns a part of a page: what was chosen at an end of its grid."""
    if study.tuning is None:
        return []
    chosen = {}
    for place, (variant, method) in verdicts.choices(study, result).items():
        contender = study.tuning.contenders[place[1]]
        rate = study.variants[variant]["learning_rate"]
        known = contender.methods
        at_rate = 1 if rate == RATES[-1] else -1 if rate == RATES[0] else 0
        number = 1 if method == known[-1] else -1 if method == known[0] else 0
        # Where both are of the rate, an end is that of both.
        is_rate_alone = {*known} & {*FACTORS}
        is_end = (
            at_rate and at_rate == number
            if is_rate_alone
            else at_rate or number
        )
        if is_end:
            chosen.setdefault(place[0], []).append(f"`{place[1]}`")
    text = "; ".join(f"{k}: {', '.join(v)}" for k, v in chosen.items())
    return [
        "## At the end of a grid",
        f"What validation chose at an end of its grid, so that a better value"
        f" may lie beyond it: {text or 'nothing'}.",
    ]


def grid_study(
    *,
    places: Mapping[str, Settings],
    grids: Mapping[str, tuple[Methods, str | None]],
    beside: Mapping[str, str],
    drawn: rates.Rows,
    more: Sequence[Callable[[Study, Result], Sequence[str]]] = (),
    **fields: Any,
) -> Study:
    """Returns a study of contenders that validation chooses from grids.

    Args:
        places: What a setting is of, beside its rate.
        grids: Each contender's methods, and the one it is compared with.
        beside: As of ``tuning``.
        drawn: The rows of the picture, and their lines.
        more: More sections of its page.
        fields: Of ``lga_study``; those of the data are MNIST's by default.
    """
    fields = {
        "data_sets": ["mnist"],
        "data": DATA,
        "load": functools.partial(_lga.validated, "mnist"),
        "models": {"": MLP((64, 32))},
        **fields,
    }
    shown = {"rows": drawn, "rate_of": rate_of, "metric": METRICS[0]}
    parts = (
        *more,
        functools.partial(rates.section, **shown),
        ends_section,
    )
    names = {k: ([*methods], base) for k, (methods, base) in grids.items()}
    return _lga.lga_study(
        tables="none; LGA",
        task=lambda settings: "classes",
        metrics=METRICS,
        curves=CURVES,
        kept=[curve.key for curve in CURVES],
        methods={
            name: method
            for methods, _ in grids.values()
            for name, method in methods.items()
        },
        variants=variants(places),
        tuning=tuning(names, beside, list(places)),
        pictures=functools.partial(rates.pictures, **shown),
        sections=lambda study, result: [
            line for part in parts for line in part(study, result)
        ],
        **fields,
    )
