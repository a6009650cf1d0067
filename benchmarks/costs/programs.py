"""Updates and training steps as programs to compile, for any devices.

A place says where an array goes, by its shape and by the mesh axes that are to
split it. On one device the axes are ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P
import optax

from optaxmods import GradientAdjuster

Shapes = Any  # A tree of jax.ShapeDtypeStruct.
WHOLE = P()
MESH_BLOCK = 1024  # Tokens, over all devices.
# Kernels are split over both axes, as FSDP and tensor parallelism do together.
COLUMN_PARALLEL, ROW_PARALLEL = P("data", "model"), P("model", "data")
EXAMPLES = P("data")


class Program(NamedTuple):
    """A function, what it is compiled for, and which arguments it may reuse."""

    function: Callable[..., Any]
    arguments: tuple[Shapes, ...]
    donated: tuple[int, ...] = ()


class Place(NamedTuple):
    """One device, or a mesh with the axes "data" and "model"."""

    device: Any
    mesh: Mesh | None = None

    @property
    def is_explicit(self) -> bool:
        return bool(self.mesh) and AxisType.Explicit in self.mesh.axis_types

    def sharding(self, spec: P) -> jax.sharding.Sharding:
        if self.mesh is None:
            return SingleDeviceSharding(self.device)
        return NamedSharding(self.mesh, spec)

    def array(
        self, shape: tuple[int, ...], spec: P = WHOLE, dtype: Any = jnp.float32
    ) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=self.sharding(spec))

    def gathered(self, kernel: jax.Array, spec: P) -> jax.Array:
        """A kernel as its layer needs it: gathered over "data", in bfloat16."""
        return self.split(kernel.astype(jnp.bfloat16), spec)

    def split(self, array: jax.Array, spec: P) -> jax.Array:
        if self.mesh is None:
            return array
        if self.is_explicit:
            return jax.sharding.reshard(array, self.sharding(spec))
        return jax.lax.with_sharding_constraint(array, self.sharding(spec))

    def product(
        self, subscripts: str, x: jax.Array, y: jax.Array, spec: P
    ) -> jax.Array:
        """An einsum whose result is split as told."""
        if self.mesh is not None and self.is_explicit:
            to = NamedSharding(self.mesh, spec)
            return jnp.einsum(subscripts, x, y, out_sharding=to)
        return self.split(jnp.einsum(subscripts, x, y), spec)


def on_mesh(devices: Any, shape: tuple[int, int], axis_type: AxisType) -> Place:
    """A place on some devices, in an array of NumPy of that shape."""
    grid = devices.reshape(shape)
    mesh = Mesh(grid, ("data", "model"), axis_types=(axis_type,) * 2)
    return Place(grid.flat[0], mesh)


def kernels(
    place: Place,
    count: int,
    shape: tuple[int, ...],
    spec: P = WHOLE,
    dtype: Any = jnp.float32,
) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        f"kernel_{index}": place.array(shape, spec, dtype)
        for index in range(count)
    }


def state_of(
    tx: optax.GradientTransformation, params: Shapes, place: Place
) -> Shapes:
    """The state's shapes: moments where their parameters are."""
    bare = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params
    )
    beside = place.sharding(P())

    def placed(leaf: Any, sharding: jax.sharding.Sharding) -> Any:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return optax.tree.map_params(
        tx,
        lambda leaf, param: placed(leaf, param.sharding),
        jax.eval_shape(tx.init, bare),
        params,
        transform_non_params=lambda leaf: placed(leaf, beside),
    )


def update(
    tx: optax.GradientTransformation, params: Shapes, place: Place
) -> Program:
    """The optimizer's update alone, of gradients that are there.

    Results come in the order of the arguments that they replace: JAX gives a
    donated buffer to the next result of its shape, and the memory of one moment
    to another would cost copies, which no trainer has.
    """
    tx = optax.with_extra_args_support(tx)

    def function(params, state, gradients, value):
        updates, state = tx.update(gradients, state, params, value=value)
        return optax.apply_updates(params, updates), state

    arguments = params, state_of(tx, params, place), params, place.array(())
    return Program(function, arguments, (0, 1))


