"""Some leaves only: other methods on other leaves, and frozen ones."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests import oracles
from tests.helpers.gal_theta import layers_of
from tests.helpers.losses import cross_entropy
from tests.helpers.trajectories import make_gradients, make_theta

RATE, SHAPE, STEPS = 0.1, (4, 3), 4
LEAVES = ("damped", "plain", "frozen")


def make_params():
    return {name: jnp.asarray(make_theta(SHAPE), "f4") for name in LEAVES}


def make_trees():
    """Gradients of all leaves, step by step."""
    drawn = [make_gradients(STEPS, SHAPE, seed) for seed in range(len(LEAVES))]
    return [
        {name: np.float32(g) for name, g in zip(LEAVES, step, strict=True)}
        for step in zip(*drawn, strict=True)
    ]


def run(tx, **extra):
    update = jax.jit(lambda g, s, p: tx.update(g, s, p, **extra))
    params = make_params()
    state = tx.init(params)
    for gradient in make_trees():
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


PARTITIONS = {
    "three optimizers": {
        "damped": optaxmods.adamw_agr(RATE),
        "plain": optax.adamw(RATE),
        "frozen": optax.set_to_zero(),
    },
    "agr or not before optax's": {
        "damped": optax.chain(optaxmods.agr(), optax.sgd(RATE)),
        "plain": optax.sgd(RATE),
        "frozen": optax.set_to_zero(),
    },
}


@pytest.mark.parametrize("name", PARTITIONS)
def test_agr_on_some_leaves_and_others_frozen(name):
    labels = {leaf: leaf for leaf in LEAVES}
    params, _ = run(optax.partition(PARTITIONS[name], labels))
    for leaf, strength in (("damped", 1.0), ("plain", 0.0)):
        theta = make_theta(SHAPE)
        gradients = [np.float64(tree[leaf]) for tree in make_trees()]
        if name == "three optimizers":
            *_, want = oracles.agr.adamw_agr(
                theta, gradients, RATE, strength=strength
            )
        else:
            damped = [oracles.agr.psi(g, strength) for g in gradients]
            want = theta - RATE * np.sum(damped, axis=0)
        np.testing.assert_allclose(params[leaf], want, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_equal(params["frozen"], make_params()["frozen"])


IS_FROZEN = {"damped": False, "plain": False, "frozen": True}


def with_lga(inner):
    return optaxmods.with_lga(inner, 1e-3, status_every=2)


FREEZING = {
    # name: (the chain, whether LGA's push leaves frozen leaves where they are)
    "around": (
        optax.selective_transform(
            with_lga(optax.adam(RATE)), freeze_mask=IS_FROZEN
        ),
        True,
    ),
    "after": (
        optax.chain(with_lga(optax.adam(RATE)), optax.freeze(IS_FROZEN)),
        True,
    ),
    "before": (  # An entry without a gradient is not pushed.
        optax.chain(optax.freeze(IS_FROZEN), with_lga(optax.adam(RATE))),
        True,
    ),
    "inside": (
        with_lga(
            optax.selective_transform(optax.adam(RATE), freeze_mask=IS_FROZEN)
        ),
        False,
    ),
}


@pytest.mark.parametrize("place", FREEZING)
def test_freezing_beside_lga(place):
    tx, stays = FREEZING[place]
    params, state = run(tx, value=2.0)
    start = make_params()
    assert np.array_equal(params["frozen"], start["frozen"]) == stays
    want, _ = run(with_lga(optax.adam(RATE)), value=2.0)
    for leaf in ("damped", "plain"):
        np.testing.assert_allclose(params[leaf], want[leaf], rtol=1e-6)
    assert optax.tree.get(state, "lga_count") == STEPS


X = np.random.default_rng(0).standard_normal((6, 4))
LABELS = np.random.default_rng(1).integers(0, 3, 6)
MASKED = {
    "masked": lambda tx, mask: optax.masked(tx, mask),
    "partition": lambda tx, mask: optax.partition(
        {True: tx, False: optax.set_to_zero()}, mask
    ),
}


@pytest.mark.parametrize("wrapper", MASKED)
def test_the_direct_route_of_gal_on_some_leaves(wrapper):
    # The pullback gives all leaves, the wrapper some.
    params = {
        "kernel": jnp.asarray(make_theta((4, 3)), "f4"),
        "bias": jnp.zeros((1, 3)),
    }
    adjuster = optaxmods.GradientAdjuster((5,), 0.09, 0.5)
    tx = MASKED[wrapper](
        optaxmods.gal(adjuster, 3), {"kernel": True, "bias": False}
    )

    def features(params):
        return jnp.asarray(X, "f4") @ params["kernel"] + params["bias"]

    loss_fn = cross_entropy(LABELS)

    @jax.jit
    def update(params, state):
        logits, pullback = jax.vjp(features, params)
        gradient = jax.grad(lambda p: loss_fn(features(p)).mean())(params)
        given = {"features": logits, "loss_fn": loss_fn, "pullback": pullback}
        return gradient, *tx.update(gradient, state, params, **given)

    state = tx.init(params)
    gradient, updates, after = update(params, state)
    layers = layers_of(optaxmods.adjuster_params(state))
    loss = oracles.gal.cross_entropy(LABELS)
    z = X @ np.float64(params["kernel"])
    want = oracles.gal.gal(layers, z, loss, 0.5, 0.09)["z"]
    np.testing.assert_allclose(updates["kernel"], X.T @ want, 1e-4, 1e-6)
    passed = 1.0 if wrapper == "masked" else 0.0  # What masked does not touch.
    np.testing.assert_array_equal(updates["bias"], passed * gradient["bias"])
    assert is_moved(after, state)


def is_moved(after, before):
    theta, start = map(optaxmods.adjuster_params, (after, before))
    return optax.tree.norm(optax.tree.sub(theta, start)) > 1e-4
