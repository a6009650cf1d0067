"""A small Transformer on a mesh of 4 x 2 devices: FSDP and tensor parallelism.

Layers are stacked, AGR treats each layer's kernel as a matrix of its own, and
GAL adjusts logits whose vocabulary is split.
"""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import optax

from optaxmods import GradientAdjuster, adamw_agr, adjuster_params, gal

BATCH, TIME, WIDTH, LAYERS, VOCABULARY = 16, 16, 32, 4, 64
# "data" splits the batch and, as FSDP does, one axis of each kernel.
KERNELS = {
    "embedding": ((VOCABULARY, WIDTH), P("model", "data")),
    "qkv": ((LAYERS, WIDTH, 3 * WIDTH), P(None, "data", "model")),
    "out": ((LAYERS, WIDTH, WIDTH), P(None, "model", "data")),
    "up": ((LAYERS, WIDTH, 4 * WIDTH), P(None, "data", "model")),
    "down": ((LAYERS, 4 * WIDTH, WIDTH), P(None, "model", "data")),
    "logits": ((WIDTH, VOCABULARY), P("data", "model")),
}


def init(key):
    keys = jax.random.split(key, len(KERNELS))
    return {
        name: jax.random.normal(key, shape) * shape[-2] ** -0.5
        for key, (name, (shape, _)) in zip(keys, KERNELS.items(), strict=True)
    }


def draw(key):
    """Sequences that count upwards, each from a start of its own."""
    starts = jax.random.randint(key, (BATCH, 1), 0, VOCABULARY)
    return (starts + jnp.arange(TIME + 1)[None]) % VOCABULARY


def logits_of(params, tokens):
    def layer(x, kernels):
        q, k, v = jnp.split(jax.nn.standardize(x) @ kernels["qkv"], 3, -1)
        heads = [part.reshape(*x.shape[:2], 4, -1) for part in (q, k, v)]
        mixed = jax.nn.dot_product_attention(*heads, is_causal=True)
        x = x + mixed.reshape(x.shape) @ kernels["out"]
        hidden = jax.nn.gelu(jax.nn.standardize(x) @ kernels["up"])
        return x + hidden @ kernels["down"], None

    stacked = {name: params[name] for name in ("qkv", "out", "up", "down")}
    x, _ = jax.lax.scan(layer, params["embedding"][tokens], stacked)
    return x @ params["logits"]


adjuster = GradientAdjuster(hidden_sizes=(32,))
tx = optax.chain(
    gal(adjuster, VOCABULARY), adamw_agr(3e-3, reduction_axes=(-2, -1))
)


def step(params, state, tokens):
    def objective(params, theta):
        logits = logits_of(params, tokens[:, :-1])
        return adjuster.loss(
            theta,
            logits,
            lambda z: optax.softmax_cross_entropy_with_integer_labels(
                z, tokens[:, 1:]
            ),
        )

    grad_fn = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    (loss, _), (grads, taught) = grad_fn(params, adjuster_params(state))
    updates, state = tx.update(grads, state, params, adjuster_grads=taught)
    return optax.apply_updates(params, updates), state, loss


def main():
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    axis_types = (AxisType.Auto,) * 2
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=axis_types)
    split = {k: NamedSharding(mesh, spec) for k, (_, spec) in KERNELS.items()}
    with jax.set_mesh(mesh):
        params = jax.device_put(init(jax.random.key(0)), split)
        # Moments are split as their parameters are, everything else is whole.
        state = jax.jit(tx.init)(params)
        kept = jax.tree.map(lambda leaf: leaf.sharding, (params, state))
        batch = jax.jit(draw, out_shardings=NamedSharding(mesh, P("data")))
        train_step = jax.jit(
            step, donate_argnums=(0, 1), out_shardings=(*kept, None)
        )
        for number in range(31):
            tokens = batch(jax.random.key(number))
            params, state, loss = train_step(params, state, tokens)
            if number % 10 == 0:
                print(f"step {number:2}: loss {loss:.3f}")
    for name, moment in state[1][0].mu.items():
        print(f"{name}: {params[name].sharding.spec}", end="")
        print(f", its moment {moment.sharding.spec}")


if __name__ == "__main__":
    main()