def training(
    tx: optax.GradientTransformation,
    params: Shapes,
    place: Place,
    loss_fn: Callable[..., jax.Array],
    *batch: jax.ShapeDtypeStruct,
) -> Program:
    """A whole training step."""
    tx = optax.with_extra_args_support(tx)

    def function(params, state, *batch):
        value, gradients = jax.value_and_grad(loss_fn)(params, *batch)
        updates, state = tx.update(gradients, state, params, value=value)
        return optax.apply_updates(params, updates), state, value

    arguments = params, state_of(tx, params, place), *batch
    return Program(function, arguments, (0, 1))


def perceptron(
    tx: optax.GradientTransformation,
    place: Place,
    layers: int,
    width: int = 2048,
    examples: int = 2048,
) -> Program:
    """Training of square kernels in float32, computing in bfloat16.

    On a mesh every other kernel has its rows where the one before has its
    columns.
    """
    specs = [
        ROW_PARALLEL if index % 2 else COLUMN_PARALLEL
        for index in range(layers)
    ]

    def layer(x: jax.Array, kernel: jax.Array, index: int) -> jax.Array:
        is_row = index % 2
        whole = P("model", None) if is_row else P(None, "model")
        kernel = place.gathered(kernel, whole)
        to = P("data", None) if is_row else P("data", "model")
        return place.product("bi,io->bo", x, kernel, to)

    def loss_fn(params: Mapping[str, jax.Array], x, y) -> jax.Array:
        first, *others = params.values()
        x = layer(x, first, 0)
        for index, kernel in enumerate(others, 1):
            x = layer(jax.nn.relu(x), kernel, index)
        return jnp.mean((x - y).astype(jnp.float32) ** 2)

    features = P("data", None if layers % 2 == 0 else "model")
    shape = examples, width
    x = place.array(shape, EXAMPLES, jnp.bfloat16)
    y = place.array(shape, features, jnp.bfloat16)
    params = {
        f"kernel_{index}": place.array((width, width), spec)
        for index, spec in enumerate(specs)
    }
    return training(tx, params, place, loss_fn, x, y)


class Transformer(NamedTuple):
    """The sizes of a decoder."""

    layers: int = 2
    width: int = 1024
    heads: int = 16
    hidden: int = 4096
    vocabulary: int = 8192
    examples: int = 32
    time: int = 256


HEADS, FEATURES = P("data", None, "model", None), P("data", None, "model")


def decoder_params(sizes: Transformer, place: Place) -> Shapes:
    def kernel(spec: P, *shape: int) -> jax.ShapeDtypeStruct:
        return place.array(shape, spec)

    width, hidden = sizes.width, sizes.hidden
    layer = {
        "norm": kernel(P(), width),
        "query": kernel(COLUMN_PARALLEL, width, width),
        "key": kernel(COLUMN_PARALLEL, width, width),
        "value": kernel(COLUMN_PARALLEL, width, width),
        "out": kernel(ROW_PARALLEL, width, width),
        "norm_2": kernel(P(), width),
        "up": kernel(COLUMN_PARALLEL, width, hidden),
        "down": kernel(ROW_PARALLEL, hidden, width),
    }
    return {
        "embedding": kernel(ROW_PARALLEL, sizes.vocabulary, width),
        "layers": [layer] * sizes.layers,
        "head": kernel(COLUMN_PARALLEL, width, sizes.vocabulary),
    }


def decoder_loss(sizes: Transformer, place: Place) -> Callable[..., jax.Array]:
    """The cross-entropy of the next token, one mean."""

    def layer_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)
        square = jnp.mean(x * x, axis=-1, keepdims=True)
        x = x * jax.lax.rsqrt(square + 1e-6) * scale[None, None]
        return x.astype(jnp.bfloat16)

    def up(x: jax.Array, kernel: jax.Array) -> jax.Array:
        kernel = place.gathered(kernel, P(None, "model"))
        return place.product("btd,df->btf", x, kernel, FEATURES)

    def down(x: jax.Array, kernel: jax.Array) -> jax.Array:
        kernel = place.gathered(kernel, P("model", None))
        return place.product("btf,fd->btd", x, kernel, EXAMPLES)

    def attention(x: jax.Array, layer: Mapping[str, jax.Array]) -> jax.Array:
        shape = (*x.shape[:2], sizes.heads, sizes.width // sizes.heads)
        query, key, value = (
            place.split(up(x, layer[name]).reshape(shape), HEADS)
            for name in ("query", "key", "value")
        )
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key)
        seen = jnp.tri(x.shape[1], dtype=bool)[None, None]
        scores = jnp.where(seen, scores.astype(jnp.float32), -1e30)
        shares = jax.nn.softmax(scores).astype(jnp.bfloat16)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", shares, value)
        mixed = place.split(mixed.reshape(x.shape), FEATURES)
        return down(mixed, layer["out"])

    def loss_fn(params: Mapping[str, Any], one_hot: jax.Array) -> jax.Array:
        x = down(place.split(one_hot, FEATURES), params["embedding"])
        for layer in params["layers"]:
            x = x + attention(layer_norm(x, layer["norm"]), layer)
            wide = jax.nn.gelu(up(layer_norm(x, layer["norm_2"]), layer["up"]))
            x = x + down(wide, layer["down"])
        logits = up(x, params["head"]).astype(jnp.float32)
        return jnp.mean(optax.safe_softmax_cross_entropy(logits, one_hot))

    return loss_fn


