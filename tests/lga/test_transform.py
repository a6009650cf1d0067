"""LGA against the oracle, in both forms, and its errors and faults."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest

import optaxmods
from tests import oracles
from tests.helpers.lga_runs import make_gradients, make_losses, run, stepper

pytestmark = pytest.mark.usual_compilation

VARIANTS = {
    "defaults": {},
    "natural logarithm": {"log_base": math.e},
    "first value": {"upper_bound": "first_value"},
    "no bound": {"upper_bound": None},
    "average": {"lower_bound": "average"},
    "momentum": {"lower_bound": "momentum"},
    "constant": {"lower_bound": 0.5},
    "window loss": {"omega_loss": "window"},
    "no decay": {"decay_factor": 1.0},
    "mild decay": {"decay_factor": 0.5, "gamma_min": 0.2},
    "wide margin": {"eps": 1.0},
    "large xi": {"xi": 1.0},
    "zeros are pushed": {"push_zero_gradients": True},
    "printed": {
        "upper_bound": "first_value",
        "log_base": math.e,
        "push_zero_gradients": True,
        "gradient_floor": 0.0,
    },
    "no floor": {"gradient_floor": 0.0},
    "high floor": {"gradient_floor": 0.5},
    "zeros are pushed above a high floor": {
        "push_zero_gradients": True,
        "gradient_floor": 0.5,
    },
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_length = pytest.mark.parametrize("status_every", [1, 3, 20])


@pytest.mark.usefixtures("x64")
@every_variant
@every_length
def test_chained_form(variant, status_every):
    gradients, losses = make_gradients(), make_losses()
    arguments = {"status_every": status_every, **VARIANTS[variant]}
    want = oracles.lga.terms(gradients, losses, 0.7, **arguments)
    got = run(optaxmods.lga(0.7, **arguments), gradients, losses)
    for g, ours, theirs in zip(gradients, got, want, strict=True):
        np.testing.assert_allclose(ours[0], g + theirs[0], 1e-5, 1e-5)
        np.testing.assert_allclose(ours[1:], theirs[1:], 1e-5, 1e-6)


OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "rmsprop": optax.rmsprop(0.1),
    "adam": optax.adam(0.1),
    "adamax": optax.adamax(0.1),
    "adadelta": optax.adadelta(0.1),
    "adan": optaxmods.adan(0.1),
    "agr and adamw": optax.chain(optaxmods.agr(), optax.adamw(0.1)),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_around_any_optimizer(name):
    gradients, losses = make_gradients(), make_losses()
    params = jnp.ones((3, 4))
    inner = optax.with_extra_args_support(OPTIMIZERS[name])
    terms = oracles.lga.terms(gradients, losses, 1e-3, status_every=3)
    got = run(
        optaxmods.with_lga(inner, 1e-3, status_every=3),
        gradients,
        losses,
        params,
    )
    state = inner.init(params)
    for g, ours, (term, *_) in zip(gradients, got, terms, strict=True):
        plain, state = inner.update(jnp.asarray(g), state, params)
        np.testing.assert_allclose(ours[0], plain - term, 1e-5, 1e-8)


@pytest.mark.usefixtures("x64")
@every_variant
def test_before_sgd_it_is_equation_2(variant):
    gradients, losses = make_gradients(), make_losses()
    arguments = {"status_every": 3, **VARIANTS[variant]}
    if "gamma_min" in arguments:
        arguments["gamma_min"] = 0.0
    chained = optax.chain(optaxmods.lga(0.5, **arguments), optax.sgd(0.1))
    wrapped = optaxmods.with_lga(optax.sgd(0.1), 0.05, **arguments)
    for ours, theirs in zip(
        run(chained, gradients, losses),
        run(wrapped, gradients, losses),
        strict=True,
    ):
        np.testing.assert_allclose(ours[0], theirs[0], 1e-5, 1e-7)


@every_variant
def test_the_push_is_bounded(variant):
    gradients, losses = make_gradients(), make_losses()
    arguments = {"status_every": 3, **VARIANTS[variant]}
    xi = arguments.get("xi", 0.01)
    gradients = [np.float32(g) for g in gradients]
    tx = optaxmods.lga(0.7, **arguments)
    for g, (updates, gamma, omega, *_) in zip(
        gradients, run(tx, gradients, losses), strict=True
    ):
        bound = gamma * omega / xi
        assert np.abs(updates - g).max() <= bound * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64"])
def test_other_dtypes(dtype):
    generator = np.random.default_rng(2)
    gradient = generator.standard_normal((3, 4))
    if dtype == "complex64":
        gradient = gradient * np.exp(1j * gradient)
    gradient = jnp.asarray(gradient, dtype)
    # 1e-8 is no float16, and survives all the same.
    tx = optaxmods.lga(1e-8, status_every=5, xi=1e-6)
    updates, state = tx.update(gradient, tx.init(gradient), value=1e4)
    assert updates.dtype == gradient.dtype
    assert state.lga_gamma == np.float32(1e-8)
    exact = np.complex128 if dtype == "complex64" else np.float64
    g = np.asarray(gradient).astype(exact)
    ((term, *_),) = oracles.lga.terms([g], [1e4], 1e-8, 5, xi=1e-6)
    want = np.asarray(jnp.asarray(g + term, gradient.dtype)).astype(exact)
    np.testing.assert_allclose(np.asarray(updates).astype(exact), want, 1e-2)
    tx = optaxmods.with_lga(optax.set_to_zero(), 1e-8, status_every=5, xi=1e-6)
    updates, _ = tx.update(gradient, tx.init(gradient), value=1e4)
    np.testing.assert_allclose(
        np.asarray(updates).astype(exact), -term, 1e-2, 1e-7
    )


def test_gamma_may_be_a_schedule_of_all_updates():
    gradients, losses = make_gradients(), make_losses()
    losses[3] = np.nan  # It counts, too.
    gradients = [np.float32(g) for g in gradients]

    def schedule(step):
        return 0.5 / (1 + step)

    want = oracles.lga.terms(gradients, losses, schedule, status_every=3)
    got = run(optaxmods.lga(schedule, status_every=3), gradients, losses)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours[1], theirs[1], 1e-5)


@every_variant
def test_a_loss_that_is_not_finite(variant):
    gradients = [np.float32(g) for g in make_gradients()]
    arguments = {"status_every": 3, **VARIANTS[variant]}
    steps = stepper(optaxmods.lga(0.7, **arguments))
    for bad in (np.nan, np.inf, -np.inf):
        for at in (0, 1, 2, 5):  # The first, inside a window, at its end.
            losses = make_losses()
            losses[at] = bad
            want = oracles.lga.terms(gradients, losses, 0.7, **arguments)
            got = steps(gradients, losses)
            np.testing.assert_array_equal(got[at][0], gradients[at])
            for ours, theirs in zip(got, want, strict=True):
                np.testing.assert_allclose(ours[1:], theirs[1:], 1e-5, 1e-6)


def test_equal_windows_and_an_excess_of_eps():
    # Only a mean above the last one decays; an excess of eps itself counts.
    losses = np.full(6, 0.5)
    tx = optaxmods.lga(
        1.0, status_every=2, lower_bound=0.25, eps=0.25, upper_bound=None
    )
    for _, gamma, omega, *_ in run(tx, [np.ones((1, 1), "f4")] * 6, losses):
        assert (gamma, omega) == (1.0, 0.25)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", [2.0, np.nan])
# With the larger one even the push of the largest float is no zero.
@pytest.mark.parametrize("gamma", [1e-3, 1e3])
@pytest.mark.parametrize(
    "inner",
    [
        optax.apply_if_finite(optax.sgd(0.1), 5),
        optax.chain(optax.zero_nans(), optax.clip(1.0), optax.sgd(0.1)),
    ],
    ids=["apply_if_finite", "zero_nans"],
)
def test_what_inner_makes_of_a_broken_gradient_stays(inner, gamma, loss, bad):
    gradient = jnp.array([[bad, 1.0]])
    tx = optaxmods.with_lga(inner, gamma, status_every=3)
    updates, _ = tx.update(gradient, tx.init(gradient), gradient, value=loss)
    want, _ = inner.update(gradient, inner.init(gradient), gradient)
    np.testing.assert_array_equal(updates[0, 0], want[0, 0])
    assert np.isfinite(updates).all()


def test_a_gradient_that_is_not_finite_passes_through():
    gradient = jnp.array([[np.nan, np.inf, -np.inf, 1.0]])
    tx = optaxmods.lga(0.5, status_every=3)
    updates, state = tx.update(gradient, tx.init(gradient), value=2.0)
    np.testing.assert_array_equal(updates[0, :3], gradient[0, :3])
    assert updates[0, 3] > 1.0
    chex.assert_tree_all_finite(state._replace(lga_upper_bound=0.0))


def test_zeros_are_left_alone():
    gradient = jnp.array([[0.0, 1.0]])
    for pushed, want in ((False, 0.0), (True, 0.5 * 2.0 / 0.01)):
        tx = optaxmods.lga(0.5, status_every=3, push_zero_gradients=pushed)
        updates, _ = tx.update(gradient, tx.init(gradient), value=2.0)
        np.testing.assert_allclose(updates[0, 0], want, rtol=1e-6)


def test_a_long_window_keeps_its_digits():
    tx = optaxmods.lga(0.5, status_every=100_000)
    gradient = jnp.ones(1)

    def body(state, loss):
        return tx.update(gradient, state, value=loss)[1], None

    losses = 1.0 + 0.5 * np.random.default_rng(0).random(100_000)
    state, _ = jax.jit(lambda s, x: jax.lax.scan(body, s, x))(
        tx.init(gradient), jnp.asarray(losses, jnp.float32)
    )
    assert state.lga_windows == 1
    np.testing.assert_allclose(state.lga_last_mean, losses.mean(), rtol=1e-6)


def test_the_printed_reading_goes_inert_on_noisy_losses():
    # Half of all mini-batches raise the loss, and each divides gamma by 10.
    generator = np.random.default_rng(0)
    losses = 2.0 + generator.normal(0, 0.3, 200)
    tx = optaxmods.lga(
        1.0, status_every=1, log_base=math.e, upper_bound="first_value"
    )
    gradient = jnp.ones(1)

    def body(state, loss):
        state = tx.update(gradient, state, value=loss)[1]
        return state, (state.lga_gamma, state.lga_omega)

    _, (gammas, omegas) = jax.lax.scan(
        body, tx.init(gradient), jnp.asarray(losses, jnp.float32)
    )
    pushes = np.asarray(gammas * omegas)
    assert pushes[0] > 1.0
    assert pushes[40:].max() < 1e-12


MISSING = r"tx\.update\(grads, state, params, value=loss\).*nnx.*TrainState"


@pytest.mark.parametrize(
    "tx",
    [
        optaxmods.lga(1.0, status_every=2),
        optaxmods.with_lga(optax.sgd(0.1), 1.0, status_every=2),
    ],
)
def test_the_loss_is_missing_or_no_scalar(tx):
    gradient = jnp.ones((2, 2))
    state = tx.init(gradient)
    with pytest.raises(TypeError, match=MISSING):
        tx.update(gradient, state, gradient)
    for bad in (jnp.ones(1), jnp.ones((4,)), 1j, True, "two"):
        with pytest.raises(ValueError, match="value must be the loss"):
            tx.update(gradient, state, gradient, value=bad)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        tx.update(gradient, state, gradient, value=jnp.ones(3))
    for good in (1.5, np.float64(1.5), jnp.bfloat16(1.5), np.float16(1.5)):
        _, after = tx.update(gradient, state, gradient, value=good)
        assert optax.tree.get(after, "lga_omega") == 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"status_every": 0}, "status_every must be at least 1"),
        ({"status_every": 2.5}, "status_every must be an int"),
        ({"status_every": jnp.int32(3)}, "static_args"),
        ({"status_every": True}, "status_every must be an int"),
        (
            {"lower_bound": "mean"},
            "lower_bound must be one of 'ema', 'average'",
        ),
        ({"lower_bound": None}, "lower_bound must be one of"),
        (
            {"lower_bound": np.array(["ema", "average"])},
            r"lower_bound must be one of .* or a number, got an array of shape",
        ),
        (
            {"lower_bound": lambda step: 0.1},
            "lower_bound must be a number, got",
        ),
        ({"lower_bound": 1j}, "lower_bound must be a number, got 1j"),
        ({"upper_bound": "last"}, "upper_bound must be one of 'first_window'"),
        ({"omega_loss": "epoch"}, "omega_loss must be one of 'step'"),
        ({"xi": 0.0}, "xi must be greater than 0"),
        ({"eps": -0.1}, "eps must be finite and at least 0"),
        (
            {"gradient_floor": -1e-9},
            "gradient_floor must be finite and at least 0",
        ),
        ({"gradient_floor": {"kernel": 0.0}}, "gradient_floor must be a num"),
        ({"gradient_floor": jnp.ones(2)}, "gradient_floor must be a number"),
        ({"decay_factor": 0.0}, r"decay_factor must be in \(0, 1\]"),
        ({"decay_factor": 1.5}, r"decay_factor must be in \(0, 1\]"),
        ({"log_base": 1.0}, r"log_base must be in \(1, 11\]"),
        ({"gamma_min": -1.0}, "gamma_min must be finite and at least 0"),
        ({"gamma": -1.0}, "gamma must be finite and at least 0"),
        ({"gamma": math.inf}, "gamma must be finite"),
        ({"gamma": None}, "gamma must be a number or a schedule"),
        ({"lower_bound": math.inf}, "lower_bound must be finite"),
        ({"eps": "0.1"}, "eps must be a number"),
        ({"xi": jnp.ones(2)}, "xi must be a number"),
        ({"gamma": jnp.complex64(1)}, "gamma must be a number or a schedule"),
    ],
)
@pytest.mark.parametrize(
    "factory",
    [optaxmods.lga, functools.partial(optaxmods.with_lga, optax.sgd(0.1))],
)
def test_bad_arguments(factory, arguments, message):
    with pytest.raises(ValueError, match=message):
        factory(**{"gamma": 1.0, "status_every": 3, **arguments})
