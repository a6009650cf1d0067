"""Networks some of whose gradients are zero in theory, or nearly so."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.models.language import CausalAttention

# Parameters on which the loss does not depend, by the end of their paths.
WITHOUT_GRADIENT = ("before_norm/bias", "key/bias")


class Normalized(nn.Module):
    """Two dense layers, with batch normalization and ReLU between.

    The mean that the normalization takes off takes the first bias along.
    """

    width: int = 64
    num_classes: int = 10
    dtype: str = "float32"  # Of the computation; parameters are float32.

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = images.reshape(images.shape[0], -1)
        hidden = nn.Dense(self.width, dtype=self.dtype, name="before_norm")(
            features
        )
        hidden = nn.BatchNorm(use_running_average=not train, dtype=self.dtype)(
            hidden
        )
        logits = nn.Dense(self.num_classes, dtype=self.dtype)(nn.relu(hidden))
        return logits.astype(jnp.float32)


class RowAttention(nn.Module):
    """A transformer over an image's rows.

    A key's bias adds the same to all scores that a softmax turns into shares.
    """

    width: int = 32
    heads: int = 4
    layers: int = 2
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        rows = images[..., 0]
        small = nn.initializers.normal(0.02)
        shape = (rows.shape[1], self.width)
        positions = self.param("positions", small, shape)
        features = nn.Dense(self.width)(rows) + positions[None]
        for _ in range(self.layers):
            normal = nn.LayerNorm()(features)
            features = features + CausalAttention(self.heads)(normal)
            hidden = nn.gelu(nn.Dense(2 * self.width)(nn.LayerNorm()(features)))
            features = features + nn.Dense(self.width)(hidden)
        pooled = nn.LayerNorm()(features).mean(axis=1)
        return nn.Dense(self.num_classes)(pooled)


class Sigmoids(nn.Module):
    """Dense layers with sigmoids between, through which gradients vanish."""

    width: int = 64
    depth: int = 5
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = images.reshape(images.shape[0], -1)
        for _ in range(self.depth):
            features = nn.sigmoid(nn.Dense(self.width)(features))
        return nn.Dense(self.num_classes)(features)
