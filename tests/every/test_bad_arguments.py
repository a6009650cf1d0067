"""What the optimizers, AGR, LGA and the train state say to bad input."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from optaxmods.flax import TrainState
from tests.helpers.transformations import make_params

GRADIENT = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}


def schedule(step):
    return 1 / (1 + step)


BY_RATE = {
    "adamw_agr": optaxmods.adamw_agr,
    "adan": optaxmods.adan,
    "adan_agr": optaxmods.adan_agr,
}
BY_MOMENTS = {
    "scale_by_agr_adam": optaxmods.scale_by_agr_adam,
    "scale_by_adan": optaxmods.scale_by_adan,
    "scale_by_agr_adan": optaxmods.scale_by_agr_adan,
    **{name: functools.partial(f, 1e-3) for name, f in BY_RATE.items()},
}


@pytest.mark.parametrize("factory", BY_MOMENTS)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("b1", "0.9", "b1 must be a number, got '0.9'"),
        ("b1", None, "b1 must be a number, got None"),
        ("b1", False, "b1 must be a number, got False"),
        ("b1", schedule, "b1 must be a number.*optax.inject_hyperparams"),
        ("b1", jnp.ones(2), r"b1 must be a number, got an array of shape \(2,"),
        ("b1", 1.0, r"b1 must be in \[0, 1\), got 1.0"),
        ("b2", -0.1, r"b2 must be in \[0, 1\), got -0.1"),
        ("b2", float("nan"), r"b2 must be in \[0, 1\), got nan"),
        ("eps", -1e-8, "eps must be finite and at least 0"),
        ("eps", [1e-8], "eps must be a number"),
        ("eps_root", -1.0, "eps_root must be finite and at least 0"),
        ("eps_root", np.float32("inf"), "eps_root must be finite"),
    ],
)
def test_moments(factory, name, value, message):
    with pytest.raises(ValueError, match=message):
        BY_MOMENTS[factory](**{name: value})


@pytest.mark.parametrize("name", [n for n in BY_MOMENTS if "adan" in n])
def test_the_third_decay_rate(name):
    with pytest.raises(ValueError, match=r"b3 must be in \[0, 1\), got 1"):
        BY_MOMENTS[name](b3=1)


WITH_AGR = {
    "agr": optaxmods.agr,
    "agr_coefficients": functools.partial(optaxmods.agr_coefficients, GRADIENT),
    **{name: make for name, make in BY_MOMENTS.items() if "agr" in name},
}


@pytest.mark.parametrize("factory", WITH_AGR)
@pytest.mark.parametrize(
    ("max_alpha", "message"),
    [
        (1.5, r"max_alpha must be in \[0, 1\], got 1.5"),
        (-0.1, r"max_alpha must be in \[0, 1\], got -0.1"),
        (float("nan"), r"max_alpha must be in \[0, 1\], got nan"),
        ("0.5", "max_alpha must be a number, got '0.5'"),
        (None, "max_alpha must be a number, got None"),
        (True, "max_alpha must be a number, got True"),
        (jnp.ones(2), r"max_alpha must be a number, got an array of shape"),
        (schedule, "max_alpha must be a number.*optax.inject_hyperparams"),
    ],
)
def test_a_largest_coefficient(factory, max_alpha, message):
    with pytest.raises(ValueError, match=message):
        WITH_AGR[factory](max_alpha=max_alpha)


@pytest.mark.parametrize("factory", ["scale_by_agr_adan", "adan_agr"])
@pytest.mark.parametrize("value", ["raw", "", None, True, 1.0, jnp.ones(2)])
def test_a_difference(factory, value):
    message = "difference must be one of 'regularized', 'printed', got"
    with pytest.raises(ValueError, match=message):
        BY_MOMENTS[factory](difference=value)


@pytest.mark.parametrize("factory", BY_RATE)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": None}, "learning_rate must be a number or a sched"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a number or a sch"),
        ({"learning_rate": GRADIENT}, "learning_rate must .* got a dict"),
        ({"learning_rate": jnp.ones(3)}, r"learning_rate .* shape \(3,\)"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite"),
        ({"weight_decay": None}, "weight_decay must be a number or a sched"),
        ({"weight_decay": float("inf")}, "weight_decay must be finite"),
        ({"mask": 0.1}, "mask must be a tree of booleans or a callable"),
        ({"mask": "bias"}, "mask must be a tree of booleans or a callable"),
        ({"mask": jnp.ones(3)}, "mask must be a tree of booleans .* an array"),
    ],
)
def test_rates_and_mask(factory, arguments, message):
    with pytest.raises(ValueError, match=message):
        BY_RATE[factory](**{"learning_rate": 1e-3, **arguments})


@pytest.mark.parametrize("given", ["False", None, 0.5, np.array([True, False])])
@pytest.mark.parametrize(
    ("name", "factory"),
    [
        ("nesterov", optaxmods.scale_by_agr_adam),
        ("nesterov", BY_MOMENTS["adamw_agr"]),
        ("proximal", BY_MOMENTS["adan"]),
        ("proximal", BY_MOMENTS["adan_agr"]),
        (
            "push_zero_gradients",
            functools.partial(optaxmods.lga, 1.0, status_every=1),
        ),
    ],
)
def test_flags(name, factory, given):
    with pytest.raises(ValueError, match=f"{name} must be True or False"):
        factory(**{name: given})


@pytest.mark.parametrize(
    "dtype", ["bf16", 3, int, bool, jnp.ones(2), jnp.float8_e5m2]
)
@pytest.mark.parametrize("name", ["mu_dtype", "nu_dtype"])
@pytest.mark.parametrize("factory", BY_MOMENTS)
def test_a_dtype_that_no_moment_has(factory, name, dtype):
    with pytest.raises(ValueError, match=f"{name} must be None or a float"):
        BY_MOMENTS[factory](**{name: dtype})


@pytest.mark.parametrize("returned", [1.5, jnp.int32(1), "yes"])
def test_a_restart_that_is_a_schedule(returned):
    tx = optaxmods.scale_by_adan(restart=lambda count: returned)
    with pytest.raises(ValueError, match="restart is a predicate that must"):
        tx.update(GRADIENT, tx.init(GRADIENT))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("a", "trees of arrays, but the only leaf is 'a'"),
        ({"w": "a"}, "trees of arrays, but w is 'a'"),
        ({"w": schedule}, "trees of arrays, but w is a function"),
    ],
)
def test_leaves_that_are_no_arrays(tree, message):
    for function in (
        optaxmods.agr_coefficients,
        lambda tree: optaxmods.agr().update(tree, optax.EmptyState()),
    ):
        with pytest.raises(ValueError, match=message):
            function(tree)


@pytest.mark.parametrize(
    "inner", [None, 1e-3, "sgd", optax.sgd, optax.MultiSteps, ()]
)
def test_what_is_no_optimizer(inner):
    with pytest.raises(ValueError, match="inner must be an optax transforma"):
        optaxmods.with_lga(inner, 1e-3, status_every=1)
    with pytest.raises(ValueError, match="tx must be an optax transformation"):
        TrainState.create(apply_fn=None, params=GRADIENT, tx=inner)


def test_arguments_in_the_other_order():
    swapped = [
        lambda: optaxmods.with_lga(1e-6, optax.sgd(0.1)),  # pyright: ignore
        lambda: optaxmods.with_lga(schedule, gamma=optax.adam(0.1)),  # pyright: ignore
        lambda: optaxmods.with_lga(1e-6, optax.sgd(0.1), status_every=1),  # pyright: ignore
    ]
    for make in swapped:
        with pytest.raises(ValueError, match=r"inner comes first: with_lga\("):
            make()
    with pytest.raises(ValueError, match="inner must be an optax transforma"):
        optaxmods.with_lga(1e-6)  # pyright: ignore
    with pytest.raises(TypeError, match="argument: 'status_every'"):
        optaxmods.with_lga(optax.sgd(0.1), 1e-6)  # pyright: ignore


@pytest.mark.parametrize("returned", [None, "1", [1.0], jnp.ones((2, 3)), 0j])
def test_a_gamma_that_returns_no_number(returned):
    tx = optaxmods.lga(lambda step: returned, status_every=1)
    with pytest.raises(ValueError, match="gamma is a schedule that must"):
        tx.update(GRADIENT, tx.init(GRADIENT), value=1.0)


@pytest.mark.parametrize("axis_name", [0, True, ("data", 1), optax.sgd(0.1)])
def test_an_axis_of_lga_that_is_no_name(axis_name):
    with pytest.raises(ValueError, match="axis_name must be the name of a"):
        optaxmods.lga(1.0, status_every=1, axis_name=axis_name)


@pytest.mark.parametrize("axis_name", ["data", ("data",), ["data"]])
def test_an_axis_of_lga_that_is_not_there(axis_name):
    tx = optaxmods.lga(1.0, status_every=1, axis_name=axis_name)
    with pytest.raises(ValueError, match="'data', which is no manual mesh"):
        tx.update(GRADIENT, tx.init(GRADIENT), value=1.0)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda x: optaxmods.agr(x), "strength .* got an array of shape"),
        (lambda x: optaxmods.adan(1.0, restart=x), "got an array of shape"),
        (lambda x: optaxmods.agr(reduction_axes=x), "holds an array of shape"),
        (
            lambda x: optaxmods.lga(1.0, status_every=x),
            "status_every .* got an array of shape",
        ),
        (
            lambda x: optaxmods.lga(1.0, status_every=1, upper_bound=x),
            "upper_bound .* got an array of shape",
        ),
    ],
)
def test_no_array_is_printed(factory, message):
    with pytest.raises(ValueError, match=message) as error:
        factory(jnp.ones((40, 40)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"grads": None}, TypeError, "grads must be the gradients"),
        ({"extra_args": {1: 2.0}}, TypeError, "keywords must be strings"),
        (
            {"extra_args": {"params": 1}},
            TypeError,
            "multiple values .*'params'",
        ),
        ({"extra_args": {"state": 1}}, TypeError, "values .*'state'"),
        (
            {"extra_args": {"updates": 1}},
            TypeError,
            "multiple values .*'updates'",
        ),
        ({"value": 1.0}, TypeError, r"'value', which is no field.*extra_args="),
        ({"params": {}}, TypeError, "'params', which is set by the step"),
        ({"step": 0}, TypeError, "'step', which is set by the step"),
    ],
)
def test_what_a_train_state_does_not_take(arguments, error, message):
    state = TrainState.create(
        apply_fn=nn.Dense(1).apply, params=GRADIENT, tx=optax.sgd(0.1)
    )
    with pytest.raises(error, match=message):
        state.apply_gradients(**{"grads": GRADIENT, **arguments})


@pytest.mark.parametrize("number", [jnp.float32(0.5), np.float32(0.5), 0.5])
def test_arrays_and_tracers_are_numbers(number):
    params = make_params()

    def step(number):
        tx = optaxmods.adan_agr(
            *[number] * 7,
            mask=None,
            proximal=True,
            strength=number,
            max_alpha=number,
        )
        return tx.update(params, tx.init(params), params)

    got, _ = jax.jit(step)(number)
    want, _ = step(number)
    for ours, theirs in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