def decoder(
    tx: optax.GradientTransformation,
    place: Place,
    sizes: Transformer,
) -> Program:
    """Training of a small decoder; tokens come as one-hot rows."""
    tokens = place.array(
        (sizes.examples, sizes.time, sizes.vocabulary), FEATURES, jnp.bfloat16
    )
    params = decoder_params(sizes, place)
    return training(tx, params, place, decoder_loss(sizes, place), tokens)


def of_7_billion(place: Place, layers: int = 32) -> Shapes:
    """The kernels of a decoder of 7B parameters, each layer's on its own."""
    sizes = Transformer(layers, 4096, 32, 11008, 32000)
    tree = decoder_params(sizes, place)
    gate = place.array((sizes.width, sizes.hidden), COLUMN_PARALLEL)
    return {
        **tree,
        "layers": [{**each, "gate": gate} for each in tree["layers"]],
    }


def logits_gradient(
    adjuster: GradientAdjuster | None,
    place: Place,
    tokens: int = 8192,
    vocabulary: int = 32000,
    width: int = 1024,
    *,
    in_blocks: bool = False,
    with_head: bool = False,
) -> Program:
    """The gradient of a last layer and its input, with GAL or without.

    The loss has the labels in a closure, or else as targets, in blocks; and
    then the layer may be inside of them. A mesh splits the tokens over "data"
    and the vocabulary over "model", that of theta as well; there blocks have to
    be asked for.
    """
    block_size = MESH_BLOCK if place.mesh else None
    theta = {}
    if adjuster is not None:
        theta = jax.tree.map(
            lambda leaf: place.array(
                leaf.shape,
                P(*("model" if n == vocabulary else None for n in leaf.shape)),
                leaf.dtype,
            ),
            jax.eval_shape(
                lambda key: adjuster.init(key, vocabulary), jax.random.key(0)
            ),
        )

    def losses(z: jax.Array, labels: jax.Array) -> jax.Array:
        if not place.is_explicit:
            return optax.softmax_cross_entropy_with_integer_labels(z, labels)
        # There JAX picks no entry out of an axis that is split.
        spec = P(*jax.typeof(z).sharding.spec)
        one_hot = place.split(jax.nn.one_hot(labels, vocabulary), spec)
        return -jnp.sum(one_hot * jax.nn.log_softmax(z), axis=-1)

    def layer(kernel: jax.Array, hidden: jax.Array) -> jax.Array:
        kernel = place.gathered(kernel, P(None, "model"))
        logits = place.product("te,ev->tv", hidden, kernel, P("data", "model"))
        return logits.astype(jnp.float32)

    def loss_fn(kernel, hidden, theta, labels) -> jax.Array:
        if adjuster is None:
            return losses(layer(kernel, hidden), labels).mean()
        if with_head:
            return adjuster.loss(
                theta,
                hidden,
                losses,
                targets=labels,
                head=(layer, kernel),
                block_size=block_size,
            )[0]
        logits = layer(kernel, hidden)
        if in_blocks:
            return adjuster.loss(
                theta, logits, losses, targets=labels, block_size=block_size
            )[0]
        return adjuster.loss(theta, logits, lambda z: losses(z, labels))[0]

    arguments = (
        place.array((width, vocabulary), COLUMN_PARALLEL),
        place.array((tokens, width), EXAMPLES, jnp.bfloat16),
        theta,
        place.array((tokens,), EXAMPLES, jnp.int32),
    )
    return Program(jax.grad(loss_fn, argnums=(0, 1, 2)), arguments)
