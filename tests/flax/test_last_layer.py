"""Flax's last layers inside GAL's blocks: the gradients of the whole form."""

from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster
from tests.helpers.gal_problem import assert_close

WORDS, WIDTH = 11, 4
ADJUSTER = GradientAdjuster((4, 3), 0.09, 3.0)
THETA = ADJUSTER.init(jax.random.key(1), WORDS)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, WORDS, (2, 7)))


def mean_loss(theta, hidden, layer, params, inside):
    """Of the next token's logits, which a layer makes, in blocks or at once."""
    losses_of = optax.softmax_cross_entropy_with_integer_labels
    labels = TOKENS[:, 1:]
    if not inside:
        logits = layer(params, hidden)
        return ADJUSTER.loss(theta, logits, losses_of, targets=labels)
    return ADJUSTER.loss(
        theta,
        hidden,
        losses_of,
        targets=labels,
        head=(layer, params),
        block_size=5,
    )


class Linen(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        return nn.tanh(nn.Embed(WORDS, WIDTH, name="words")(tokens))


def linen(tied, inside):
    head = nn.Dense(WORDS)

    def loss(params, theta):
        hidden = Linen().apply({"params": params["body"]}, TOKENS[:, :-1])
        if tied:
            table = params["body"]["words"]["embedding"]
            layer = lambda table, hidden: hidden @ table.T  # noqa: E731
            return mean_loss(theta, hidden, layer, table, inside)
        layer = lambda params, hidden: head.apply(  # noqa: E731
            {"params": params}, hidden
        )
        return mean_loss(theta, hidden, layer, params["head"], inside)

    params = {
        "body": Linen().init(jax.random.key(0), TOKENS)["params"],
        "head": head.init(jax.random.key(2), jnp.zeros((1, WIDTH)))["params"],
    }
    grad_fn = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    return jax.jit(grad_fn)(params, THETA)


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.words = nnx.Embed(WORDS, WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, WORDS, rngs=rngs)


def of_nnx(tied, inside):
    def loss(model, theta):
        hidden = jnp.tanh(model.words(TOKENS[:, :-1]))
        if tied:
            table = model.words.embedding[...]
            layer = lambda table, hidden: hidden @ table.T  # noqa: E731
            return mean_loss(theta, hidden, layer, table, inside)
        graphdef, params = nnx.split(model.head)
        layer = lambda params, x: nnx.merge(graphdef, params)(x)  # noqa: E731
        return mean_loss(theta, hidden, layer, params, inside)

    grad_fn = nnx.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    value, (grads, taught) = nnx.jit(grad_fn)(Nnx(), THETA)
    return value, (nnx.to_pure_dict(grads), taught)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("gradients", [linen, of_nnx])
def test_as_the_layer_outside(gradients, tied):
    got, want = gradients(tied, True), gradients(tied, False)
    assert_close(got, want)
    reached = jnp.any(got[1][0]["head"]["kernel"] != 0)
    assert reached != tied
