"""What the study of LGA is made of: the optimizers and their wrapping."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import averaged_sgd, data, lga_methods, study
from benchmarks.studies import demo, lga_mnist
import optaxmods
from tests.oracles.baselines import adam, rmsprop

RATE, GAMMA, STEPS = 0.01, 1e-3, 5


def asgd(x, gradients, rate, decay=1e-4, power=0.75, start=1e6):
    """``torch.optim.ASGD``; returns iterates and averages."""
    eta, mu, average = rate, 1.0, np.zeros_like(x)
    iterates, averages = [], []
    for step, g in enumerate(gradients, start=1):
        x = x * (1 - decay * eta) - eta * g
        average = average + mu * (x - average)
        eta = rate / (1 + decay * rate * step) ** power
        mu = 1 / max(1, step - start)
        iterates.append(x)
        averages.append(average)
    return iterates, averages


def sgd(x, gradients, rate, momentum=0.0):
    buffer = np.zeros_like(x)
    for g in gradients:
        buffer = momentum * buffer + g
        x = x - rate * buffer
        yield x


def adamax(x, gradients, rate):
    mean, largest = np.zeros_like(x), np.zeros_like(x)
    for step, g in enumerate(gradients, start=1):
        mean = 0.9 * mean + 0.1 * g
        largest = np.maximum(0.999 * largest, np.abs(g) + 1e-8)
        x = x - rate * mean / (1 - 0.9**step) / largest
        yield x


def adadelta(x, gradients, rate):
    square, moved = np.zeros_like(x), np.zeros_like(x)
    for g in gradients:
        square = 0.9 * square + 0.1 * g**2
        delta = np.sqrt(moved + 1e-6) / np.sqrt(square + 1e-6) * g
        moved = 0.9 * moved + 0.1 * delta**2
        x = x - rate * delta
        yield x


# PyTorch's, in NumPy: iterates from start, gradients and rate.
ORACLES = {
    "sgd": sgd,
    "momentum": functools.partial(sgd, momentum=0.9),
    "asgd": lambda x, gradients, rate: asgd(x, gradients, rate)[0],
    "rmsprop": rmsprop,
    "adam": adam,
    "adamax": adamax,
    "adadelta": adadelta,
}


def maker(name):
    arguments = lga_methods.METHODS[name].arguments
    return lga_methods.maker(name, GAMMA, STEPS, **arguments)


def problem(steps):
    rng = np.random.default_rng(0)
    return rng.normal(size=7), rng.normal(size=(steps, 7))


def steps_of(optimizer, start, gradients, losses=None):
    """Yields params and state after each step."""
    optimizer = optax.with_extra_args_support(optimizer)
    update = jax.jit(optimizer.update)
    params = jnp.asarray(start, jnp.float32)
    state = optimizer.init(params)
    for step, g in enumerate(gradients):
        value = 1.0 if losses is None else losses[step]
        updates, state = update(
            jnp.asarray(g, jnp.float32), state, params, value=value
        )
        params = optax.apply_updates(params, updates)
        yield params, state


@pytest.mark.parametrize("name", lga_methods.OPTIMIZERS)
def test_optimizer_is_pytorchs(name):
    start, gradients = problem(20)
    made = maker(name)(RATE)
    actual = [x for x, _ in steps_of(made, start, gradients)]
    expected = list(ORACLES[name](start, gradients, RATE))
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 3.0])
@pytest.mark.parametrize("begin", [0, 5, 1e6])
def test_averaged_sgd_follows_its_formula(rate, begin):
    settings = {"decay": 0.01, "power": 0.6, "start": begin}
    start, gradients = problem(30)
    iterates, averages = asgd(start, gradients, rate, **settings)
    optimizer = averaged_sgd.averaged_sgd(rate, **settings)
    for step, (params, state) in enumerate(
        steps_of(optimizer, start, gradients)
    ):
        average = averaged_sgd.averaged_params(state, params)
        close = functools.partial(
            np.testing.assert_allclose, rtol=1e-4, atol=1e-4
        )
        close(params, iterates[step])
        close(average, averages[step])
        if step < begin + 2:
            np.testing.assert_allclose(average, params, rtol=1e-6, atol=1e-6)
    assert (np.abs(averages[-1] - iterates[-1]).max() > 0.1) == (begin < 30)


def test_averaged_sgd_averages_what_lga_has_moved():
    start, gradients = problem(12)
    optimizer = optaxmods.with_lga(
        averaged_sgd.averaged_sgd(0.1, start=0), 0.01, status_every=5
    )
    iterates = []
    for params, state in steps_of(optimizer, start, gradients):
        iterates.append(params)
        average = averaged_sgd.averaged_params(state.inner_state, params)
    # The first one is averaged over at the second step.
    np.testing.assert_allclose(average, np.mean(iterates[1:], 0), rtol=1e-4)


def test_averaged_sgd_needs_params():
    optimizer = averaged_sgd.averaged_sgd(0.1)
    ones = jnp.ones(2)
    with pytest.raises(ValueError, match="needs the params"):
        optimizer.update(ones, optimizer.init(ones))


# Each reading's arguments, written out.
READINGS = {
    "lga": {"status_every": STEPS},
    "lga-log": {"status_every": STEPS, "log_base": math.e},
    "lga-first-value": {"status_every": STEPS, "upper_bound": "first_value"},
    "lga-per-step": {
        "status_every": 1,
        "log_base": math.e,
        "upper_bound": "first_value",
    },
    "lga-per-step-log10": {"status_every": 1, "upper_bound": "first_value"},
    "lga-ceiling": {
        "status_every": STEPS,
        "lower_bound": 0.0,
        "upper_bound": None,
        "decay_factor": 1.0,
    },
}


def trajectory(optimizer):
    start, gradients = problem(4 * STEPS)
    # Rising in the third window.
    losses = 2 + np.random.default_rng(1).normal(size=4 * STEPS) / 4
    losses[2 * STEPS : 3 * STEPS] += 0.5
    steps = steps_of(optimizer, start, gradients, losses.astype(np.float32))
    return np.array([x for x, _ in steps])


@pytest.mark.parametrize(
    "name", [name for name in lga_methods.METHODS if "+" in name]
)
def test_method_is_its_reading_around_its_optimizer(name):
    reading, last = name.split("+")
    plain = maker(last)(RATE)
    expected = optaxmods.with_lga(plain, GAMMA, **READINGS[reading])
    actual = trajectory(maker(name)(RATE))
    np.testing.assert_array_equal(actual, trajectory(expected))
    assert np.any(actual != trajectory(plain))


def test_readings_differ():
    ends = [
        trajectory(maker(f"{reading}+sgd")(RATE))[-1] for reading in READINGS
    ]
    assert len({tuple(end.tolist()) for end in ends}) == len(READINGS)


def test_methods_name_their_baselines_and_claims():
    methods = lga_methods.METHODS
    # SGD alone has the readings beside the first.
    assert len(methods) == 2 * 7 + len(READINGS) - 1
    for name, method in methods.items():
        *prefix, last = name.split("+")
        assert method.baseline == (last if prefix else None)
        assert method.claimed == (
            bool(prefix) and last != "adam" and prefix != ["lga-ceiling"]
        )


@pytest.mark.parametrize("count", [64, 127, 640])
def test_status_moves_once_an_epoch(count):
    images = jnp.zeros((count, 1, 1, 1))
    examples = data.Examples(images, jnp.zeros(count, jnp.int32))
    settings = dict(lga_mnist.STUDY.presets["small"].settings)
    assert settings["gamma"] == 1e-8
    split = data.Split(examples, examples)
    arguments = lga_methods.METHODS["lga+sgd"].arguments
    job = study.Job("lga+sgd", settings, [0], split, lambda: None, arguments)
    assert lga_mnist.make(job) is lga_methods.maker(
        "lga+sgd", 1e-8, count // 64, **arguments
    )


def test_demo_has_lga_around_sgd_and_before_adamw():
    made = {}
    for name in ("sgd", "lga+sgd", "lga+adamw"):
        settings = demo.STUDY.presets["small"].settings
        loaded = demo.STUDY.load(settings, None)
        job = study.Job(name, settings, [0], loaded, lambda: None)
        job = job._replace(arguments=demo.METHODS[name].arguments)
        made[name] = trajectory(demo.make(job)(1e-3))
        assert demo.make(job) is demo.make(job)
    # 1,437 images in batches of 32.
    composed = {
        "sgd": optax.sgd(1e-3),
        "lga+sgd": optaxmods.with_lga(optax.sgd(1e-3), 2e-7, status_every=44),
        "lga+adamw": optax.chain(
            optaxmods.lga(2e-4, status_every=44),
            optax.adamw(1e-3, weight_decay=1e-4),
        ),
    }
    for name, optimizer in composed.items():
        np.testing.assert_allclose(made[name], trajectory(optimizer), rtol=1e-6)


def test_papers_table_is_whole():
    paper = lga_mnist.STUDY.paper
    assert len(paper.rows) == 7
    for row in paper.rows:
        assert len(row) == len(paper.header)
        numbers = [float(entry.strip("*")) for entry in row[1:]]
        assert all(10 < number < 100 for number in numbers)
