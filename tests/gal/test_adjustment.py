"""GAL's loss and its gradients against the oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, gal
from tests import oracles
from tests.helpers.gal_cases import (
    D,
    assert_as_in_the_oracle,
    gradients_of,
    make_case,
)
from tests.helpers.gal_theta import cosine, layers_of

pytestmark = pytest.mark.usual_compilation

KINDS = ("cross-entropy", "squared error", "cosines")
CONVENTIONS = ("paper", "released")
POLICIES = ("<=", "<", "always", "never")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("accept", POLICIES)
def test_every_convention_and_policy(kind, convention, accept):
    # Every remainder and step of each convention and policy, of one loss or
    # another; the shape is one of two in each.
    row, policy = KINDS.index(kind), POLICIES.index(accept)
    odd = (row + policy + CONVENTIONS.index(convention)) % 2
    z, loss_fn, reference = make_case(kind, ((6,), (2, 3))[odd])
    small_first = (row + policy) % 2 == 0
    steps = (0.02, 3.0, 0.02) if small_first else (3.0, 0.02, 3.0)
    for remainder, step in zip(
        ("auto", "finite", "quadratic"), steps, strict=True
    ):
        arguments = {
            "accept": accept,
            "convention": convention,
            "remainder": remainder,
            "magnitude": 0.09,
        }
        adjuster = GradientAdjuster((4, 3), tentative_step=step, **arguments)
        theta = adjuster.init(jax.random.key(1), D)
        want = oracles.gal.gal(
            layers_of(theta), np.asarray(z), reference, step, **arguments
        )
        got = gradients_of(adjuster, theta, z, loss_fn)
        assert_as_in_the_oracle(got, want)
    assert float(want["remainder"]) > 0


@pytest.mark.parametrize("kind", ["cross-entropy", "squared error"])
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("traced", [False, True])
def test_theta_learns_in_float32_at_every_step(kind, fitted, traced):
    # A difference of losses is rounding at small steps, and at large ones
    # where the logits fit.
    z, loss_fn, reference = make_case(kind, (32,), dtype=np.float32)
    if fitted and kind == "cross-entropy":
        labels = np.argmax(-reference[1](np.float64(z)), axis=-1)
        z = z + 8 * jax.nn.one_hot(labels, D)
    adjuster = GradientAdjuster((4, 3))
    theta = adjuster.init(jax.random.key(1), D)
    given = jax.jit(
        lambda step: jax.grad(
            lambda t: adjuster.loss(t, z, loss_fn, tentative_step=step)[0]
        )(theta)
    )
    steps = 10.0 ** np.arange(-6, 2)
    for step in steps if traced else steps[1::3]:
        want = oracles.gal.gal(
            layers_of(theta), np.float64(z), reference, step
        )["theta"]
        if traced:
            got = given(jnp.float32(step))
        else:
            fixed = GradientAdjuster((4, 3), tentative_step=float(step))
            got = gradients_of(fixed, theta, z, loss_fn)[2]
        assert cosine(got, want) > 0.99, step


@pytest.mark.parametrize("kind", ["cross-entropy", "squared error"])
@pytest.mark.parametrize(
    ("convention", "weighted"),
    [("released", False), ("released", True), ("paper", True)],
)
def test_theta_learns_in_float32_from_weights(kind, convention, weighted):
    z, loss_fn, reference = make_case(kind, (32,), dtype=np.float32)
    weights = np.ones(32)
    if weighted:
        weights = np.random.default_rng(4).uniform(0, 3, 32).round()
    adjuster = GradientAdjuster((4, 3), convention=convention)
    theta = adjuster.init(jax.random.key(1), D)

    @jax.jit
    def gradient(step, weights):
        arguments = {"tentative_step": step, "example_weights": weights}
        return jax.grad(lambda t: adjuster.loss(t, z, loss_fn, **arguments)[0])(
            theta
        )

    for step in 10.0 ** np.arange(-6, 2):
        want = oracles.gal.gal(
            layers_of(theta),
            np.float64(z),
            reference,
            step,
            convention=convention,
            weights=weights,
        )["theta"]
        got = gradient(jnp.float32(step), jnp.float32(weights))
        assert cosine(got, want) > 0.99, step


@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_value_is_the_plain_mean_loss(convention, dtype):
    z, loss_fn, _ = make_case("cross-entropy", (2, 3), dtype=dtype)
    adjuster = GradientAdjuster((4,), convention=convention)
    theta = adjuster.init(jax.random.key(1), D)
    loss, to_z, _, _ = gradients_of(adjuster, theta, z, loss_fn)
    assert loss == loss_fn(z.astype(jnp.float32)).mean()
    assert to_z.dtype == z.dtype


@pytest.mark.usefixtures("x64")
def test_the_remainder_is_chosen_for_each_example():
    # The second example fits: it moves by 0.01, and the first one by 0.9.
    z, labels = np.array([[0, 2, 1, 0.5, -1], [6, 0, 1, 0.5, -1]]), [0, 0]
    reference = oracles.gal.cross_entropy(labels)
    adjuster = GradientAdjuster((4,), 0.09)
    theta = adjuster.init(jax.random.key(1), D)

    @jax.jit
    def gradient(weights):
        return gradients_of(
            adjuster,
            theta,
            jnp.asarray(z),
            lambda z: optax.softmax_cross_entropy_with_integer_labels(
                z, jnp.array(labels)
            ),
            example_weights=weights,
        )

    for weights in (np.array([1, 1e-9]), np.array([1e-9, 1])):
        want, other = (
            oracles.gal.gal(
                layers_of(theta),
                z,
                reference,
                1.0,
                0.09,
                weights=weights,
                remainder=remainder,
            )
            for remainder in (
                "auto",
                "quadratic" if weights[0] == 1 else "finite",
            )
        )
        assert_as_in_the_oracle(gradient(jnp.asarray(weights)), want)
        assert abs(other["remainder"] / want["remainder"] - 1) > 1e-3


@pytest.mark.usefixtures("x64")
def test_compare():
    z, loss_fn, reference = make_case("cross-entropy", (200,))
    adjuster = GradientAdjuster((4,), 0.05)
    theta = adjuster.init(jax.random.key(1), D)
    compared = jax.jit(
        lambda step: adjuster.compare(theta, z, loss_fn, tentative_step=step)
    )
    for step in (1e-4, 1.0, 10.0):
        got = compared(step)
        want = oracles.gal.share_improved(
            layers_of(theta), np.asarray(z), reference, step, 0.05
        )
        np.testing.assert_allclose(got, want, atol=1e-12)
        assert 0.1 < got < 0.9


def test_theta_moves_and_the_remainder_falls():
    z, loss_fn, _ = make_case("cross-entropy", (64,), dtype=np.float32)
    adjuster = GradientAdjuster((16,), 0.09)
    tx = gal(adjuster, D, optimizer=optax.adam(1e-2))
    state = tx.init(None)

    @jax.jit
    def learn(state):
        (_, metrics), grads = jax.value_and_grad(
            lambda theta: adjuster.loss(theta, z, loss_fn), has_aux=True
        )(adjuster_params(state))
        _, state = tx.update(z, state, adjuster_grads=grads)
        return state, metrics["remainder"]

    remainders = []
    for _ in range(100):
        state, remainder = learn(state)
        remainders.append(float(remainder))
    assert remainders[-1] < 0.99 * remainders[0]
    assert all(np.diff(remainders[::20]) < 0)


@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_a_direction_no_longer_than_eps_is_none(eps):
    z, loss_fn, _ = make_case("squared", (4,), dtype=np.float32)

    def apply(theta, features):  # Exactly as long as eps.
        return theta * jnp.zeros_like(features).at[..., 0].set(eps)

    network = (lambda key, features: jnp.ones([]), apply)
    adjuster = GradientAdjuster(network=network, eps=eps)
    got = gradients_of(adjuster, jnp.ones([]), z, loss_fn)
    plain = jax.grad(lambda z: jnp.mean(loss_fn(z)))(z)
    np.testing.assert_allclose(got[1], plain, rtol=1e-6)
    assert got[2] == 0
    assert got[3]["cosine"] == 0


def test_a_tie_has_not_improved():
    z, loss_fn, _ = make_case("squared", (4,), dtype=np.float32)
    adjuster = GradientAdjuster((3,), magnitude=0.0)  # g is dl/dz.
    theta = adjuster.init(jax.random.key(0), D)
    assert adjuster.compare(theta, z, loss_fn) == 0
