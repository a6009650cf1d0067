"""The study of GAL's 3D example: its surface, optimizers and controls."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import statistics, surface
from benchmarks.adabound import adabound
from benchmarks.lookahead import lookahead
from benchmarks.studies import gal_surface
from benchmarks.study import Job
import optaxmods
from tests.oracles.baselines import adam, rmsprop

GD = gal_surface.VARIANTS["GD"] | gal_surface.COMMON


def height(x, y):
    hills = math.sin(x**2) * math.cos(3 * y**2) * math.exp(-((x * y) ** 2))
    return -hills - math.exp(-((x + y) ** 2))


def slope(x, y):
    """The gradient of ``height``, differentiated by hand."""
    sine, cosine = math.sin(x**2), math.cos(3 * y**2)
    bell, ridge = math.exp(-((x * y) ** 2)), math.exp(-((x + y) ** 2))
    along_x = 2 * x * math.cos(x**2) - 2 * x * y**2 * sine
    along_y = -6 * y * math.sin(3 * y**2) - 2 * x**2 * y * cosine
    return np.array(
        [
            -along_x * cosine * bell + 2 * (x + y) * ridge,
            -along_y * sine * bell + 2 * (x + y) * ridge,
        ]
    )


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


def sgd(x, gradients, rate):
    for g in gradients:
        x = x - rate * g
        yield x


def around_sgd(x, gradients, rate, period=5, part=0.5):
    slow = x
    for step, g in enumerate(gradients, start=1):
        x = x - rate * g
        if step % period == 0:
            slow = x = slow + part * (x - slow)
        yield x


def bounded(x, gradients, rate, final=0.02, gamma=0.5, clipped=None):
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gradients, start=1):
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        size = rate * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        size = size / (np.sqrt(square) + 1e-8)
        low = final * (1 - 1 / (gamma * t + 1))
        high = final * (1 + 1 / (gamma * t))
        if clipped is not None:
            clipped += np.where(size < low, -1, np.where(size > high, 1, 0))[
                None
            ].tolist()
        x = x - np.clip(size, low, high) * mean
        yield x


ORACLES = {
    "gd": sgd,
    "rmsprop": functools.partial(rmsprop, eps=0.1),
    "adam": functools.partial(adam, b1=0.8, eps=0.1),
    "lookahead": around_sgd,
    "adabound": bounded,
}


def problem(steps):
    rng = np.random.default_rng(0)
    # Of several sizes, so that bounds on rates hold some and not others.
    sizes = np.array([1e-3, 0.1, 1.0, 30.0])
    return rng.normal(size=4), sizes * rng.normal(size=(steps, 4))


def iterates(optimizer, start, gradients):
    params = {"x": jnp.array(start)}
    state = optimizer.init(params)
    for g in gradients:
        updates, state = optimizer.update({"x": jnp.array(g)}, state, params)
        params = optax.apply_updates(params, updates)
        yield params["x"]


def test_the_optimizers_are_those_of_the_oracles():
    assert set(ORACLES) == set(surface.OPTIMIZERS)


@pytest.mark.parametrize("name", ORACLES)
def test_optimizer_follows_its_formula(name, x64):
    start, gradients = problem(23)
    (arguments,) = [
        settings.get("arguments", {})
        for settings in gal_surface.VARIANTS.values()
        if settings["optimizer"] == name
    ]
    optimizer = surface.optimizer(name, **arguments)(0.3)
    actual = list(iterates(optimizer, start, gradients))
    expected = list(ORACLES[name](start, gradients, 0.3))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("rate", "final", "gamma"), [(1e-3, 0.1, 1e-3), (0.01, 0.02, 0.3)]
)
def test_adabound_follows_its_formula(rate, final, gamma, x64):
    start, gradients = problem(40)
    clipped = []
    expected = list(bounded(start, gradients, rate, final, gamma, clipped))
    optimizer = adabound(rate, final, gamma)
    actual = list(iterates(optimizer, start, gradients))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
    if gamma > 0.1:  # Else the bounds are still far apart.
        assert set(np.ravel(clipped)) == {-1, 0, 1}


@pytest.mark.parametrize(("period", "part"), [(1, 0.3), (3, 0.8), (4, 1.0)])
def test_lookahead_follows_its_formula(period, part, x64):
    start, gradients = problem(13)
    optimizer = lookahead(optax.sgd(0.1), period, part)
    actual = list(iterates(optimizer, start, gradients))
    expected = list(around_sgd(start, gradients, 0.1, period, part))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_lookahead_needs_params():
    optimizer = lookahead(optax.sgd(0.1))
    with pytest.raises(ValueError, match="needs the params"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


@functools.cache
def paths(method, magnitude=0.2, steps=40):
    return jax.device_get(
        surface.descents(
            **surface.adjusted(**surface.METHODS[method].arguments),
            make=surface.optimizer("gd"),
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
    network = surface.adjustment_network((64, 24, 2))
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


@pytest.mark.parametrize("name", surface.DRAWS)
def test_noise_uses_no_theta(name):
    network = surface.noise_network(**surface.METHODS[name].arguments)
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


def test_noise_is_of_table_vi():
    networks = [
        surface.noise_network(**surface.METHODS[name].arguments)
        for name in ("uniform", "normal")
    ]
    uniform, normal = (
        np.asarray(draw({}, jnp.zeros(4000), jax.random.key(0)))
        for _, draw in networks
    )
    assert -1 <= uniform.min() < -0.99 < 0.99 < uniform.max() <= 1
    np.testing.assert_allclose(
        [uniform.mean(), normal.mean(), normal.std()], [0, 0, 1], atol=0.05
    )


@pytest.mark.parametrize("name", surface.DRAWS)
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


def outcomes(method, **settings):
    seeds, calls = [0, 1, 2], []
    job = Job(
        method,
        GD | settings,
        seeds,
        surface.START,
        lambda: calls.append(0),
        surface.METHODS[method].arguments,
    )
    found = surface.run(job)
    assert len(calls) == gal_surface.STUDY.steps(job.settings)
    return dict(zip(seeds, found, strict=True))


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

    effect = statistics.compare(steps_of("gal"), steps_of("plain"))
    assert (effect.pairs, effect.mean, effect.p) == (3, 0, 1)


def test_curves_end_where_the_runs_end():
    for settings in gal_surface.VARIANTS.values():
        assert settings["steps"] % surface.POINTS == 0


def test_settings_are_those_beside_the_paper():
    rows = gal_surface.STUDY.paper.rows
    assert len(rows) == len(gal_surface.VARIANTS)
    for row, settings in zip(rows, gal_surface.VARIANTS.values(), strict=True):
        numbers = [float(text) for text in row[1:5]]
        names = ("learning_rate", "steps", "magnitude", "beta")
        assert numbers == [settings[name] for name in names]


@pytest.mark.parametrize("methods", [("plain", "gal"), ("gal",), ("plain",)])
def test_picture_of_what_there_is(methods):
    cells = [
        {
            "variant": "GD",
            "method": method,
            "seed": seed,
            "diverged": seed == 2,
            "curves": {
                **outcomes(method)[seed].curves,
                **({"x": [math.nan]} if seed == 2 else {}),
            },
        }
        for method in methods
        for seed in range(3)
    ]
    drawn = surface.pictures(gal_surface.STUDY, {"cells": cells})
    assert list(drawn) == ([] if methods == ("plain",) else ["paths"])
    assert all(png.startswith(b"\x89PNG") for png in drawn.values())
    assert surface.pictures(gal_surface.STUDY, {"cells": []}) == {}
