"""Wrong labels and heavy-tailed gradients."""

from collections.abc import Sequence
import math
from typing import Any, TypeVar

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.data import Examples
from benchmarks.study import Curve, Metric

Shown = TypeVar("Shown", Metric, Curve)


def mislabel(
    examples: Examples, share: float, num_classes: int, seed: int = 0
) -> Examples:
    """Gives a share of the examples a wrong label, each other class alike.

    The same examples are mislabelled for every method and every run.
    """
    generator = np.random.default_rng(seed)
    labels = np.array(examples.labels)
    count = round(share * len(labels))
    wrong = generator.permutation(len(labels))[:count]
    shift = generator.integers(1, num_classes, count)
    labels[wrong] = (labels[wrong] + shift) % num_classes
    return examples._replace(labels=jnp.asarray(labels))


def labelled_wrongly(shown: Sequence[Shown]) -> list[Shown]:
    """Says of training losses that they are on the wrong labels, too."""
    return [
        each._replace(label=f"{each.label}, wrong labels included")
        if each.key == "train_loss"
        else each
        for each in shown
    ]


def student_t(
    key: jax.Array, degrees: float, shape: tuple[int, ...]
) -> jax.Array:
    """Draws from Student's t distribution, by Bailey's polar method (1994).

    ``jax.random.t`` draws a gamma variate for each entry by rejection, which
    takes many times as long as a training step.
    """
    radius_key, angle_key = jax.random.split(key)
    # A float32 draw can be 0, one in 2**23; it stands for half that spacing.
    uniform = jax.random.uniform(radius_key, shape, minval=2.0**-24)
    angle = jax.random.uniform(angle_key, shape, maxval=2 * math.pi)
    # u**(-2 / nu) - 1, exact also for u near 1.
    radius = jnp.sqrt(degrees * jnp.expm1(-2 / degrees * jnp.log(uniform)))
    return radius * jnp.cos(angle)


def student_t_noise(
    scale: float, degrees: float
) -> optax.GradientTransformationExtraArgs:
    """Adds Student's t noise to every entry of the gradients.

    With few degrees of freedom a few entries of each matrix get most of it:
    at 1, Cauchy noise, not even its mean exists. The noise is ``scale`` times
    the leaf's own root mean square times a draw, the same for every method,
    from the extra argument ``key``.
    """

    def update_fn(updates: Any, state: Any, params: Any = None, **extra: Any):
        del params
        flat, unravel = ravel_pytree(updates)
        # One draw for the whole tree: random numbers compile slowly.
        draws = unravel(student_t(extra["key"], degrees, flat.shape))
        noisy = jax.tree.map(
            lambda g, draw: g + scale * jnp.sqrt(jnp.mean(g**2)) * draw,
            updates,
            draws,
        )
        return noisy, state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update_fn
    )
