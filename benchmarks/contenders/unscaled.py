"""An adjustment of one length, whatever the gradient's: Table VI's control."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optaxmods import GradientAdjuster


class Unscaled(NamedTuple):
    r"""Algorithm 1 with :math:`\tilde v = \alpha v / |v|` in place of Eq. 4.

    How long that is beside the gradient depends on whose gradient it is: that
    of the mean loss of N examples has an N-th of the length of an example's
    own, and the tentative step goes as much less far.
    """

    adjuster: GradientAdjuster
    gradient_of: str  # "example" or "batch", the mean loss of all.

    @property
    def num_features(self) -> int | None:
        return self.adjuster.num_features

    def loss(
        self,
        theta: Any,
        features: jax.Array,
        loss_fn: Callable[[jax.Array], jax.Array],
        *,
        key: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the mean loss, whose gradients in the features are adjusted.

        Args:
            theta: The network's parameters, which do not learn.
            features: Array of shape [examples, d].
            loss_fn: Maps the features to the examples' losses.
            key: Of a network that is noise.
        """
        network = self.adjuster.network
        losses, pullback = jax.vjp(loss_fn, features)
        (gradient,) = pullback(jnp.ones_like(losses))
        count = losses.size if self.gradient_of == "batch" else 1
        if network is None:
            v = self.adjuster.apply(theta, features)
        else:
            v = network[1](theta, features, key)
        change = self.adjuster.magnitude * v / _lengths(v)
        moved = gradient / count + change
        tried = loss_fn(features - self.adjuster.tentative_step * moved)
        accepted = (tried <= losses)[:, None]
        added = jnp.where(accepted, change, 0) * count / losses.size
        # Zero, with the added vector for a gradient.
        nothing = features - jax.lax.stop_gradient(features)
        adjusted = jnp.sum(jax.lax.stop_gradient(added) * nothing)
        metrics = {"acceptance": jnp.mean(accepted.astype(jnp.float32))}
        return losses.mean() + adjusted, metrics


_lengths = functools.partial(jnp.linalg.norm, axis=-1, keepdims=True)
