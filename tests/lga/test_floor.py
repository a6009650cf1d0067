"""Gradients that are zero in theory, and in practice rounding errors."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from optaxmods import lga, with_lga

RATE, GAMMA, STEPS, FLOOR = 0.05, 1e-5, 60, 1e-6
XI = 0.01


class BeforeBatchNorm(nn.Module):
    """The mean that is taken off takes the bias along."""

    without_gradient = ("Dense_0", "bias")

    @nn.compact
    def __call__(self, x):
        hidden = nn.Dense(8)(x)
        # Of the batch; running averages would be a state to carry.
        hidden = hidden - hidden.mean(axis=0, keepdims=True)
        hidden = hidden / jnp.sqrt(hidden.var(axis=0, keepdims=True) + 1e-5)
        return nn.Dense(3)(nn.relu(hidden))


class BeforeInstanceNorm(nn.Module):
    """The same for each example and channel, over its places."""

    without_gradient = ("Conv_0", "bias")

    @nn.compact
    def __call__(self, x):
        maps = nn.Conv(6, (3,))(x[..., None])
        maps = nn.InstanceNorm()(maps)
        return nn.Dense(3)(nn.relu(maps).reshape(len(x), -1))


class Attention(nn.Module):
    """A key's bias adds the same to every score of a softmax."""

    without_gradient = ("key", "bias")

    @nn.compact
    def __call__(self, x):
        tokens = nn.Dense(6, name="tokens")(x.reshape(len(x), 4, 2))
        query, key, value = (
            nn.Dense(6, name=name)(tokens) for name in ("query", "key", "value")
        )
        shares = nn.softmax(jnp.einsum("nqd,nkd->nqk", query, key))
        return nn.Dense(3)(jnp.einsum("nqk,nkd->nqd", shares, value).mean(1))


every_network = pytest.mark.parametrize(
    "network",
    [BeforeBatchNorm(), BeforeInstanceNorm(), Attention()],
    ids=lambda network: type(network).__name__,
)
FORMS = {
    "around": lambda **arguments: with_lga(
        optax.sgd(RATE), GAMMA, status_every=STEPS, **arguments
    ),
    "chained": lambda **arguments: optax.chain(
        lga(GAMMA / RATE, status_every=STEPS, **arguments), optax.sgd(RATE)
    ),
}
every_form = pytest.mark.parametrize("form", FORMS)


@functools.cache
def problem(network):
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.standard_normal((48, 8)), jnp.float32)
    y = jnp.asarray(generator.integers(0, 3, 48))

    def loss_fn(params):
        logits = network.apply({"params": params}, x)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean()

    return network.init(jax.random.key(0), x)["params"], loss_fn


def trained(network, tx):
    """How far each leaf went; the largest of the null gradients; the loss."""
    start, loss_fn = problem(network)
    tx = optax.with_extra_args_support(tx)
    layer, name = network.without_gradient

    def step(carry, _):
        params, state = carry
        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, state = tx.update(grads, state, params, value=loss)
        rounding = jnp.abs(grads[layer][name]).max()
        return (optax.apply_updates(params, updates), state), (rounding, loss)

    (params, _), (rounding, losses) = jax.jit(
        lambda carry: jax.lax.scan(step, carry, length=STEPS)
    )((start, tx.init(start)))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, start)
    return moved, rounding.max(), losses


@every_form
@every_network
def test_rounding_is_not_pushed(network, form):
    moved, rounding, losses = trained(network, FORMS[form]())
    assert rounding < FLOOR
    layer, name = network.without_gradient
    # SGD's own steps of such gradients, and no push, which in one step is
    # more than that.
    bound = STEPS * RATE * FLOOR
    pushes = GAMMA * losses[0] / XI
    assert bound < pushes / 100
    assert moved[layer][name] < bound
    # The others are.
    alone, *_ = trained(network, optax.sgd(RATE))
    more = jax.tree.map(lambda a, b: abs(a - b), moved, alone)
    del more[layer][name]
    assert min(jax.tree.leaves(more)) > pushes


