"""GAL on a surface of two parameters, the paper's 3D example."""

import functools
from typing import Any

from benchmarks.contenders.surface import METHODS, WIDTHS
from benchmarks.reporting import paths
from benchmarks.study import Curve, Metric, Paper, Preset, Study
from benchmarks.training import surface


def _variant(
    optimizer: str,
    learning_rate: float,
    steps: int,
    alpha: float,
    beta: float,
    **arguments: Any,
) -> dict[str, Any]:
    """Settings; the arguments are the optimizer's, in PyTorch's sense."""
    return {
        "optimizer": optimizer,
        **({"arguments": arguments} if arguments else {}),
        "learning_rate": learning_rate,
        "steps": steps,
        "magnitude": alpha,
        "beta": beta,
    }


COMMON = {"share_of_descent": 0.9}
# From the authors' code for the example; the paper does not tell them.
VARIANTS = {
    "GD": _variant("gd", 0.1, 100, alpha=0.2, beta=1.0),
    "RMSProp": _variant(
        "rmsprop",
        0.02,
        150,
        alpha=0.3,
        beta=1.0,
        decay=0.99,
        eps=0.1,
        eps_in_sqrt=False,
    ),
    "Adam": _variant(
        "adam", 0.02, 250, alpha=0.4, beta=0.1, b1=0.8, b2=0.999, eps=0.1
    ),
    "Lookahead": _variant(
        "lookahead",
        0.01,
        600,
        alpha=0.1,
        beta=1.0,
        sync_period=5,
        slow_step_size=0.5,
    ),
    "AdaBound": _variant(
        "adabound",
        0.4,
        300,
        alpha=0.5,
        beta=1.0,
        final_rate=0.02,
        gamma=0.5,
        b1=0.9,
        b2=0.999,
        eps=1e-8,
    ),
}

STUDY = Study(
    title="GAL on the surface of the 3D example",
    question=(
        "Does GAL descend in fewer steps than the optimizer alone, and what of"
        " that do an adjustment network that never learns, and noise, do as"
        " well?"
    ),
    data_sets=[],
    data=(
        "none: f(x, y) = -sin(x^2) cos(3 y^2) exp(-(xy)^2) - exp(-(x + y)^2)"
        " from (0.75, 1); x and y are the features z of the one example. f is"
        " even: it has two lowest minima, -1.3549, and a saddle, -1, at (0, 0)."
        " A seed draws theta and the noise. The steps are those until f has"
        " fallen by 90 % of what the optimizer alone comes down in its run,"
        " from f at the start to its lowest; a run that never gets there counts"
        " with all its steps"
    ),
    model=f"h: linear layers 2-{'-'.join(map(str, WIDTHS))} without"
    " activation, biases of 0",
    metrics=[
        Metric("steps", "steps to 90 % of the descent", False, 1.0, 1),
        Metric("arrived", "runs that get there, %", True, 100.0, 0),
        Metric("final_f", "f after the last step", False, 1.0, 4),
        Metric(
            "accepted", "adjustments accepted, %", True, 100, 0, tested=False
        ),
    ],
    curves=[Curve("f", "f")],
    methods=METHODS,
    presets={
        "smoke": Preset(
            COMMON,
            seeds=2,
            variants=["Lookahead"],
            methods=["plain", "gal", "uniform"],
        ),
        "small": Preset(COMMON, seeds=20),
        "paper": Preset(COMMON, seeds=100),
    },
    load=lambda settings, data_dir: surface.START,
    run=surface.run,
    variants=VARIANTS,
    paper=Paper(
        source=(
            "*Learning to Minimize the Remainder in Supervised Learning*,"
            " Fig. 4: one path and one curve of f with and without GAL for each"
            " optimizer, as pictures; there are no numbers. The settings are"
            " those of the authors' code for the example"
        ),
        header=(
            "Fig. 4",
            "learning rate",
            "steps",
            "alpha",
            "beta",
            "what it shows, in the paper's words",
        ),
        rows=[
            (name, *numbers, "finds shortcuts to reach the local minimum")
            for name, *numbers in (
                ("Gradient descent", "0.1", "100", "0.2", "1"),
                ("RMSProp", "0.02", "150", "0.3", "1"),
                ("Adam", "0.02", "250", "0.4", "0.1"),
                ("Lookahead", "0.01", "600", "0.1", "1"),
                ("Adabound", "0.4", "300", "0.5", "1"),
            )
        ],
        remark=(
            "The paper tells neither the starting point nor any setting. All"
            " are the authors' code's here, the same for every method: the"
            " start, the learning rates, steps, alpha and beta above, RMSProp's"
            " decay 0.99 and eps 0.1, Adam's decays 0.8 and 0.999 and eps 0.1,"
            " Lookahead around gradient descent with k = 5 and 0.5, AdaBound's"
            " final rate 0.02 and gamma 0.5, the network and how it starts, and"
            " that theta has the model's optimizer and learning rate. These"
            " alphas are 10 to 50 times the 0.01 that the paper takes in its"
            " experiments at most. That code draws theta with one fixed seed an"
            " optimizer, and the figure has one run of each; here every seed"
            " draws another theta. Two things differ: the remainder is Eq. 7's,"
            " where that code has half of the first-order term (a mean over the"
            " two coordinates in place of the inner product); and Lookahead"
            " synchronizes after every 5th step, as its own paper has it, there"
            " after the 1st, the 6th and so on. Noise in place of the network"
            " is from Table VI, which has it on CIFAR-100 and its error rate"
            " alone."
        ),
    ),
    pictures=functools.partial(
        paths.pictures, surface=surface.surface, start=surface.START
    ),
    tables="GAL, Fig. 4",
    x_label="fiftieth of the run's steps",
    steps=lambda settings: 1,
)
