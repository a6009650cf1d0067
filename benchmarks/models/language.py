"""Language models that are small enough for a CPU."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Of the embeddings, as in GPT-2: at a unit scale the logits would start far
# from even.
_SMALL = nn.initializers.normal(0.02)


def waves(places: jax.Array, width: int) -> jax.Array:
    """Sines and cosines of places (Vaswani et al., 2017), [places, width]."""
    rates = jnp.exp(-math.log(10_000) * jnp.arange(width // 2) / (width // 2))
    angles = places[:, None] * rates[None]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class SmallTransformer(nn.Module):
    """A causal transformer, with the normalization before each part."""

    vocabulary: int
    width: int = 64
    heads: int = 4
    layers: int = 2
    length: int = 128  # The longest sequence.
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits of each next token.

        Args:
            tokens: Integers of shape [batch, time].
            train: Whether to drop out.

        Returns:
            Array of shape [batch, time, vocabulary].
        """
        time = tokens.shape[1]
        if time > self.length:
            raise ValueError(
                f"a sequence of {time} tokens is longer than {self.length}"
            )
        positions = self.param("positions", _SMALL, (self.length, self.width))
        features = nn.Embed(self.vocabulary, self.width, embedding_init=_SMALL)(
            tokens
        )
        features = self._drop(features + positions[None, :time], train)
        for _ in range(self.layers):
            attended = CausalAttention(self.heads)(nn.LayerNorm()(features))
            features = features + self._drop(attended, train)
            hidden = nn.Dense(4 * self.width)(nn.LayerNorm()(features))
            output = nn.Dense(self.width)(nn.gelu(hidden))
            features = features + self._drop(output, train)
        return nn.Dense(self.vocabulary)(nn.LayerNorm()(features))

    def _drop(self, features: jax.Array, train: bool) -> jax.Array:
        return nn.Dropout(self.dropout, deterministic=not train)(features)


class SelfAttention(nn.Module):
    """Self-attention; a causal one is to oneself and to what came before.

    Every kernel is a plain matrix, which leaves no doubt what one matrix is to
    an optimizer that treats matrices.
    """

    heads: int
    is_causal: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns features of the inputs' shape."""
        batch, time, width = inputs.shape
        query, key, value = (
            nn.Dense(width, name=name)(inputs).reshape(
                batch, time, self.heads, width // self.heads
            )
            for name in ("query", "key", "value")
        )
        mixed = jax.nn.dot_product_attention(
            query, key, value, is_causal=self.is_causal
        )
        return nn.Dense(width, name="output")(mixed.reshape(inputs.shape))


# A class of its own, as weights are drawn by the names of modules.
class CausalAttention(SelfAttention):
    """Self-attention to oneself and to what came before."""

    is_causal: bool = True


class EncoderLayer(nn.Module):
    """Self-attention and two dense layers, each normalized before."""

    heads: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Returns features of the same shape, [batch, time, width]."""
        width = features.shape[-1]
        features += SelfAttention(self.heads)(nn.LayerNorm()(features))
        hidden = nn.Dense(4 * width)(nn.LayerNorm()(features))
        return features + nn.Dense(width)(nn.gelu(hidden))


def _small_waves(key: Any, shape: tuple[int, int]) -> jax.Array:
    """Places that begin as waves of the size of embeddings."""
    del key
    return 0.02 * math.sqrt(2) * waves(jnp.arange(shape[0]), shape[1])


class SmallAlbert(nn.Module):
    """ALBERT (Lan et al., 2020), small: all layers share their weights.

    It tells the words that are masked, and whether the two halves of a text
    stand in their order. The normalization is before each part, and places
    begin as waves.
    Where a word stands tells its half, so that halves have no embedding.
    """

    vocabulary: int  # Marks included.
    masked: int  # How many words of a text.
    embedding: int = 32
    width: int = 64
    heads: int = 4
    layers: int = 2

    @nn.compact
    def __call__(
        self, inputs: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the logits of the order and of the masked words.

        Args:
            inputs: Integers of shape [batch, time + masked]: the first of a
                text's tokens stands for the whole of it; after them come the
                places of those that are masked.
            train: Whether this is training, which is no different.

        Returns:
            Arrays of shape [batch, 2] and [batch, masked, vocabulary].
        """
        del train
        time = inputs.shape[1] - self.masked
        tokens, places = inputs[:, :time], inputs[:, time:]
        embed = nn.Embed(self.vocabulary, self.embedding, embedding_init=_SMALL)
        positions = self.param(
            "positions", _small_waves, (time, self.embedding)
        )
        features = nn.Dense(self.width)(
            nn.LayerNorm()(embed(tokens) + positions[None])
        )
        layer = EncoderLayer(self.heads)
        for _ in range(self.layers):
            features = layer(features)
        features = nn.LayerNorm()(features)
        pooled = jnp.tanh(nn.Dense(self.width)(features[:, 0]))
        chosen = jnp.take_along_axis(features, places[..., None], axis=1)
        hidden = nn.gelu(nn.Dense(self.embedding)(chosen))
        words = embed.attend(nn.LayerNorm()(hidden))
        bias = self.param("bias", nn.initializers.zeros, (self.vocabulary,))
        return nn.Dense(2)(pooled), words + bias[None, None]