@every_form
def test_an_entry_at_the_floor(form):
    # -0.0 has no direction either, and the smallest numbers may be flushed.
    below = np.nextafter(np.float32(0.25), np.float32(0))
    gradient = np.array([0.25, below, -0.25, -below, 0.0, -0.0, 1e-30], "f4")
    is_pushed = np.array([1, 0, 1, 0, 0, 0, 0], bool)
    for push_zeros in (False, True):
        arguments = {"push_zero_gradients": push_zeros}
        tx = FORMS[form](gradient_floor=0.25, **arguments)
        updates, _ = tx.update(gradient, tx.init(gradient), value=2.0)
        term = -np.float64(updates) / RATE - gradient
        want = GAMMA / RATE * 2.0 / (np.abs(gradient) + XI)
        want *= is_pushed | (push_zeros & (gradient == 0))
        want *= np.where(gradient >= 0, 1, -1)
        np.testing.assert_allclose(term, want, rtol=1e-3, atol=1e-7)


@every_form
def test_the_printed_rule(form):
    gradient = np.array([1e-30, -1e-30, 1e-8, -1e-7, 0.0, 1e-6, 3.0], "f4")
    printed = {"gradient_floor": 0.0, "push_zero_gradients": True}
    tx = FORMS[form](**printed)
    updates, _ = tx.update(gradient, tx.init(gradient), value=2.0)
    phi = np.where(gradient >= 0, gradient + XI, gradient - XI)
    want = -RATE * np.float64(gradient) - GAMMA * 2.0 / phi
    np.testing.assert_allclose(updates, want, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64"])
def test_the_floor_is_the_same_in_every_dtype(dtype):
    gradient = jnp.asarray([2e-6, 5e-7, -2e-6, -5e-7], dtype)
    params = jnp.zeros(4, "complex64" if dtype == "complex64" else "float32")
    tx = with_lga(optax.set_to_zero(), GAMMA, status_every=9)
    updates, _ = tx.update(gradient, tx.init(params), params, value=1.0)
    np.testing.assert_array_equal(updates != 0, [True, False, True, False])


@pytest.mark.usefixtures("x64")
def test_float64_gradients_have_a_floor_of_their_own_digits():
    gradient = jnp.array([1e-6, 1e-6 * (1 - 1e-12)])
    tx = with_lga(optax.set_to_zero(), GAMMA, status_every=9)
    updates, _ = tx.update(gradient, tx.init(gradient), value=1.0)
    np.testing.assert_array_equal(updates != 0, [True, False])


@pytest.mark.parametrize("floor", [0.0, 1e-6])
def test_a_push_beyond_float32_leaves_zeros_alone(floor):
    # 3e38 / xi is no float32, and infinity times 0 no number.
    gradient = jnp.array([0.0, 1e-9, 1.0])
    arguments = {"status_every": STEPS, "gradient_floor": floor}
    for tx in (
        lga(1.0, **arguments),
        with_lga(optax.sgd(RATE), 1.0, **arguments),
    ):
        updates, _ = tx.update(gradient, tx.init(gradient), value=3e38)
        assert updates[0] == 0
        assert not np.isnan(updates).any()


@every_form
def test_the_floor_sums_nothing_over_devices(form):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    tx = FORMS[form]()
    matrix = jax.ShapeDtypeStruct(
        (16, 8), jnp.float32, sharding=NamedSharding(mesh, P("data"))
    )
    state = jax.eval_shape(tx.init, matrix)
    compiled = jax.jit(tx.update).lower(
        matrix, state, matrix, value=jax.ShapeDtypeStruct((), jnp.float32)
    )
    text = compiled.compile().as_text()
    assert "f32[2,8]" in text  # A device's own part.
    for collective in ("all-reduce", "all-gather", "collective-permute"):
        assert collective not in text
