"""A Transformer with stacked layers, on one device and on meshes of any kind.

Its leaves are split as in FSDP, as in tensor parallelism, or both ways.
"""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np

BATCH, TIME, WIDTH, LAYERS, VOCABULARY = 8, 4, 8, 2, 16
SPECS = {
    "embedding": P(("data", "model"), None),
    "layers": {
        "query": P(None, "data", None),
        "key": P(None, "data", None),
        "value": P(None, "data", "model"),
        "output": P(None, "model", "data"),
        "up": P(None, None, "model"),
        "down": P(None, "model", None),
        "scale": P(None, None),
    },
    "logits": P("data", "model"),
    "bias": P("model"),
}
TOKENS = P("data", None)


def make_params(dtype=jnp.float32):
    wide = 4 * WIDTH
    shapes = {
        "embedding": (VOCABULARY, WIDTH),
        "layers": {
            "query": (LAYERS, WIDTH, WIDTH),
            "key": (LAYERS, WIDTH, WIDTH),
            "value": (LAYERS, WIDTH, WIDTH),
            "output": (LAYERS, WIDTH, WIDTH),
            "up": (LAYERS, WIDTH, wide),
            "down": (LAYERS, wide, WIDTH),
            "scale": (LAYERS, WIDTH),
        },
        "logits": (WIDTH, VOCABULARY),
        "bias": (VOCABULARY,),
    }
    generator = np.random.default_rng(0)
    return jax.tree.map(
        lambda shape: jnp.asarray(
            generator.standard_normal(shape) / WIDTH**0.5, dtype
        ),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def make_tokens():
    generator = np.random.default_rng(1)
    return jnp.asarray(
        generator.integers(VOCABULARY, size=(BATCH, TIME + 1)), jnp.int32
    )


def shardings(mesh, specs):
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)


def split_as_params(tree):
    """Automatic axes leave to the compiler how gradients are split."""
    if AxisType.Auto in jax.sharding.get_abstract_mesh().axis_types:
        return jax.lax.with_sharding_constraint(tree, SPECS)
    return tree


def logits_of(params, tokens):
    """The logits of each next token, [BATCH, TIME, VOCABULARY]."""
    hot = jax.nn.one_hot(tokens, VOCABULARY, dtype=params["bias"].dtype)
    x = _dot("btv,vw->btw", hot, params["embedding"])
    x, _ = jax.lax.scan(_layer, x, params["layers"])
    logits = _dot("btw,wv->btv", x, params["logits"], split="model")
    return logits + params["bias"][None, None]


def cross_entropy(logits, labels):
    """As a product with one-hot labels, which any split of the logits takes."""
    hot = jax.nn.one_hot(labels, VOCABULARY, dtype=logits.dtype)
    return -jnp.sum(hot * jax.nn.log_softmax(logits), axis=-1)


def _layer(x, layer):
    normed = x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-6)
    normed = normed * layer["scale"][None, None]
    query, key = (
        _dot("btw,wk->btk", normed, layer[name]) for name in ("query", "key")
    )
    value = _dot("btw,wk->btk", normed, layer["value"], split="model")
    scores = _dot("btk,bsk->bts", query, key) / WIDTH**0.5
    causal = jnp.tril(jnp.ones((TIME, TIME), bool))[None]
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e9))
    mixed = _dot("bts,bsk->btk", weights, value, split="model")
    x = x + _dot("btk,kw->btw", mixed, layer["output"])
    hidden = jax.nn.gelu(_dot("btw,wh->bth", x, layer["up"], split="model"))
    return x + _dot("bth,hw->btw", hidden, layer["down"]), None


def _dot(equation, a, b, split=None):
    """Explicit axes have to be told how a product is split."""
    axis_types = jax.sharding.get_abstract_mesh().axis_types
    is_explicit = AxisType.Explicit in axis_types
    out = P("data", None, split) if is_explicit else None
    return jnp.einsum(equation, a, b, out_sharding=out)
