"""The contenders of the GAL studies, and the controls beside them."""

from collections.abc import Callable, Mapping, Sequence
import functools
import math
from typing import Any, NamedTuple
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from benchmarks.contenders.adabound import adabound
from benchmarks.contenders.lookahead import lookahead
from benchmarks.contenders.makers import (
    MakeOptimizer,
    WithAdjuster,
    by_content,
)
from benchmarks.contenders.unscaled import Unscaled
from benchmarks.study import Method
import optaxmods


def _noise(draw: Callable[..., jax.Array]) -> tuple[Callable, Callable]:
    def apply(theta: Any, features: jax.Array, key: jax.Array) -> jax.Array:
        del theta
        return draw(key, features.shape)

    # Its theta is a number that it does not look at.
    return lambda key, features: jnp.zeros([]), apply


class Convolutions(nn.Module):
    """3x3 convolutions of the features as a picture, as in Table VIII.

    Their mean over the picture goes through a last, dense layer. The paper
    tells of no activation; without one the mean would see little but sums.
    """

    channels: Sequence[int]

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Returns an array of the features' shape, [..., d]."""
        size = features.shape[-1]
        height = max(n for n in range(1, math.isqrt(size) + 1) if size % n == 0)
        x = features.reshape(-1, height, size // height, 1)
        for channels in self.channels:
            x = nn.relu(nn.Dense(channels)(_neighbours(x)))
        return nn.Dense(size)(x.mean(axis=(1, 2))).reshape(features.shape)


def _neighbours(x: jax.Array) -> jax.Array:
    """Returns each place's 3x3 window, with zeros around the picture."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [
        padded[:, row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
    ]
    return jnp.concatenate(windows, axis=-1)


NOISE = _noise(jax.random.normal)
UNIFORM = _noise(functools.partial(jax.random.uniform, minval=-1.0))
# Each of the sizes of the hidden layers, where it has some.
NETWORKS = {
    "noise": lambda sizes: NOISE,
    "uniform": lambda sizes: UNIFORM,
    "convolutions": lambda sizes: Convolutions(tuple(sizes)),
}
NOISES = ("noise", "uniform")


class Form(NamedTuple):
    """A way to adjust gradients."""

    description: str
    # Of ``GradientAdjuster``, the network by its name, and whether theta
    # learns, or stays as it was drawn.
    arguments: Mapping[str, Any]
    claimed: bool = False


FORMS = {
    "gal": Form(
        "GAL, Algorithm 1: each example's adjustment by itself, theta on Adam",
        {"learns": True},
        claimed=True,
    ),
    "gal-frozen": Form(
        "the same with theta as it was drawn, a control", {"learns": False}
    ),
    "gal-noise": Form(
        "the same with normal noise in place of the network, a control",
        {"network": "noise", "learns": False},
    ),
    "gal-released": Form(
        "GAL as the released code has it: one decision a batch, a step along"
        " the mean loss's gradient, theta on Adam",
        {"convention": "released", "learns": True},
        claimed=True,
    ),
}
UNIFORM_FORM = Form(
    "the same with uniform noise in place of the network, a control",
    {"network": "uniform", "learns": False},
)
# The rows of Table VI, those without the norm in two ways to read them.
TABLE_VI = {
    "gal-noise": FORMS["gal-noise"],
    "gal-uniform": UNIFORM_FORM,
}
TABLE_VI |= {
    f"{form}-unscaled{suffix}": Form(
        f"{what} noise as long as alpha, not alpha times the gradient's length,"
        f" added to the gradient of {whose}",
        {**TABLE_VI[form].arguments, "gradient_of": of},
    )
    for form, what in (("gal-noise", "normal"), ("gal-uniform", "uniform"))
    for suffix, of, whose in (
        ("", "example", "an example's own loss"),
        ("-mean", "batch", "the batch's mean loss, which is smaller"),
    )
}


# Plain SGD takes another rate than Adam, and so does what ends as it.
SGD = {"rate_factor": 100}
PLAIN = {
    "adam": Method("Adam, as optax has it"),
    "adamw": Method("AdamW, as optax has it"),
    "sgd": Method(
        f"SGD, at {SGD['rate_factor']} times Adam's learning rate",
        arguments=SGD,
    ),
    "lookahead": Method(
        f"Lookahead around SGD, at {SGD['rate_factor']} times Adam's learning"
        " rate",
        arguments=SGD,
    ),
    "adabound": Method(
        "AdaBound, whose rate ends at 100 times Adam's",
        arguments={"final_factor": 100},
    ),
}


def methods(
    *names: str,
    plain: str = "adam",
    hidden_sizes: Sequence[int] | None = None,
    **more: Any,
) -> dict[str, Method]:
    """Returns an optimizer, and the forms of these names before it.

    Args:
        names: Keys of ``FORMS`` or of ``TABLE_VI``.
        plain: A key of ``PLAIN``.
        hidden_sizes: Of the adjustment network, where they are the methods'.
        more: Further arguments of the forms, such as ``magnitude``.
    """
    sizes = {"hidden_sizes": hidden_sizes} if hidden_sizes else {}
    optimizer = PLAIN[plain]
    contenders = {plain: optimizer}
    for name in names:
        form = (FORMS | TABLE_VI)[name]
        # Noise has no layers.
        own = {} if form.arguments.get("network") in NOISES else sizes
        contenders[f"{name}+{plain}"] = Method(
            form.description,
            plain,
            claimed=form.claimed,
            arguments={**optimizer.arguments, **form.arguments, **own, **more},
        )
    return contenders


@by_content
def maker(
    name: str,
    num_features: int,
    magnitude: float,
    tentative_step: float,
    *,
    weight_decay: float = 0.0,
    rate_factor: float = 1.0,
    final_factor: float = 100.0,
    learns: bool = True,
    theta_eps: float = 1e-8,
    network: str | None = None,
    gradient_of: str | None = None,
    **adjustment: Any,
) -> MakeOptimizer:
    """Returns a function of the learning rate that makes a method.

    Args:
        name: A key of ``PLAIN``, or a key of ``FORMS``, a plus and one of
            these.
        num_features: Of what GAL adjusts.
        magnitude: GAL's.
        tentative_step: GAL's.
        weight_decay: That of AdamW.
        rate_factor: SGD's learning rate in those that it is called with.
        final_factor: The rate that AdaBound ends at, likewise.
        learns: Whether theta does, or stays as it was drawn.
        theta_eps: Of theta's Adam.
        network: A key of ``NETWORKS``; by default that of the sizes.
        gradient_of: Of ``Unscaled``, which takes the adjuster's place.
        adjustment: What else ``GradientAdjuster`` takes.
    """
    *prefix, last = name.split("+")
    sgd = lambda rate: optax.sgd(rate_factor * rate)  # noqa: E731
    plain = {
        "adam": optax.adam,
        "adamw": functools.partial(optax.adamw, weight_decay=weight_decay),
        "sgd": sgd,
        "lookahead": lambda rate: lookahead(sgd(rate)),
        "adabound": lambda rate: adabound(rate, final_factor * rate),
    }[last]
    if not prefix:
        return plain
    if network:
        sizes = adjustment.pop("hidden_sizes", ())
        adjustment["network"] = NETWORKS[network](sizes)
    with warnings.catch_warnings():
        # A study asks what the library warns of.
        warnings.simplefilter("ignore")
        inner = optaxmods.GradientAdjuster(
            magnitude=magnitude,
            tentative_step=tentative_step,
            num_features=num_features,
            **adjustment,
        )
    adjuster = Unscaled(inner, gradient_of) if gradient_of else inner

    def make(rate: Any, key: Any) -> optax.GradientTransformation:
        # At Adam's rate, which in the released code is the model's, too.
        teacher = optax.set_to_zero()
        if learns:
            teacher = optax.adam(rate, eps=theta_eps)
        return optax.chain(
            optaxmods.gal(inner, num_features, optimizer=teacher, key=key),
            plain(rate),
        )

    return WithAdjuster(adjuster, make)


def maker_at(
    name: str,
    num_features: int,
    learning_rate: float,
    *,
    magnitude: float = 0.0,
    beta: float = 1.0,
    **arguments: Any,
) -> MakeOptimizer:
    """Returns ``maker``'s with the paper's tentative step.

    Args:
        name: As of ``maker``.
        num_features: Likewise.
        learning_rate: What the method is going to be called with.
        magnitude: GAL's.
        beta: The tentative step in learning rates of the optimizer.
        arguments: What else ``maker`` takes.
    """
    step = beta * arguments.get("rate_factor", 1) * learning_rate
    return maker(name, num_features, magnitude, step, **arguments)
