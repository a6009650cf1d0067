"""GAL's example weights: zero, negative, and those that have no mean."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, gal
from tests import oracles
from tests.helpers.gal_cases import (
    D,
    assert_as_in_the_oracle,
    gradients_of,
    make_case,
)
from tests.helpers.gal_theta import layers_of

WEIGHTS = {
    "padded": [[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]],
    "signed": [[-1.0, 0.0, 3.0], [0.5, -2.0, 1.0]],
    "nearly cancelled": [[1.0, -0.75, 2.0], [0.5, -2.5, 0.0]],
    "of negative sum": [[-2.0, 1.0, -3.0], [0.0, 0.5, -0.25]],
    "all negative": [[-1.0, -2.0, -0.5], [-1.0, -1.0, -3.0]],
}


CONVENTIONS = ("paper", "released")


def in_turn(*values):
    """Each convention with all weights, one of these with every other pair."""
    return [
        (convention, name, values[(row + column) % len(values)])
        for row, convention in enumerate(CONVENTIONS)
        for column, name in enumerate(WEIGHTS)
    ]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("convention", "name", "kind"), in_turn("cross-entropy", "squared error")
)
def test_weights_as_in_the_oracle(convention, kind, name):
    z, loss_fn, reference = make_case(kind, (2, 3))
    weights = np.array(WEIGHTS[name])
    # The second step overshoots: some examples are rejected, others are not.
    for accept, step in (("<=", 0.02), ("<=", 3.0), ("always", 1.0)):
        arguments = {"accept": accept, "convention": convention}
        adjuster = GradientAdjuster((4,), 0.09, step, **arguments)
        theta = adjuster.init(jax.random.key(1), D)
        want = oracles.gal.gal(
            layers_of(theta),
            np.asarray(z),
            reference,
            step,
            0.09,
            weights=weights,
            **arguments,
        )
        got = gradients_of(
            adjuster, theta, z, loss_fn, example_weights=jnp.asarray(weights)
        )
        assert_as_in_the_oracle(got, want)
        assert not np.any(got[1][weights == 0])
        assert 0 <= got[3]["acceptance"] <= 1 + 1e-12
        assert optax.tree.norm(got[2]) > 0


@pytest.mark.usefixtures("x64")
def test_compare_of_weighted_examples():
    z, loss_fn, reference = make_case("cross-entropy", (40,))
    adjuster = GradientAdjuster((4,), 0.05)
    theta = adjuster.init(jax.random.key(1), D)
    weights = np.random.default_rng(5).standard_normal(40)
    shares = [
        (
            adjuster.compare(theta, z, loss_fn, example_weights=given),
            oracles.gal.share_improved(
                layers_of(theta), np.asarray(z), reference, 1.0, 0.05, given
            ),
        )
        for given in (jnp.asarray(weights), jnp.abs(jnp.asarray(weights)))
    ]
    for got, want in shares:
        np.testing.assert_allclose(got, want, atol=1e-12)
    # What lowers a loss more does not raise it more.
    assert abs(shares[0][0] - shares[1][0]) > 0.01


def plain_mean(z, weights, loss_fn):
    """As users write it."""
    return jnp.average(loss_fn(z), weights=weights)


@pytest.mark.parametrize(
    ("convention", "name", "arguments"),
    in_turn({"magnitude": 0.0}, {"accept": "never", "magnitude": 0.05}),
)
def test_without_adjustment_it_is_the_weighted_mean(
    arguments, convention, name
):
    z, loss_fn, _ = make_case("squared error", (2, 3), dtype=np.float32)
    weights = jnp.asarray(WEIGHTS[name], jnp.float32)
    adjuster = GradientAdjuster((4,), convention=convention, **arguments)
    tx = gal(adjuster, D)
    state = tx.init(None)

    def objective(z, weights):
        return adjuster.loss(
            state.gal_theta, z, loss_fn, example_weights=weights
        )[0]

    loss, grads = jax.value_and_grad(objective, argnums=(0, 1))(z, weights)
    want, (to_z, to_weights) = jax.value_and_grad(plain_mean, argnums=(0, 1))(
        z, weights, loss_fn
    )
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose(grads[0], to_z, rtol=1e-5, atol=1e-7)
    # Those of examples of weight 0 as well.
    np.testing.assert_allclose(grads[1], to_weights, rtol=1e-4, atol=1e-5)
    updates, _ = tx.update(
        to_z,
        state,
        features=z,
        loss_fn=loss_fn,
        pullback=lambda cotangent: (cotangent,),
        example_weights=weights,
    )
    np.testing.assert_array_equal(updates, to_z)


def test_weights_that_are_all_zero():
    z, loss_fn, _ = make_case("cross-entropy", (6,), dtype=np.float32)
    adjuster = GradientAdjuster((4,))
    theta = adjuster.init(jax.random.key(1), D)
    loss, *gradients, metrics = gradients_of(
        adjuster, theta, z, loss_fn, example_weights=jnp.zeros(6)
    )
    chex.assert_trees_all_equal(
        (loss, *gradients),
        jax.tree.map(jnp.zeros_like, (loss, *gradients)),
    )
    assert metrics["acceptance"] == metrics["remainder"] == 0


@pytest.mark.parametrize(
    "weights",
    [
        [np.nan, 1.0, 2.0],
        [np.nan, 0.0, 0.0],
        [np.inf, 1.0, 2.0],
        [-np.inf, np.inf, 1.0],
        [3e38, 3e38, 0.0],
        [1.0, -2.0, 1.0],
    ],
)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_weights_without_a_mean_give_no_numbers(convention, weights):
    # Neither a loss that looks well beside gradients that do not, nor zeros.
    z, loss_fn, _ = make_case("cross-entropy", (3,), dtype=np.float32)
    weights = jnp.asarray(weights, jnp.float32)
    adjuster = GradientAdjuster((4,), convention=convention)
    tx = gal(adjuster, D)
    state = tx.init(None)
    loss, to_z, to_theta, _ = gradients_of(
        adjuster, state.gal_theta, z, loss_fn, example_weights=weights
    )
    assert np.isnan(loss)
    assert np.all(np.isnan(to_z[weights != 0]))
    # Theta learns nothing from it.
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(to_theta))
    _, after = tx.update(z, state, adjuster_grads=to_theta)
    chex.assert_trees_all_equal(after, state)
    # On the direct route the gradients of such a mean are no numbers already.
    _, after = tx.update(
        jnp.zeros_like(z),
        state,
        features=z,
        loss_fn=loss_fn,
        pullback=lambda cotangent: (cotangent,),
        example_weights=weights,
    )
    chex.assert_trees_all_equal(after, state)
