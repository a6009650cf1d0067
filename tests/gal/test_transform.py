"""GAL's networks, its state, and models around it."""

import functools

import chex
from flax import nnx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, gal

D = 4
FEATURES = jnp.asarray(np.random.default_rng(0).standard_normal((6, D)), "f4")
TARGETS = jnp.asarray(np.random.default_rng(1).standard_normal((6, D)), "f4")


def loss_fn(z):
    return jnp.sum((z - TARGETS) ** 4, axis=-1)


class Convolution(nn.Module):
    """Features as a picture, as the paper's CNN has them (Table VIII)."""

    @nn.compact
    def __call__(self, z):
        x = z.reshape(*z.shape[:-1], 2, 2, 1)
        x = nn.max_pool(nn.relu(nn.Conv(3, (3, 3))(x)), (2, 2), (1, 1))
        return nn.Dense(D)(x.reshape(*z.shape[:-1], -1))


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, z):
        return nn.Dense(D)(nn.Dropout(0.5, deterministic=False)(z))


def init_scale(key, features):
    return {"scale": jax.random.normal(key, features.shape[-1:])}


def scaled(theta, z):
    return z * theta["scale"][None]


def noise(theta, z, key):
    """In place of h: theta's size alone has a part in it (Table VI)."""
    return jax.random.normal(key, z.shape) * theta["scale"][None]


