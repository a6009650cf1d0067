"""Descents on the surface of GAL's 3D example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.contenders import surface as contenders
from benchmarks.reporting import paired
from benchmarks.training import surface
import optaxmods
from tests.helpers.surface_runs import outcomes
from tests.oracles.surface import height, slope

POINTS = [(0.75, 1.0), (-1.0, 0.33), (0.0, 0.0), (1.3, -0.8), (-0.2, 1.7)]


@pytest.mark.parametrize("point", POINTS)
def test_surface_is_the_papers(point, x64):
    at = jnp.array(point)
    np.testing.assert_allclose(surface.surface(at), height(*point), rtol=1e-12)
    np.testing.assert_allclose(
        jax.grad(surface.surface)(at), slope(*point), rtol=1e-11, atol=1e-12
    )


def test_surface_has_what_the_page_says_of_it():
    sides = np.linspace(-2, 2, 401)
    grid = np.stack(np.meshgrid(sides, sides), axis=-1)
    heights = np.asarray(surface.surface(jnp.asarray(grid, jnp.float32)))
    np.testing.assert_allclose(heights.min(), -1.3549, atol=1e-3)
    np.testing.assert_allclose(heights, heights[::-1, ::-1], atol=1e-6)
    curvature = jax.hessian(surface.surface)(jnp.zeros(2))
    low, high = np.linalg.eigvalsh(curvature)
    assert low < 0 < high
    assert surface.surface(jnp.zeros(2)) == -1


@functools.cache
def paths(method, magnitude=0.2, steps=40):
    return jax.device_get(
        surface.descents(
            **contenders.adjusted(**contenders.METHODS[method].arguments),
            make=contenders.optimizer("gd"),
            steps=steps,
            start=jnp.array(surface.START),
            rate=0.1,
            magnitude=magnitude,
            tentative_step=0.1,
            seeds=jnp.arange(3),
        )
    )


def test_plain_descent_is_gradient_descent():
    point = np.array(surface.START)
    found = paths("plain")
    assert np.all(found.points == found.points[:1])
    for step in range(41):
        np.testing.assert_allclose(found.points[0, step], point, atol=1e-4)
        np.testing.assert_allclose(
            found.values[0, step], height(*point), atol=1e-4
        )
        point = point - 0.1 * slope(*point)
    assert np.all(found.accepted == 0)


def test_frozen_descent_is_algorithm_1_without_its_learning():
    """Eq. 3 to 5 and lines 7 to 10 with theta as it was drawn."""
    found = paths("frozen")
    network = contenders.adjustment_network((64, 24, 2))
    for seed in range(3):
        drawn_with, _ = jax.random.split(jax.random.key(seed))
        theta = network.init(drawn_with, jnp.zeros((1, 2)))
        layers = [theta["params"][f"layers_{i}"] for i in range(3)]
        assert [np.shape(layer["kernel"]) for layer in layers] == [
            (2, 64),
            (64, 24),
            (24, 2),
        ]
        assert all(np.all(np.asarray(layer["bias"]) == 0) for layer in layers)
        kernels = [np.asarray(layer["kernel"], float) for layer in layers]
        point = np.array(surface.START)
        for step in range(41):
            np.testing.assert_allclose(
                found.points[seed, step], point, atol=1e-3
            )
            g = slope(*point)
            v = functools.reduce(np.matmul, kernels, point)
            adjusted = g + 0.2 * np.linalg.norm(g) * v / np.linalg.norm(v)
            if height(*(point - 0.1 * adjusted)) <= height(*point):
                g = adjusted
            point = point - 0.1 * g


def test_theta_learns_in_gal_alone():
    gal, frozen = paths("gal"), paths("frozen")
    # Its first step is taken before theta's.
    np.testing.assert_allclose(
        gal.points[:, :2], frozen.points[:, :2], atol=1e-6
    )
    assert np.all(np.abs(gal.points - frozen.points).max(axis=(1, 2)) > 1e-4)


@pytest.mark.parametrize("name", contenders.DRAWS)
def test_noise_uses_no_theta(name):
    network = contenders.noise_network(**contenders.METHODS[name].arguments)
    adjuster = optaxmods.GradientAdjuster(
        network=network,
        magnitude=0.05,
        tentative_step=0.1,
    )
    point, key = jnp.array([surface.START]), jax.random.key(0)
    theta = adjuster.init(key, 2)

    def grads(theta, key):
        loss = lambda z, t: adjuster.loss(t, z, surface.surface, key=key)  # noqa: E731
        return jax.grad(loss, argnums=(0, 1), has_aux=True)(point, theta)[0]

    of_point, of_theta = grads(theta, key)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(of_theta))
    other, _ = grads(jax.tree.map(lambda leaf: leaf + 1, theta), key)
    np.testing.assert_array_equal(of_point, other)
    # Eq. 4 and 5, with what the key draws.
    draw = np.asarray(network[1]({}, point, key), float)[0]
    g = slope(*surface.START)
    expected = g + 0.05 * np.linalg.norm(g) * draw / np.linalg.norm(draw)
    np.testing.assert_allclose(of_point[0], expected, rtol=1e-4)
    again, _ = grads(theta, jax.random.key(1))
    assert np.any(again != of_point)


@pytest.mark.parametrize("name", contenders.DRAWS)
def test_noise_is_drawn_anew_at_each_step_and_seed(name):
    found = paths(name)
    taken = np.diff(found.points, axis=1) / -0.1
    added = taken - np.array(
        [[slope(*point) for point in path[:-1]] for path in found.points]
    )
    # Late steps are too short to tell what was added.
    angles = np.arctan2(added[..., 1], added[..., 0])[:, :10].ravel()
    assert len(np.unique(angles.round(3))) > 25


@pytest.mark.parametrize(
    ("values", "goal", "steps"),
    [
        ([1.0, 0.5, 0.1, 0.0], 0.1, 2),
        ([1.0, 0.5, 0.1, 0.0], 1.0, 0),
        ([1.0, 0.0, 2.0, 0.0], 0.5, 1),
        ([1.0, 0.5, 0.4, 0.3], 0.2, 3),
    ],
)
def test_steps_to_the_goal(values, goal, steps):
    assert surface.steps_to(np.array(values), goal) == steps


def test_goal_is_a_share_of_the_plain_descent():
    assert surface.goal_of(np.array([2.0, -3.0, -2.0]), 0.9) == -2.5


def test_run_measures_each_path():
    found = outcomes("plain")[1]
    assert found.final["steps"] == 22
    assert found.final["arrived"] == 1
    np.testing.assert_allclose(found.final["final_f"], -1.3549, atol=1e-4)
    curves = np.array([found.curves[name] for name in "xyf"])
    assert curves.shape == (3, 51)
    np.testing.assert_allclose(curves[:, 0], [0.75, 1, height(0.75, 1)], 1e-3)
    for x, y, f in curves.T:
        np.testing.assert_allclose(f, height(x, y), atol=2e-3)


def test_runs_too_short_count_with_all_their_steps():
    # The goal is below all that there is.
    found = outcomes("normal", steps=50, share_of_descent=1.01)
    for outcome in found.values():
        assert outcome.final["steps"] == 50
        assert outcome.final["arrived"] == 0


def test_equal_runs_are_no_effect():
    def steps_of(method):
        found = outcomes(method, magnitude=0.0)
        return {seed: one.final["steps"] for seed, one in found.items()}

    effect = paired.compare(steps_of("gal"), steps_of("plain"))
    assert (effect.pairs, effect.mean, effect.p) == (3, 0, 1)
