"""What GAL's parts do: Table VIII and Fig. 6, 7 and 8 on CIFAR-10."""

from collections.abc import Mapping
import functools
from typing import Any

from benchmarks.contenders import gal
from benchmarks.reporting import adjustments
from benchmarks.studies import _gal
from benchmarks.study import Method, Paper, Preset, Primary

ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1)
BETAS = (0.1, 1.0, 5.0, 10.0)
# The paper's four depths, of its widths for ten classes.
DEPTHS = ((100,), (100, 32), (100, 32, 16), (100, 32, 16, 8))
POLICIES = {"line 7 (<)": "<", "line 8": "always"}


def _form(plain: str, alpha: float, beta: float, **arguments: Any) -> Method:
    """Returns GAL around an optimizer, as a method compared with GAL there."""
    given = {"hidden_sizes": _gal.HIDDEN_SIZES, **arguments}
    numbers = {"magnitude": alpha, "beta": beta}
    return gal.methods("gal", plain=plain, **numbers, **given)[f"gal+{plain}"]


def _methods(
    plain: str, alpha: float, beta: float
) -> tuple[dict[str, Method], dict[str, dict[str, str]]]:
    """Returns the methods, and what each figure shows of them, by its label."""
    methods = gal.methods(
        *("gal", "gal-frozen", "gal-noise"),
        plain=plain,
        hidden_sizes=_gal.HIDDEN_SIZES,
        magnitude=alpha,
        beta=beta,
    )
    whole = f"gal+{plain}"

    def add(name: str, what: str, changes: Mapping[str, Any]) -> str:
        made = _form(plain, **{"alpha": alpha, "beta": beta, **changes})
        if made.arguments == methods[whole].arguments:
            return whole
        methods[f"gal-{name}+{plain}"] = made._replace(
            description=f"GAL with {what}", baseline=whole, claimed=False
        )
        return f"gal-{name}+{plain}"

    def layers(sizes: tuple[int, ...]) -> str:
        return "-".join(map(str, sizes))

    groups = {
        "alpha": {
            f"{a:g}": add(f"alpha-{a:g}", "another alpha", {"alpha": a})
            for a in ALPHAS
        },
        "beta": {
            f"{b:g}": add(f"beta-{b:g}", "another beta", {"beta": b})
            for b in BETAS
        },
        "MLP": {
            layers(sizes): add(
                f"mlp-{layers(sizes)}",
                f"a network {layers(sizes)}",
                {"hidden_sizes": sizes},
            )
            for sizes in DEPTHS
        },
        "CNN": {
            layers(sizes): add(
                f"cnn-{layers(sizes)}",
                f"convolutions {layers(sizes)} for a network",
                {"hidden_sizes": sizes, "network": "convolutions"},
            )
            for sizes in DEPTHS
        },
        "policy": {
            "line 10": plain,
            "line 7 (<=)": whole,
            **{
                label: add(
                    f"policy-{word}",
                    f"the update policy of {label}",
                    {"accept": word},
                )
                for label, word in POLICIES.items()
            },
        },
        "theta": {
            "Adam": whole,
            "eps 1e-20": add(
                "small-eps",
                "an eps of 1e-20 in theta's Adam, so that it learns",
                {"theta_eps": 1e-20},
            ),
            "frozen": f"gal-frozen+{plain}",
            "noise": f"gal-noise+{plain}",
        },
    }
    return methods, groups


# The paper's on CIFAR-100, of which its figures are.
OF_SGD, GROUPS = _methods("sgd", 0.01, 1.0)
OF_LOOKAHEAD, _ = _methods("lookahead", 0.001, 5.0)

STUDY = _gal.cifar_study(
    title="GAL's parts, on CIFAR-10",
    question=(
        "Which of alpha, beta, the adjustment network, its depth and the update"
        " policy matter, as the paper's Table VIII, Fig. 7 and Fig. 8 have it,"
        " and what do remainder, cosine and wins look like over training?"
    ),
    tables="GAL, Table VIII and Fig. 6, 7 and 8, on a sample of CIFAR-10",
    methods={**OF_SGD, **OF_LOOKAHEAD},
    primary=Primary("", "gal+sgd", "test_accuracy"),
    presets={
        "smoke": Preset(_gal.SMOKE, seeds=2, methods=["gal-noise+sgd"]),
        "small": Preset(_gal.SMALL, seeds=8, methods=list(OF_SGD)),
        "paper": Preset(_gal.WHOLE, seeds=5, accelerator=True),
    },
    paper=Paper(
        source=f"{_gal.SOURCE}, Table VIII, SGD on CIFAR-100",
        header=("Model", "Arch", "Parameters", "Error (%)"),
        rows=[
            ("MLP", "(256)", "51.2K", "11.68"),
            ("MLP", "(256-64)", "48.3K", "11.61"),
            ("MLP", "(256-64-32)", "47.2K", "11.26"),
            ("MLP", "(256-64-32-16)", "46.1K", "11.84"),
            ("CNN", "(256)", "28.1K", "12.15"),
            ("CNN", "(256-64)", "156.4K", "12.13"),
            ("CNN", "(256-64-32)", "171.7K", "11.88"),
            ("CNN", "(256-64-32-16)", "174.7K", "11.75"),
        ],
        remark="Figures 6 to 8 are pictures without numbers, 6 of ImageNet;"
        " ours are above, each of the paper's panels, and beside them a"
        " network that never learns, noise, and a theta that learns whatever"
        " the size of its gradient. Line 10 is the plain gradient, that is SGD"
        " alone. Its text says that alpha from 0.0001 to 0.01 lowers the"
        " error, that beta = 1 is best with SGD and 5 with Lookahead, and that"
        " `line 7 (<=)` is best of the policies. Its Table VIII has 11.26 for"
        " the network and settings that Table II has at 11.37. Ten classes"
        " make pictures of 2x5, a hundred of 10x10. The paper tells of no"
        " activation in its convolutions; ours have ReLU.",
    ),
    drawn=functools.partial(
        adjustments.pictures,
        groups=GROUPS,
        followed={
            "gal+sgd": "GAL",
            "gal-small-eps+sgd": "GAL, theta's eps 1e-20",
            "gal-frozen+sgd": "frozen",
            "gal-noise+sgd": "noise",
        },
        plain="sgd",
    ),
)
