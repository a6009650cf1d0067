"""A language model in Flax Linen: GAL without ever making all logits.

    python docs/examples/linen_text.py wiki.train.tokens

Without a text it reads the modules of the standard library.
"""

import argparse
import collections
import functools
import itertools
import pathlib
import sysconfig

from flax import linen as nn
from flax.training import train_state
import jax
import numpy as np
import optax

from optaxmods import GradientAdjuster, gal, value_and_adjusted_grad
from optaxmods.flax import TrainState

WORDS, WIDTH, LAYERS = 16384, 128, 2
BATCH, LENGTH = 16, 128


class Transformer(nn.Module):
    """All but the last layer, whose kernel is the table of embeddings."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(WORDS, WIDTH, name="words")(tokens)
        x += self.param("positions", nn.initializers.zeros, (LENGTH, WIDTH))
        mask = nn.make_causal_mask(tokens)
        for _ in range(LAYERS):
            attention = nn.MultiHeadDotProductAttention(num_heads=4)
            x += attention(nn.LayerNorm()(x), mask=mask)
            x += nn.Dense(WIDTH)(
                nn.gelu(nn.Dense(4 * WIDTH)(nn.LayerNorm()(x)))
            )
        return nn.LayerNorm()(x)


def logits_of(table, hidden):
    return hidden @ table.T


losses_of = optax.softmax_cross_entropy_with_integer_labels


def gal_step(adjuster, state, tokens):
    def objective(params, theta):
        return adjuster.loss(
            theta,
            state.apply_fn({"params": params}, tokens[:, :-1]),
            losses_of,
            targets=tokens[:, 1:],
            head=(logits_of, params["words"]["embedding"]),
        )

    grad_fn = value_and_adjusted_grad(objective)
    (loss, metrics), grads, extra_args = grad_fn(state.params, state.opt_state)
    state = state.apply_gradients(grads=grads, extra_args=extra_args)
    return state, (loss, metrics["acceptance"])


def plain_step(state, tokens):
    def objective(params):
        hidden = state.apply_fn({"params": params}, tokens[:, :-1])
        logits = logits_of(params["words"]["embedding"], hidden)
        return losses_of(logits, tokens[:, 1:]).mean()

    loss, grads = jax.value_and_grad(objective)(state.params)
    return state.apply_gradients(grads=grads), loss


def batches_of(path):
    """Batches of consecutive words; all but the most frequent are word 0."""
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    paths = [path] if path else sorted(library.glob("*.py"))
    text = [word for path in paths for word in path.read_text("utf8").split()]
    known = collections.Counter(text).most_common(WORDS - 1)
    numbers = {word: number for number, (word, _) in enumerate(known, 1)}
    words = np.array([numbers.get(word, 0) for word in text], np.int32)
    rows = len(words) // (LENGTH + 1)
    rows = words[: rows * (LENGTH + 1)].reshape(rows, LENGTH + 1)
    order = np.random.default_rng(0)
    while True:
        yield rows[order.choice(len(rows), BATCH)]


def reserved(step):
    """MiB beside the arguments and results of a compiled step."""
    return step.memory_analysis().temp_size_in_bytes / 2**20


def main():
    parser = argparse.ArgumentParser(description="Trains on a text.")
    parser.add_argument("text", type=pathlib.Path, nargs="?")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--magnitude", type=float, default=1e-3)
    options = parser.parse_args()
    # The functions of the default network, in less than a quarter of its size.
    adjuster = GradientAdjuster(
        hidden_sizes=(32,), magnitude=options.magnitude, num_features=WORDS
    )
    batches = batches_of(options.text)
    tokens = next(batches)
    model = Transformer()
    params = model.init(jax.random.key(0), tokens[:, :-1])["params"]
    adamw = optax.adamw(1e-3)
    plain = train_state.TrainState.create(
        apply_fn=model.apply, params=params, tx=adamw
    )
    state = TrainState.create(
        apply_fn=model.apply,
        params=params,
        tx=optax.chain(gal(adjuster), adamw),
    )

    def compiled(step, state):
        return jax.jit(step, donate_argnums=0).lower(state, tokens).compile()

    step = compiled(functools.partial(gal_step, adjuster), state)
    for name, each in ("plain", compiled(plain_step, plain)), ("GAL", step):
        print(f"{name} reserves {reserved(each):.0f} MiB")
    chosen = itertools.islice(batches, options.steps)
    for number, tokens in enumerate(chosen):
        state, (loss, acceptance) = step(state, tokens)
        if number % 20 == 0 or number == options.steps - 1:
            print(f"{number}: loss {loss:.3f}, accepted {acceptance:.3f}")


if __name__ == "__main__":
    main()
