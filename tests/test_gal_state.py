"""GAL's networks, its state, models around it, and its errors."""

import dataclasses
import re

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
    optimizer = optax.chain(
        optax.add_noise(0.1, 0.9, 0),
        optax.contrib.reduce_on_plateau(accumulation_size=2),
    )

    def update(updates, state, params=None):
        return optimizer.update(updates, state, params, value=2.0)

    noisy = optax.GradientTransformation(optimizer.init, update)
    tx = gal(make("linear"), D, optimizer=noisy)
    start = tx.init(None)
    ones = jax.tree.map(jnp.ones_like, adjuster_params(start))
    _, after = tx.update(FEATURES, start, adjuster_grads=ones)
    best = [optax.tree.get(state, "best_value") for state in (start, after)]
    assert best == [np.inf, np.inf]
    moved = jax.tree.map(jnp.subtract, after.gal_theta, start.gal_theta)
    assert optax.tree.norm(moved) > 1


def test_the_key_draws_theta():
    adjuster = make("linear")
    same = gal(adjuster, D, key=jax.random.key(3)).init(None)
    chex.assert_trees_all_equal(gal(adjuster, D, key=3).init(None), same)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"magnitude": -0.1}, r"magnitude must be in \[0, 1\]"),
        ({"magnitude": 1.5}, r"magnitude must be in \[0, 1\]"),
        ({"accept": ">="}, "accept must be one of '<=', '<', 'always'"),
        ({"convention": "code"}, "convention must be one of 'paper'"),
        ({"remainder": "cubic"}, "remainder must be one of 'auto'"),
        ({"network": "MLP"}, "network must be a flax.linen module or a pair"),
        ({"network": (init_scale,)}, "network must be a flax.linen module"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientAdjuster(**arguments)


@dataclasses.dataclass(frozen=True)
class Larger(GradientAdjuster):
    magnitude: float = 0.3


@pytest.mark.parametrize(
    "make_it",
    [
        lambda: GradientAdjuster(magnitude=0.1),
        lambda: dataclasses.replace(GradientAdjuster(), magnitude=1),
        lambda: dataclasses.replace(Larger(magnitude=0.01), magnitude=0.5),
        lambda: Larger(),
    ],
)
def test_a_large_magnitude_is_warned_of_once_where_it_is_given(make_it):
    with pytest.warns(UserWarning, match="diverge") as record:
        make_it()
    assert len(record) == 1
    assert record[0].filename == __file__
    assert record[0].lineno == make_it.__code__.co_firstlineno


def test_using_an_adjuster_of_large_magnitude_warns_no_more():
    with pytest.warns(UserWarning, match="diverge"):
        adjuster = GradientAdjuster((4,), 0.5)
    theta = gal(adjuster, D).init(None).gal_theta  # A warning is an error.
    adjuster.loss(theta, FEATURES, loss_fn)


def test_errors_of_shape():
    adjuster = make("linear")
    with pytest.raises(ValueError, match=r"at least 2, got 1.*last hidden"):
        adjuster.init(jax.random.key(0), 1)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        gal(adjuster, 1)
    theta = adjuster.init(jax.random.key(0), D + 1)
    with pytest.raises(ValueError, match=r"have 4 entries.* is one for 5"):
        adjuster.loss(theta, FEATURES, loss_fn)
    theta = adjuster.init(jax.random.key(0), D)
    with pytest.raises(ValueError, match=r"shape \(6,\).*returned shape \(\)"):
        adjuster.loss(theta, FEATURES, lambda z: loss_fn(z).mean())
    with pytest.raises(ValueError, match=r"example_weights.*\(6,\).*\(4,\)"):
        adjuster.loss(theta, FEATURES, loss_fn, example_weights=jnp.ones(4))
    narrow = GradientAdjuster(network=(init_scale, lambda t, z: z[..., :2]))
    with pytest.raises(ValueError, match=r"\(6, 4\), but it returned \(6, 2\)"):
        narrow.apply({}, FEATURES)


@pytest.mark.parametrize(
    "leaf", [jnp.arange(D), 3, jax.random.key(0), jnp.ones(D, complex)]
)
def test_a_theta_that_is_not_all_floats(leaf):
    network = (lambda key, z: {"a": jnp.ones(D), "b": [leaf]}, scaled)
    name = re.escape(str(jnp.result_type(leaf)))
    for init in (
        GradientAdjuster(network=network).init,
        lambda key, d: gal(GradientAdjuster(network=network), d).init(None),
    ):
        with pytest.raises(ValueError, match=rf"theta\['b'\]\[0\] is {name}"):
            init(jax.random.key(0), D)


def test_update_without_either_route():
    tx = gal(make("linear"), D)
    for given in ({}, {"features": FEATURES, "loss_fn": loss_fn}):
        with pytest.raises(
            TypeError, match=r"adjuster_grads=.*features=.*pull"
        ):
            tx.update(FEATURES, tx.init(None), **given)
