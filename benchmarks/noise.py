"""Wrong labels and heavy-tailed gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.data import Examples


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
        leaves, treedef = jax.tree.flatten(updates)
        keys = jax.random.split(extra["key"], len(leaves))
        noisy = [
            leaf
            + scale
            * jnp.sqrt(jnp.mean(leaf**2))
            * jax.random.t(one, degrees, leaf.shape, leaf.dtype)
            for one, leaf in zip(keys, leaves, strict=True)
        ]
        return treedef.unflatten(noisy), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update_fn
    )
