"""A language model that is small enough for a CPU."""

import flax.linen as nn
import jax

# Of the embeddings, as in GPT-2: at a unit scale the logits would start far
# from even.
_SMALL = nn.initializers.normal(0.02)


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


class CausalAttention(nn.Module):
    """Self-attention to oneself and to what came before.

    Every kernel is a plain matrix, which leaves no doubt what one matrix is to
    an optimizer that treats matrices.
    """

    heads: int

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
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        return nn.Dense(width, name="output")(mixed.reshape(inputs.shape))
