"""A language model in Flax NNX: GAL without ever making all logits.

    python docs/examples/nnx_text.py wiki.train.tokens

Without a text it reads the modules of the standard library.
"""

import argparse
import collections
import functools
import itertools
import pathlib
import sysconfig

from flax import nnx
import jax.numpy as jnp
import numpy as np
import optax

from optaxmods import GradientAdjuster, gal, value_and_adjusted_grad

WORDS, WIDTH, LAYERS = 16384, 128, 2
BATCH, LENGTH = 16, 128


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in "ab"])
        self.attention = nnx.MultiHeadAttention(
            num_heads=4, in_features=WIDTH, decode=False, rngs=rngs
        )
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x, mask):
        x += self.attention(self.norms[0](x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norms[1](x))))


class Transformer(nnx.Module):
    def __init__(self, rngs):
        self.words = nnx.Embed(WORDS, WIDTH, rngs=rngs)
        self.positions = nnx.Param(jnp.zeros((LENGTH, WIDTH)))
        self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, WORDS, rngs=rngs)

    def hidden(self, tokens):
        """All but the head."""
        x = self.words(tokens) + self.positions[...]
        mask = nnx.make_causal_mask(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


losses_of = optax.softmax_cross_entropy_with_integer_labels


def gal_step(adjuster, model, optimizer, tokens):
    def objective(model, theta):
        graphdef, params = nnx.split(model.head)
        return adjuster.loss(
            theta,
            model.hidden(tokens[:, :-1]),
            losses_of,
            targets=tokens[:, 1:],
            head=(lambda params, x: nnx.merge(graphdef, params)(x), params),
        )

    grad_fn = value_and_adjusted_grad(
        objective, value_and_grad=nnx.value_and_grad
    )
    value, grads, extra_args = grad_fn(model, optimizer.opt_state)
    optimizer.update(model, grads, **extra_args)
    loss, metrics = value
    return loss, metrics["acceptance"]


def plain_step(model, optimizer, tokens):
    def objective(model):
        logits = model.head(model.hidden(tokens[:, :-1]))
        return losses_of(logits, tokens[:, 1:]).mean()

    loss, grads = nnx.value_and_grad(objective)(model)
    optimizer.update(model, grads)
    return loss


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
    model = Transformer(nnx.Rngs(0))
    adamw = optax.adamw(1e-3)
    optimizer = nnx.Optimizer(model, adamw, wrt=nnx.Param)

    def compiled(step, optimizer):
        jitted = nnx.jit(step, donate_argnums=(0, 1))
        return jitted.lower(model, optimizer, tokens).compile()

    plain = compiled(plain_step, optimizer)
    tx = optax.chain(gal(adjuster), adamw)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    step = compiled(functools.partial(gal_step, adjuster), optimizer)
    for name, each in ("plain", plain), ("GAL", step):
        print(f"{name} reserves {reserved(each):.0f} MiB")
    chosen = itertools.islice(batches, options.steps)
    for number, tokens in enumerate(chosen):
        loss, acceptance = step(model, optimizer, tokens)
        if number % 20 == 0 or number == options.steps - 1:
            print(f"{number}: loss {loss:.3f}, accepted {acceptance:.3f}")


if __name__ == "__main__":
    main()
