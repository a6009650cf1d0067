"""How long LGA's push is beside what it is added to."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import lga, lga_push, with_lga
from tests import oracles

GRADIENTS = [
    {"kernel": [[0.3, -2e-3, 0.0], [1e-7, 4.0, -0.02]], "bias": [5e-5, -1.0]},
    {"kernel": [[0.1, 2e-3, 1e-5], [0.0, -1.0, 0.02]], "bias": [5e-4, 0.0]},
]
LOSSES = [3.0, 2.5]
GAMMA = 1e-3


def as_arrays(tree, dtype="float32"):
    return {name: jnp.asarray(leaf, dtype) for name, leaf in tree.items()}


def flat(tree):
    leaves = [tree[name] for name in ("kernel", "bias")]
    return np.concatenate([np.ravel(np.float64(leaf)) for leaf in leaves])


def pushes(**settings):
    """The terms of Eq. 2, in float64."""
    found = oracles.lga.terms(
        [flat(g) for g in GRADIENTS], LOSSES, GAMMA, 2, **settings
    )
    return [step[0] for step in found]


SETTINGS = [
    {},
    {"xi": 0.1},
    {"gradient_floor": 1e-3},
    {"push_zero_gradients": True},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("is_around", [True, False])
def test_its_share_is_that_of_the_oracle(is_around, settings):
    rate = 0.1
    if is_around:
        tx = with_lga(optax.sgd(rate), GAMMA, status_every=2, **settings)
    else:
        tx = optax.chain(
            lga(GAMMA, status_every=2, **settings), optax.sgd(rate)
        )
    params = as_arrays(GRADIENTS[0])
    state = tx.init(params)
    for gradients, loss, push in zip(
        GRADIENTS, LOSSES, pushes(**settings), strict=True
    ):
        g = as_arrays(gradients)
        updates, state = tx.update(g, state, params, value=loss)
        share = jax.jit(lambda *trees: lga_push(*trees, **settings))(
            g, state, updates if is_around else None
        )
        beside = flat(gradients) * (rate if is_around else 1)
        expected = np.linalg.norm(push) / np.linalg.norm(beside)
        assert share.dtype == jnp.float32
        np.testing.assert_allclose(share, expected, rtol=1e-5)


def test_a_step_without_a_push_has_none():
    tx = with_lga(optax.sgd(0.1), GAMMA, status_every=2)
    params = {"kernel": jnp.zeros((2, 3)), "count": jnp.zeros(2, jnp.int32)}
    state = tx.init(params)
    # Neither moves: the loss is below epsilon, and every gradient is 0.
    updates, state = tx.update(params, state, params, value=0.05)
    with jax.debug_nans(True):
        assert lga_push(params, state, updates) == 0


def test_nothing_but_a_push_is_infinitely_more():
    tx = with_lga(optax.set_to_zero(), GAMMA, status_every=2)
    gradients = as_arrays(GRADIENTS[0])
    updates, state = tx.update(
        gradients, tx.init(gradients), gradients, value=3.0
    )
    assert lga_push(gradients, state, updates) > 1e3


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_it_is_as_wide_as_what_is_pushed(dtype, x64):
    tx = lga(GAMMA, status_every=2)
    gradients = as_arrays(GRADIENTS[0], dtype)
    _, state = tx.update(gradients, tx.init(gradients), value=3.0)
    share = lga_push(gradients, state)
    assert share.dtype == ("float64" if dtype == "float64" else "float32")
    push = pushes()[0]
    expected = np.linalg.norm(push) / np.linalg.norm(flat(GRADIENTS[0]))
    rtol = 2e-2 if dtype == "bfloat16" else 1e-6
    np.testing.assert_allclose(share, expected, rtol=rtol)


def test_a_state_without_lga_is_told():
    gradients = as_arrays(GRADIENTS[0])
    state = optax.sgd(0.1).init(gradients)
    with pytest.raises(ValueError, match="state must hold an LGA"):
        lga_push(gradients, state)
