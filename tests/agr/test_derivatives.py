"""Derivatives through Psi, for meta-gradients and penalties on gradients."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests import oracles
from tests.helpers.wide import enable_x64


def psi(gradient, strength=1.0, **arguments):
    tx = optaxmods.agr(strength, **arguments)
    return tx.update(gradient, tx.init(gradient))[0]


def central_difference(function, at, direction, step):
    ahead, behind = function(at + step * direction), at - step * direction
    return (ahead - function(behind)) / (2 * step)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize("axes", [None, (1,)])
@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("max_alpha", [1.0, 0.15])
def test_both_modes_follow_the_oracle(strength, axes, is_complex, max_alpha):
    generator = np.random.default_rng(0)
    draw = functools.partial(generator.standard_normal, (3, 4))
    gradient, direction = draw(), draw()
    if is_complex:
        gradient, direction = gradient + 1j * draw(), direction + 1j * draw()
    arguments = {"strength": strength, "max_alpha": max_alpha}
    ours = functools.partial(psi, reduction_axes=axes, **arguments)
    oracle = functools.partial(oracles.agr.psi, axes=axes, **arguments)
    # Some entries are capped and some are not.
    is_capped = oracles.agr.alpha(gradient, axes) > max_alpha
    assert is_capped.any() == (max_alpha < 1)
    assert not is_capped.all()
    want = central_difference(oracle, gradient, direction, 1e-6)
    _, pushed = jax.jvp(ours, (jnp.asarray(gradient),), (direction,))
    np.testing.assert_allclose(pushed, want, rtol=1e-7, atol=1e-9)
    # <w, J d> = <J^T w, d>; without a conjugate in JAX.
    weights = draw() + (1j * draw() if is_complex else 0)
    _, pull = jax.vjp(ours, jnp.asarray(gradient))
    pulled = np.asarray(pull(jnp.asarray(weights))[0])
    np.testing.assert_allclose(
        np.sum(weights * want).real, np.sum(pulled * direction).real, rtol=1e-7
    )


def test_of_the_strength():
    gradient = np.array([[3.0, -1.0], [0.5, 0.0]])
    alpha = oracles.agr.alpha(gradient)
    slope = jax.jacobian(lambda s: psi(jnp.asarray(gradient), lambda _: s))(0.4)
    np.testing.assert_allclose(slope, -alpha * gradient, rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_of_the_largest_coefficient():
    # Only where it is one: d Psi / d c = -s g there.
    gradient = np.array([[3.0, -1.0], [0.5, 0.0]])
    slope = jax.jacobian(
        lambda c: psi(jnp.asarray(gradient), 0.5, max_alpha=c)
    )(0.4)
    np.testing.assert_allclose(slope, -0.5 * np.array([[3.0, 0], [0, 0]]))


@pytest.mark.parametrize("scale", [1e-34, 1e-20, 1.0, 1e20, 1e37])
def test_finite_at_every_scale(scale):
    gradient = np.array([[3.0, -1.0], [0.5, 0.0]])
    slope = jax.jacobian(psi)(jnp.asarray(scale * gradient, jnp.float32))
    # Psi is homogeneous: its derivative does not know the scale.
    want = np.stack(
        [
            central_difference(oracles.agr.psi, gradient, unit, 1e-6)
            for unit in np.eye(4).reshape(4, 2, 2)
        ],
        axis=-1,
    ).reshape(2, 2, 2, 2)
    np.testing.assert_allclose(slope, want, atol=1e-5)


@pytest.mark.parametrize(("size", "direction"), [(3e38, 3e38), (5e37, 2e38)])
def test_directions_near_overflow(size, direction):
    # Along itself a homogeneous Psi has itself for derivative.
    gradient, tangent = jnp.full((2, 2), size), jnp.full((2, 2), direction)
    _, pushed = jax.jvp(psi, (gradient,), (tangent,))
    np.testing.assert_allclose(pushed, direction / size * psi(gradient), 1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("is_complex", [False, True])
def test_second_derivatives(is_complex):
    generator = np.random.default_rng(1)
    parts = generator.standard_normal((2 if is_complex else 1, 2, 3))

    def join(parts):
        return parts[0] + 1j * parts[1] if is_complex else parts[0]

    def loss(parts, damped):
        value = damped(join(parts))
        return jnp.sum(jnp.sin(value.real) + jnp.cos(2 * value.imag))

    def as_printed(gradient):
        magnitude = jnp.abs(gradient)
        return gradient - magnitude / jnp.sum(magnitude) * gradient

    for hessian in (jax.hessian, lambda f: jax.jacrev(jax.jacrev(f))):
        ours = hessian(lambda parts: loss(parts, psi))(jnp.asarray(parts))
        want = hessian(lambda parts: loss(parts, as_printed))(
            jnp.asarray(parts)
        )
        np.testing.assert_allclose(ours, want, rtol=1e-9, atol=1e-12)


def test_a_dead_layer_leaves_second_derivatives_finite():
    # All gradients behind a dead relu are 0.
    def after_a_step(weights):
        def loss_fn(weights):
            hidden = jax.nn.relu(jnp.array([[1.0, 2.0]]) @ weights["a"])
            return jnp.sum((hidden @ weights["b"] - 1.0) ** 2)

        gradient = psi(jax.grad(loss_fn)(weights))
        return loss_fn(
            jax.tree.map(lambda w, g: w - 0.1 * g, weights, gradient)
        )

    weights = {"a": -jnp.ones((2, 3)), "b": jnp.ones((3, 1))}
    ones = jax.tree.map(jnp.ones_like, weights)
    _, product = jax.jvp(jax.grad(after_a_step), (weights,), (ones,))
    chex.assert_tree_all_finite(product)


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e20])
def test_coefficients_have_finite_derivatives(scale):
    gradient = scale * jnp.array([[3.0, -1.0], [0.5, 2.0]])
    slope = jax.grad(lambda g: jnp.sum(optaxmods.agr_coefficients(g) ** 2))(
        gradient
    )
    chex.assert_tree_all_finite(slope)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "complex64"]
)
def test_the_identity_at_an_all_zero_matrix(dtype):
    with enable_x64(True):
        zero = jnp.zeros((2, 3), dtype)
        _, pushed = jax.jvp(psi, (zero,), (zero + 2,))
        np.testing.assert_array_equal(pushed, zero + 2)


def test_of_a_whole_run():
    # A penalty on the parameters after two steps, by the gradient's scale.
    gradient = jnp.array([[1.0, -2.0], [3.0, 0.5]])

    def final(scale):
        tx = optax.chain(optaxmods.agr(), optax.sgd(0.1))
        weights = jnp.ones((2, 2))
        for _ in range(2):
            updates, _ = tx.update(scale * gradient, tx.init(weights), weights)
            weights = optax.apply_updates(weights, updates)
        return jnp.sum(weights)

    want = -0.2 * oracles.agr.psi(np.asarray(gradient, float)).sum()
    np.testing.assert_allclose(jax.grad(final)(2.0), want, rtol=1e-5)