NETWORKS = {
    "linear": {},
    "activation": {"activation": nn.relu},
    "no hidden layer": {"hidden_sizes": ()},
    "linen": {"network": Convolution()},
    "linen with a key": {"network": Dropping()},
    "pair": {"network": (init_scale, scaled)},
    "noise": {"network": (init_scale, noise)},
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    adjuster = make(name)
    theta = adjuster.init(jax.random.key(0), D)
    chex.assert_type(jax.tree.leaves(theta), jnp.float32)
    takes_key = name in ("noise", "linen with a key")
    arguments = {"key": jax.random.key(1)} if takes_key else {}
    (loss, metrics), grads = jax.value_and_grad(
        lambda t: adjuster.loss(t, FEATURES, loss_fn, **arguments),
        has_aux=True,
    )(theta)
    np.testing.assert_allclose(loss, loss_fn(FEATURES).mean(), rtol=1e-6)
    assert metrics["finite"]
    assert sum(np.abs(g).sum() for g in jax.tree.leaves(grads)) > 0
    if not takes_key:
        assert adjuster.apply(theta, FEATURES).shape == FEATURES.shape


def test_a_network_without_parameters():
    # Noise in place of h (Table VI).
    network = (
        lambda key, features: {},
        lambda theta, z, key: jax.random.normal(key, z.shape),
    )
    adjuster = GradientAdjuster(network=network, tentative_step=1e-3)
    tx = gal(adjuster, D)
    state = tx.init(None)

    def objective(z, theta):
        return adjuster.loss(theta, z, loss_fn, key=jax.random.key(1))

    (loss, metrics), (to_z, to_theta) = jax.value_and_grad(
        objective, argnums=(0, 1), has_aux=True
    )(FEATURES, adjuster_params(state))
    np.testing.assert_allclose(loss, loss_fn(FEATURES).mean(), rtol=1e-6)
    assert metrics["finite"]
    plain = jax.grad(lambda z: loss_fn(z).mean())(FEATURES)
    assert np.abs(to_z - plain).max() > 1e-4
    tx.update(FEATURES, state, adjuster_grads=to_theta)


def make(name):
    return GradientAdjuster(**{"hidden_sizes": (8,), **NETWORKS[name]})


def test_an_activation_changes_the_network():
    linear, bent = make("linear"), make("activation")
    theta = linear.init(jax.random.key(0), D)
    difference = linear.apply(theta, FEATURES) - bent.apply(theta, FEATURES)
    assert np.abs(difference).max() > 1e-3
    # Linear layers with biases are one linear layer: h(a) + h(-a) = 2 h(0).
    both = linear.apply(theta, FEATURES) + linear.apply(theta, -FEATURES)
    at_zero = 2 * linear.apply(theta, jnp.zeros_like(FEATURES))
    np.testing.assert_allclose(both, at_zero, rtol=1e-4, atol=1e-5)


def learning(tx, steps=3):
    adjuster = make("linear")
    state = tx.init(None)
    for _ in range(steps):
        grads = jax.grad(lambda t: adjuster.loss(t, FEATURES, loss_fn)[0])(
            adjuster_params(state)
        )
        passed, state = tx.update(FEATURES, state, adjuster_grads=grads)
        chex.assert_trees_all_equal(passed, FEATURES)
    return state


def test_theta_frozen_and_taught():
    adjuster = make("linear")
    start = gal(adjuster, D).init(None)
    frozen = learning(gal(adjuster, D, optimizer=optax.set_to_zero()))
    chex.assert_trees_all_equal(frozen.gal_theta, start.gal_theta)
    moved = learning(gal(adjuster, D))
    for old, new in zip(
        jax.tree.leaves(start.gal_theta),
        jax.tree.leaves(moved.gal_theta),
        strict=True,
    ):
        assert np.abs(old - new).max() > 1e-4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_leaves_theta_alone(bad):
    tx = gal(make("linear"), D)
    state = learning(tx)
    broken = jax.tree.map(jnp.ones_like, adjuster_params(state))
    broken["layer_0"]["bias"] = broken["layer_0"]["bias"].at[0].set(bad)
    _, after = tx.update(FEATURES, state, adjuster_grads=broken)
    chex.assert_trees_all_equal(after, state)


def test_a_gradient_whose_square_overflows_leaves_theta_alone():
    # Adam's second moment would be infinite for ever, and theta at rest.
    tx = gal(make("linear"), D)
    state = learning(tx)
    huge = jax.tree.map(jnp.zeros_like, adjuster_params(state))
    huge["layer_0"]["bias"] = huge["layer_0"]["bias"].at[0].set(1e21)
    _, after = jax.jit(tx.update)(FEATURES, state, adjuster_grads=huge)
    chex.assert_trees_all_equal(after, state)


def test_states_that_hold_an_infinity_or_a_key_from_the_start():
    noisy = optax.chain(
        optax.add_noise(0.1, 0.9, 0),
        optax.contrib.reduce_on_plateau(accumulation_size=2),
    )
    tx = gal(make("linear"), D, optimizer=noisy)
    start = tx.init(None)
    ones = jax.tree.map(jnp.ones_like, adjuster_params(start))
    _, after = tx.update(FEATURES, start, adjuster_grads=ones, value=2.0)
    best = [optax.tree.get(state, "best_value") for state in (start, after)]
    assert best == [np.inf, np.inf]
    moved = jax.tree.map(jnp.subtract, after.gal_theta, start.gal_theta)
    assert optax.tree.norm(moved) > 1


@pytest.mark.parametrize("name", ["dog", "prodigy"])
def test_theta_is_no_buffer_of_its_optimizer_s(name):
    # They keep the parameters that they are given; donated, once is enough.
    optimizer = {"dog": optax.contrib.dog, "prodigy": optax.contrib.prodigy}
    tx = gal(make("linear"), D, optimizer=optimizer[name]())
    state = tx.init(None)
    theta, own = (
        {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(part)}
        for part in (state.gal_theta, state.gal_opt_state)
    )
    assert not theta & own


def test_a_network_that_takes_a_key():
    def value(network, **arguments):
        adjuster = GradientAdjuster(network=network)
        theta = adjuster.init(jax.random.key(0), D)
        return adjuster.loss(theta, FEATURES, loss_fn, **arguments)[0]

    with pytest.raises(ValueError, match="pass key="):
        value((init_scale, noise))
    own = functools.partial(noise, key=jax.random.key(1))
    mean = loss_fn(FEATURES).mean()
    np.testing.assert_allclose(value((init_scale, own)), mean, rtol=1e-6)


def test_the_key_draws_theta():
    adjuster = make("linear")
    same = gal(adjuster, D, key=jax.random.key(3)).init(None)
    legacy = jax.random.PRNGKey(3)
    for key in (3, np.int32(3), jnp.int32(3), legacy, np.asarray(legacy)):
        chex.assert_trees_all_equal(gal(adjuster, D, key=key).init(None), same)
    other = gal(adjuster, D, key=4).init(None)
    kernels = [s.gal_theta["layer_0"]["kernel"] for s in (same, other)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1
    # PyTorch's bounds for a layer of fan-in D.
    assert 0.3 < np.abs(kernels[0]).max() <= 1 / np.sqrt(D)


def test_theta_out_of_a_state():
    one = gal(make("linear"), D)
    chain = optax.chain(one, optax.adamw(1e-3))
    theta = adjuster_params(chain.init(FEATURES))
    chex.assert_trees_all_equal(theta, one.init(None).gal_theta)
    with pytest.raises(ValueError, match="holds 0"):
        adjuster_params(optax.adam(1e-3).init(FEATURES))
    two = optax.chain(one, one).init(FEATURES)
    with pytest.raises(ValueError, match="holds 2"):
        adjuster_params(two)
    chex.assert_trees_all_equal(adjuster_params(two[1]), theta)


def test_nnx_optimizer():
    model = nnx.Linear(3, D, rngs=nnx.Rngs(0))
    adjuster = make("linear")
    tx = optax.chain(gal(adjuster, D), optax.sgd(1e-3))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    inputs = FEATURES[:, :3]

    @nnx.jit
    def step(model, optimizer):
        theta = adjuster_params(optimizer.opt_state)
        grad_fn = nnx.value_and_grad(
            lambda model, theta: adjuster.loss(theta, model(inputs), loss_fn),
            argnums=(0, 1),
            has_aux=True,
        )
        (loss, _), (grads, adjuster_grads) = grad_fn(model, theta)
        optimizer.update(model, grads, adjuster_grads=adjuster_grads)
        return loss

    before = adjuster_params(optimizer.opt_state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(before))
    losses = [float(step(model, optimizer)) for _ in range(5)]
    assert losses[-1] < losses[0]
    after = adjuster_params(optimizer.opt_state)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, after)
    assert all(value > 0 for value in jax.tree.leaves(moved))


class Model(nn.Module):
    """With batch statistics, dropout and an output beside the logits."""

    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=False)(nn.Dense(8)(x))
        hidden = nn.Dropout(0.5, deterministic=False)(x)
        return nn.Dense(D)(hidden), jnp.sum(hidden**2)


def test_a_model_with_statistics_dropout_and_another_output():
    model, adjuster = Model(), make("linear")
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = model.init(rngs, FEATURES)
    theta = adjuster.init(jax.random.key(2), D)

    def objective(params, theta, plain):
        (logits, penalty), changed = model.apply(
            {**variables, "params": params},
            FEATURES,
            mutable="batch_stats",
            rngs={"dropout": jax.random.key(3)},
        )
        loss = loss_fn(logits).mean()
        if not plain:
            loss, _ = adjuster.loss(theta, logits, loss_fn)
        return loss + 0.1 * penalty, changed

    grad = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    got = grad(variables["params"], theta, False)
    want = grad(variables["params"], theta, True)
    chex.assert_trees_all_close(got[0], want[0], rtol=1e-6)
    # At most magnitude away from the plain gradient, and not on it.
    distance, size = (
        optax.tree.norm(tree)
        for tree in (
            jax.tree.map(jnp.subtract, got[1][0], want[1][0]),
            want[1][0],
        )
    )
    assert 1e-5 < distance / size < 0.1
    assert optax.tree.norm(got[1][1]) > 0
