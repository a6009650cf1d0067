"""AGR, layer by layer, where Flax keeps several layers in one array."""

import functools

import chex
from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, agr, gal, lga
from optaxmods.flax import TrainState, kernel_axes
from tests.helpers.transformations import make_updates

LAYERS, WIDTH, STEPS = 3, 4, 3
X = make_updates(jnp.ones((16, WIDTH)))
Y = jnp.argmax(X[:, :2], axis=-1)
assert_close = functools.partial(
    chex.assert_trees_all_close, rtol=1e-5, atol=1e-6
)


def losses_of(logits):
    labels = jnp.broadcast_to(Y, logits.shape[:-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def with_agr(reduction_axes=None):
    return optax.chain(agr(reduction_axes=reduction_axes), optax.sgd(0.5))


def per_layer(stack_axis):
    stacked = {"blocks": stack_axis}
    return with_agr(functools.partial(kernel_axes, stacked=stacked))


def layers_of(stacked, stack_axis, count=LAYERS):
    """The trees of the layers one by one."""
    return [
        jax.tree.map(lambda leaf, i=i: jnp.take(leaf, i, stack_axis), stacked)
        for i in range(count)
    ]


class Block(nn.Module):
    partitioned: bool = False

    @nn.compact
    def __call__(self, x, _):
        init = nn.initializers.lecun_normal()
        if self.partitioned:
            init = nn.with_partitioning(init, (None, None))
        return x + jnp.tanh(nn.Dense(WIDTH, kernel_init=init)(x)), None


class Stacked(nn.Module):
    stack_axis: int
    partitioned: bool = False

    @nn.compact
    def __call__(self, x):
        blocks = nn.scan(
            Block,
            variable_axes={"params": self.stack_axis},
            split_rngs={"params": True},
            length=LAYERS,
            metadata_params={nn.PARTITION_NAME: None},
        )
        x, _ = blocks(self.partitioned, name="blocks")(x, None)
        return nn.Dense(2, name="head")(x)


class Unrolled(nn.Module):
    @nn.compact
    def __call__(self, x):
        for number in range(LAYERS):
            x, _ = Block(name=str(number))(x, None)
        return nn.Dense(2, name="head")(x)


def trained(model, params, tx):
    state = TrainState.create(apply_fn=model.apply, params=params, tx=tx)

    @jax.jit
    def step(state):
        def loss_of(params):
            return losses_of(state.apply_fn({"params": params}, X)).mean()

        return state.apply_gradients(grads=jax.grad(loss_of)(state.params))

    for _ in range(STEPS):
        state = step(state)
    return nn.meta.unbox(state.params)


@pytest.mark.parametrize(
    ("stack_axis", "partitioned"),
    [(0, False), (1, False), (-1, False), (1, True)],
)
def test_linen_scan(stack_axis, partitioned):
    model = Stacked(stack_axis, partitioned)
    params = model.init(jax.random.key(1), X)["params"]
    got = trained(model, params, per_layer(stack_axis))
    bare = nn.meta.unbox(params)
    layers = layers_of(bare["blocks"], stack_axis)
    apart = {str(number): layer for number, layer in enumerate(layers)}
    apart["head"] = bare["head"]
    want = trained(Unrolled(), apart, with_agr())
    for number, layer in enumerate(layers_of(got["blocks"], stack_axis)):
        assert_close(layer, want[str(number)])
    assert_close(got["head"], want["head"])
    # By default the stack is one matrix.
    mixed = trained(model, params, with_agr())["blocks"]["Dense_0"]["kernel"]
    distance = jnp.abs(mixed - got["blocks"]["Dense_0"]["kernel"]).max()
    assert distance > 1e-3


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x):
        return x + jnp.tanh(self.linear(x))


class NnxStacked(nnx.Module):
    def __init__(self, stack_axis, rngs):
        self.stack_axis = stack_axis

        @nnx.split_rngs(splits=LAYERS)
        @nnx.vmap(in_axes=0, out_axes=self.axes())
        def make(rngs):
            return NnxBlock(rngs)

        self.blocks = make(rngs)
        self.head = nnx.Linear(WIDTH, 2, rngs=rngs)

    def axes(self):
        return nnx.StateAxes({nnx.Param: self.stack_axis, ...: 0})

    def __call__(self, x):
        @nnx.scan(in_axes=(self.axes(), nnx.Carry), out_axes=nnx.Carry)
        def through(block, x):
            return block(x)

        return self.head(through(self.blocks, x))


class NnxUnrolled(nnx.Module):
    def __init__(self, stacked):
        graphdef = nnx.graphdef(NnxBlock(nnx.Rngs(0)))
        layers = layers_of(nnx.state(stacked.blocks), stacked.stack_axis)
        self.blocks = nnx.List([nnx.merge(graphdef, x) for x in layers])
        self.head = nnx.clone(stacked.head)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def trained_nnx(model, tx, forward=lambda model: model(X)):
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss_of(model):
            return losses_of(forward(model)).mean(axis=-1).sum()

        optimizer.update(model, nnx.grad(loss_of)(model))

    for _ in range(STEPS):
        step(model, optimizer)
    return nnx.to_pure_dict(nnx.state(model))


@pytest.mark.parametrize("stack_axis", [0, 1, -1])
def test_nnx_vmap_and_scan(stack_axis):
    stacked = NnxStacked(stack_axis, nnx.Rngs(0))
    unrolled = NnxUnrolled(stacked)
    got = trained_nnx(stacked, per_layer(stack_axis))
    want = trained_nnx(unrolled, with_agr())
    for number, layer in enumerate(layers_of(got["blocks"], stack_axis)):
        assert_close(layer, want["blocks"][number])
    assert_close(got["head"], want["head"])


@nnx.split_rngs(splits=LAYERS)
@nnx.vmap
def make_ensemble(rngs):
    return nnx.Linear(WIDTH, 2, rngs=rngs)


@nnx.vmap
def logits_of(model):
    return model(X)


def members():
    """The ensemble's models as models of their own."""
    graphdef = nnx.graphdef(nnx.Linear(WIDTH, 2, rngs=nnx.Rngs(0)))
    states = layers_of(nnx.state(make_ensemble(nnx.Rngs(0))), 0)
    return [nnx.merge(graphdef, state) for state in states]


def test_an_ensemble_with_one_optimizer():
    tx = with_agr(functools.partial(kernel_axes, stacked=0))
    got = trained_nnx(make_ensemble(nnx.Rngs(0)), tx, logits_of)
    for mine, model in zip(layers_of(got, 0), members(), strict=True):
        assert_close(mine, trained_nnx(model, with_agr()))


def test_an_ensemble_whose_step_is_mapped():
    adjuster = GradientAdjuster(hidden_sizes=(4,))
    tx = optax.chain(
        gal(adjuster, 2), lga(1e-3, status_every=2), agr(), optax.sgd(0.5)
    )

    def make_optimizer(model):
        return nnx.Optimizer(model, tx, wrt=nnx.Param)

    def step(model, optimizer):
        grad_fn = nnx.value_and_grad(
            lambda model, theta: adjuster.loss(theta, model(X), losses_of),
            argnums=(0, 1),
            has_aux=True,
        )
        theta = adjuster_params(optimizer.opt_state)
        (loss, _), (grads, taught) = grad_fn(model, theta)
        optimizer.update(model, grads, value=loss, adjuster_grads=taught)

    def run(model, optimizer, step):
        jitted = nnx.jit(step)
        for _ in range(STEPS):
            jitted(model, optimizer)
        states = nnx.state(model), nnx.state(optimizer.opt_state)
        return [nnx.to_pure_dict(state) for state in states]

    model = make_ensemble(nnx.Rngs(0))
    together = run(model, nnx.vmap(make_optimizer)(model), nnx.vmap(step))
    for mine, model in zip(layers_of(together, 0), members(), strict=True):
        assert_close(mine, run(model, make_optimizer(model), step))
