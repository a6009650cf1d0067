"""JAX's own checks for debugging find nothing in sound runs."""

import contextlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests.helpers.transformations import TRANSFORMATIONS, losing, make_updates

PARAMS = {
    "kernel": jnp.array([[3.0, -1.0], [2.0, 0.0]]),
    "bias": jnp.array([0.5, 0.0]),
}
LGA = {
    f"{bound}, {kind}": lambda bound=bound, kind=kind: losing(
        optaxmods.lga(1e-3, status_every=2, upper_bound=bound, lower_bound=kind)
    )
    for bound in ("first_window", "first_value", None)
    for kind in ("ema", "average", 0.5)
}
CASES = TRANSFORMATIONS | LGA


@contextlib.contextmanager
def finite_only():
    with jax.debug_infs(True), jax.debug_nans(True):
        yield


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_no_number_is_infinite_or_none(name, jit):
    tx = CASES[name]()
    init, update = map(jax.jit, (tx.init, tx.update)) if jit else tx[:2]
    with finite_only():
        state = init(PARAMS)
        # While no bound is known, and after the first window.
        for step in range(1 if name not in LGA else 3):
            gradients = make_updates(PARAMS, step)
            _, state = update(gradients, state, PARAMS)
    # The flags look at what is computed; this at what is kept.
    chex.assert_tree_all_finite(state)


def test_the_checks_find_what_is_there():
    with finite_only(), pytest.raises(FloatingPointError, match="inf"):
        jnp.full([], jnp.inf).block_until_ready()


def kernel(key, features):
    return {"w": jax.random.normal(key, (features.shape[-1],) * 2)}


NETWORKS = {
    "default": None,
    "own": (kernel, lambda theta, z: z @ theta["w"]),
    "with a key": (
        kernel,
        lambda theta, z, key: z @ theta["w"] + jax.random.normal(key, z.shape),
    ),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "key", [3, jax.random.key(1), jax.random.PRNGKey(1)], ids=repr
)
def test_no_key_is_used_twice(network, key):
    adjuster = optaxmods.GradientAdjuster((4,), network=NETWORKS[network])
    z = jnp.ones((2, 3))
    with jax.debug_key_reuse(True):
        tx = optaxmods.gal(adjuster, 3, key=key)
        first = tx.init(None)
        for again in (tx.init, jax.jit(tx.init)):
            for ours, theirs in zip(
                *map(jax.tree.leaves, (again(None), first)), strict=True
            ):
                np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        jax.eval_shape(tx.init, None)
        features, pullback = jax.vjp(lambda scale: scale * z, jnp.float32(1))
        tx.update(
            jnp.float32(1),
            first,
            features=features,
            loss_fn=lambda z: jnp.sum(z**2, axis=-1),
            pullback=pullback,
            key=jax.random.key(7),
        )


NUMBERS = {
    "float": (1.0, 2.0),
    "in a tree": ({"a": 1.0, "b": jnp.ones((2, 3))},) * 2,
    "NumPy's": (np.float64(1), np.float32(2)),
    "a parameter": ([1.0, jnp.ones(2)], [jnp.float32(2), jnp.ones(2)]),
    "a gradient": ([jnp.float32(1)], [2.0]),
    "complex": (1 + 2j, 2 - 1j),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_python_numbers_are_arrays(name, kind):
    params, gradients = NUMBERS[kind]
    tx = TRANSFORMATIONS[name]()

    def step(params, gradients):
        updates, state = tx.update(gradients, tx.init(params), params)
        return optax.apply_updates(params, updates), state

    got = step(params, gradients)
    want = step(*jax.tree.map(jnp.asarray, (params, gradients)))
    for ours, theirs in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    # Closed over, they are no tracers beside those that are.
    jax.eval_shape(lambda: step(params, gradients))
    jax.eval_shape(lambda x: tx.init([params, x]), jnp.ones(2))
