"""What GAL says to bad input."""

import dataclasses
import functools
import math
import re

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, gal

D = 4
FEATURES = jnp.ones((6, D))


def loss_fn(z):
    return jnp.sum(z**2, axis=-1)


def schedule(step):
    return 0.1


def init(key, z):
    return {}


def apply(theta, z):
    return z


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"magnitude": -0.1}, r"magnitude must be in \[0, 1\]"),
        ({"magnitude": 1.5}, r"magnitude must be in \[0, 1\]"),
        ({"accept": ">="}, "accept must be one of '<=', '<', 'always'"),
        ({"accept": np.array(["<=", "<"])}, "accept must be one of"),
        ({"remainder": None}, "remainder must be one of"),
        ({"convention": "code"}, "convention must be one of 'paper'"),
        ({"remainder": "cubic"}, "remainder must be one of 'auto'"),
        ({"network": "MLP"}, "network must be a flax.linen module or a pair"),
        ({"network": (init,)}, "network must be a flax.linen module"),
        ({"network": nn.Dense}, r"network must be an instance.* Dense\(\)"),
        ({"activation": "relu"}, "activation must be None or a function"),
        ({"hidden_sizes": 16}, r"hidden_sizes must be .* \(16,\) for one"),
        ({"hidden_sizes": None}, "hidden_sizes must be a sequence of ints"),
        ({"hidden_sizes": "16"}, "hidden_sizes must be a sequence of ints"),
        ({"hidden_sizes": (8, 0)}, r"ints of at least 1.* got \(8, 0\)"),
        ({"hidden_sizes": (-8,)}, "hidden_sizes must be .* of at least 1"),
        ({"hidden_sizes": (8.0,)}, "hidden_sizes must be a sequence of ints"),
        ({"hidden_sizes": (True,)}, "hidden_sizes must be a sequence of ints"),
        ({"magnitude": "0.1"}, "magnitude must be a number, got '0.1'"),
        ({"magnitude": None}, "magnitude must be a number, got None"),
        ({"magnitude": schedule}, "magnitude must be a number.* schedule"),
        ({"magnitude": FEATURES}, "magnitude must be a number, got an array"),
        ({"tentative_step": -1.0}, "tentative_step must be finite and at"),
        ({"tentative_step": math.nan}, "tentative_step must be finite and"),
        ({"tentative_step": None}, "tentative_step must be a number"),
        ({"tentative_step": schedule}, "tentative_step .* what a schedule"),
        ({"eps": -1e-12}, "eps must be finite and at least 0"),
        ({"eps": schedule}, "eps must be a number"),
        ({"axis_name": 0}, "axis_name must be the name of a mesh axis"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientAdjuster(**arguments)


@dataclasses.dataclass(frozen=True)
class Larger(GradientAdjuster):
    magnitude: float = 0.3


@pytest.mark.parametrize(
    ("make_it", "where"),
    [
        (lambda: GradientAdjuster(magnitude=0.1), __file__),
        (lambda: Larger(), __file__),
        (
            lambda: dataclasses.replace(GradientAdjuster(), magnitude=1),
            dataclasses.__file__,
        ),
        (
            lambda: dataclasses.replace(Larger(magnitude=0.01), magnitude=0.5),
            dataclasses.__file__,
        ),
    ],
)
def test_a_large_magnitude_is_warned_of_once_where_it_is_made(make_it, where):
    with pytest.warns(UserWarning, match="diverge") as record:
        make_it()
    assert len(record) == 1
    assert record[0].filename == where
    if where == __file__:
        assert record[0].lineno == make_it.__code__.co_firstlineno


def test_using_an_adjuster_of_large_magnitude_warns_no_more():
    with pytest.warns(UserWarning, match="diverge"):
        adjuster = GradientAdjuster((4,), 0.5)
    theta = gal(adjuster, D).init(None).gal_theta  # A warning is an error.
    adjuster.loss(theta, FEATURES, loss_fn)


ADJUSTER = GradientAdjuster((4,))
THETA = {
    "layer_0": {"kernel": jnp.ones((D, 4)), "bias": jnp.ones(4)},
    "layer_1": {"kernel": jnp.ones((4, D)), "bias": jnp.ones(D)},
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((D, ADJUSTER), "adjuster must be a GradientAdjuster.* got 4"),
        ((GradientAdjuster, D), "adjuster must be .* got the class Gradient"),
        ((ADJUSTER, "4"), "num_features must be an int"),
        ((ADJUSTER, 4.0), "num_features must be an int.*got 4.0"),
        ((ADJUSTER, True), "num_features must be an int"),
        ((ADJUSTER, None), "num_features must be an int"),
        ((ADJUSTER, jnp.int32(4)), "num_features .* static_args"),
        ((ADJUSTER, D, 1e-3), "optimizer must be an optax transformation"),
        ((ADJUSTER, D, optax.adam), "optimizer must be .* got a function"),
    ],
)
def test_bad_arguments_of_the_transformation(arguments, message):
    names = "adjuster", "num_features", "optimizer"
    with pytest.raises(ValueError, match=message):
        gal(**dict(zip(names, arguments, strict=False)))


@pytest.mark.parametrize("key", [0, None, "a", jnp.ones(2)])
def test_a_key_that_is_none(key):
    with pytest.raises(TypeError, match="PRNG key"):  # JAX's own words.
        ADJUSTER.init(key, D)


@pytest.mark.parametrize("key", ["a", None, 1.5, True, jnp.ones(2)])
def test_a_seed_that_is_none(key):
    with pytest.raises(ValueError, match="key must be an int or a key of jax"):
        gal(ADJUSTER, D, key=key)


@pytest.mark.parametrize("wrong", [loss_fn(FEATURES), None])
def test_a_loss_that_is_no_function(wrong):
    for method in (ADJUSTER.loss, ADJUSTER.compare):
        with pytest.raises(TypeError, match="is not callable"):
            method(THETA, FEATURES, wrong)


@pytest.mark.parametrize("wrong", [3, (FEATURES, lambda dz: (dz,))])
def test_a_pullback_that_is_no_function(wrong):
    with pytest.raises(TypeError, match="object is not callable"):
        gal(ADJUSTER, D).update(
            FEATURES,
            OPT_STATE,
            features=FEATURES,
            loss_fn=loss_fn,
            pullback=wrong,
        )


OPT_STATE = gal(ADJUSTER, D).init(None)


# To the step's methods that take each argument.
WRONG = [
    ("theta", None, "theta must be what init .* returned, got None"),
    ("theta", FEATURES, "theta must be what init or adjuster_params"),
    ("theta", {}, "theta must be what init or adjuster_params"),
    ("theta", 1.0, "theta must be what init .* returned, got 1.0"),
    ("theta", {"w": 2.0}, r"theta must be what init .* got \{'w': 2.0\}"),
    ("theta", OPT_STATE, r"opt_state\) returned, but .*count is int32"),
    ("theta", {"layer_0": "a"}, r"but theta\['layer_0'\] is 'a'"),
    ("features", THETA, "features must be an array .* got a dict"),
    ("features", None, "features must be an array .* got None"),
    ("features", [[1.0] * D], "features must be an array"),
    ("features", 1.0, "features must be an array .* got 1.0"),
    ("features", jnp.float32(1), "features must be an array of shape"),
    ("features", jnp.ones((6, D), int), "floating.* array of int32"),
    ("features", FEATURES > 0, "features must be real floating"),
    ("features", FEATURES * 1j, "features must be real floating"),
    ("loss_fn", lambda z: z[:, 0] > 0, "loss_fn must return real float"),
    ("tentative_step", -1.0, "tentative_step must be finite and at"),
    ("tentative_step", np.float32("nan"), "tentative_step must be fin"),
    ("tentative_step", "a", "tentative_step must be a number"),
    ("tentative_step", FEATURES, "tentative_step .* got an array"),
    ("example_weights", [1.0] * 6, "example_weights must be an array"),
    ("example_weights", 1.0, "example_weights must be an array"),
    ("example_weights", jnp.ones(()), r"example_weights .* \(6,\) .* got \(\)"),
    ("example_weights", jnp.ones((6, 1)), r"example_weights .* got \(6, 1\)"),
    ("example_weights", jnp.ones(6) * 1j, "must be real.* got complex64"),
    ("example_weights", jax.random.split(jax.random.key(0), 6), "got key<"),
]
TAKERS = {
    "theta": ("loss", "compare", "apply"),
    "features": ("loss", "compare", "apply", "update"),
}
OTHERS = ("loss", "compare", "update")


@pytest.mark.parametrize(
    ("method", "name", "value", "message"),
    [
        (method, name, value, message)
        for name, value, message in WRONG
        for method in TAKERS.get(name, OTHERS)
        # To update, None is an argument that was left out.
        if method != "update" or value is not None
    ],
)
def test_bad_arguments_of_a_step(method, name, value, message):
    step = {
        "loss": ADJUSTER.loss,
        "compare": ADJUSTER.compare,
        "apply": lambda theta, features, loss_fn: ADJUSTER.apply(
            theta, features
        ),
        "update": lambda theta, **arguments: gal(ADJUSTER, D).update(
            FEATURES, OPT_STATE, pullback=lambda dz: (dz,), **arguments
        ),
    }[method]
    given = {"theta": THETA, "features": FEATURES, "loss_fn": loss_fn}
    with pytest.raises(ValueError, match=message):
        step(**{**given, name: value})


@pytest.mark.parametrize("method", ["loss", "compare"])
def test_theta_is_checked_before_the_loss_runs(method):
    def failing(z):
        raise NotImplementedError

    with pytest.raises(ValueError, match="theta must be what init"):
        getattr(ADJUSTER, method)(OPT_STATE, FEATURES, failing)


def paired(z, targets):
    return loss_fn(z)


@pytest.mark.parametrize("method", ["loss", "compare"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block_size": 2}, r"block_size needs targets=\.\.\."),
        ({"block_size": 0}, "block_size must be None or an int of at least 1"),
        ({"block_size": True}, "block_size must be None or an int"),
        ({"block_size": 2.0}, "block_size must be .* got 2.0"),
        (
            {"targets": {"to": jnp.ones((6, 1)), "of": jnp.ones(5)}},
            r"\(6,\), but targets\['of'\] has the shape \(5,\)",
        ),
        ({"targets": jnp.ones(6), "head": jnp.ones(4)}, "head must be a pair"),
        ({"head": (jnp.ones(4), jnp.ones(4))}, "head must be a pair"),
        (
            {"head": (lambda w, z: z, ())},
            r"head needs targets=\.\.\.",
        ),
        (
            {"targets": (), "head": (lambda w, z: z[0], ())},
            r"array \(6, 'd'\), .* \(4,\)",
        ),
        (
            {"targets": (), "head": (lambda w, z: (z, z), ())},
            "head must map features",
        ),
        (
            {
                "targets": jnp.ones(6),
                "head": (lambda w, z: z.astype(int), ()),
                "block_size": 2,
            },
            "array of int32",
        ),
        (
            {
                "targets": jnp.ones(6),
                "loss_fn": lambda z, to: z,
                "block_size": 2,
            },
            "loss_fn must return one loss for each example",
        ),
        (
            {
                "targets": jnp.ones(6),
                "example_weights": jnp.ones(5),
                "block_size": 2,
            },
            r"example_weights .* \(6,\) .* got \(5,\)",
        ),
        (
            {"targets": jnp.ones(6), "tentative_step": -1.0, "block_size": 2},
            "tentative_step must be finite",
        ),
    ],
)
def test_bad_arguments_of_blocks(method, arguments, message):
    given = {"theta": THETA, "features": FEATURES, "loss_fn": paired}
    with pytest.raises(ValueError, match=message):
        getattr(ADJUSTER, method)(**{**given, **arguments})


def test_released_is_not_for_blocks():
    adjuster = GradientAdjuster((), convention="released")
    with pytest.raises(ValueError, match="decides by the whole batch"):
        adjuster.loss(
            THETA, FEATURES, paired, targets=jnp.ones(6), block_size=2
        )


@pytest.mark.parametrize(
    ("pullback", "message"),
    [
        (lambda dz: dz, "returns one cotangent in a tuple"),
        (lambda dz: (dz, dz), "function of params alone.* returned 2"),
        (lambda dz: None, "function of params alone.* returned None"),
    ],
)
def test_a_pullback_that_is_none(pullback, message):
    tx = gal(ADJUSTER, D)
    arguments = {"features": FEATURES, "loss_fn": loss_fn}
    with pytest.raises(ValueError, match=message):
        tx.update(FEATURES, OPT_STATE, pullback=pullback, **arguments)


SLOPES = {"a": jnp.ones(3), "b": [jnp.ones((1, 2))]}


@pytest.mark.parametrize(
    ("pulled", "message"),
    [
        # Broadcasting would take these, and change the updates' shapes.
        (
            {**SLOPES, "a": jnp.ones((1, 3))},
            r"updates\['a'\] of shape \(3,\) .* returned one of shape \(1, 3\)",
        ),
        ({**SLOPES, "a": jnp.ones(())}, r"updates\['a'\] .* of shape \(\)"),
        ({**SLOPES, "a": 1.0}, r"updates\['a'\] .* shape \(\) and dtype float"),
        (
            {**SLOPES, "b": [jnp.ones((5, 2))]},
            r"updates\['b'\]\[0\] of shape \(1, 2\) .* of shape \(5, 2\)",
        ),
        # And casting these.
        ({**SLOPES, "a": jnp.ones(3) * 1j}, r"updates\['a'\] .* complex64"),
        ({**SLOPES, "a": jnp.ones(3, int)}, r"updates\['a'\] .* dtype int32"),
        (
            {**SLOPES, "a": np.zeros(3, jax.dtypes.float0)},
            r"updates\['a'\] .*float0",
        ),
        ({**SLOPES, "a": None}, r"updates\['a'\], but it returned None"),
        ({**SLOPES, "a": SLOPES}, r"updates\['a'\], but it returned a dict"),
    ],
)
def test_a_pullback_of_other_params(pulled, message):
    tx = gal(ADJUSTER, D)
    arguments = {"features": FEATURES, "loss_fn": loss_fn}
    with pytest.raises(ValueError, match=f"^pullback must .*{message}.*jax.vj"):
        tx.update(SLOPES, OPT_STATE, pullback=lambda dz: (pulled,), **arguments)


@pytest.mark.parametrize(
    ("pulled", "message"),
    [
        ({"a": jnp.ones(3)}, "key mismatch"),
        ({**SLOPES, "c": jnp.ones(3)}, "key mismatch"),
        ({**SLOPES, "b": (jnp.ones((1, 2)),)}, "Expected list, got"),
        (jnp.ones(3), "Expected dict, got"),
    ],
)
def test_a_pullback_of_another_tree(pulled, message):
    tx = gal(ADJUSTER, D)
    arguments = {"features": FEATURES, "loss_fn": loss_fn}
    with pytest.raises(ValueError, match=message):  # JAX's own words.
        tx.update(SLOPES, OPT_STATE, pullback=lambda dz: (pulled,), **arguments)


def test_a_pullback_of_one_example_s_copies_is_refused():
    # As of a model under jax.vmap: a leading axis more than the gradients.
    inputs, weights = jnp.ones((6, 3)), jnp.ones((3, D))

    def each(weights):
        return jax.vmap(jnp.dot)(inputs, weights)

    copies = jnp.broadcast_to(weights, (6, 3, D))
    features, pullback = jax.vjp(each, copies)
    with pytest.raises(ValueError, match=r"\(3, 4\) .* of shape \(6, 3, 4\)"):
        jax.eval_shape(
            lambda: gal(ADJUSTER, D).update(
                weights,
                OPT_STATE,
                features=features,
                loss_fn=loss_fn,
                pullback=pullback,
            )
        )


def test_arguments_of_both_routes():
    tx = gal(ADJUSTER, D)
    given = {"adjuster_grads": THETA, "features": FEATURES, "loss_fn": loss_fn}
    # Of one of them, another part of a chain may be told.
    tx.update(FEATURES, OPT_STATE, **given)
    with pytest.raises(TypeError, match=r"adjuster_grads, .* leave them out"):
        tx.update(FEATURES, OPT_STATE, pullback=lambda dz: (dz,), **given)


@pytest.mark.parametrize("axis_name", ["data", ("data",)])
def test_an_axis_that_is_not_there(axis_name):
    adjuster = GradientAdjuster((4,), axis_name=axis_name)
    with pytest.raises(ValueError, match="'data', which is no manual mesh"):
        adjuster.loss(THETA, FEATURES, loss_fn)


def test_numbers_may_be_traced_and_of_numpy():
    def loss(magnitude, tentative_step, eps):
        adjuster = GradientAdjuster(
            np.array([4]), magnitude, tentative_step, eps=eps
        )
        return adjuster.loss(THETA, FEATURES, loss_fn)[0]

    numbers = [np.float32(0.01), np.float32(0.1), np.float32(1e-6)]
    want = loss(*numbers)
    assert loss(*map(jnp.asarray, numbers)) == want
    assert jax.eval_shape(loss, *numbers).shape == want.shape


def test_injecting():
    inject = optax.inject_hyperparams
    tx = inject(gal, static_args="num_features")(ADJUSTER, D)
    state = tx.init(THETA)
    update = functools.partial(jax.eval_shape, tx.update)
    _, after = update(THETA, state, adjuster_grads=adjuster_params(state))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    with pytest.raises(ValueError, match="it in static_args"):
        jax.eval_shape(inject(gal)(ADJUSTER, D).init, THETA)


def test_errors_of_shape():
    adjuster = GradientAdjuster((4,))
    with pytest.raises(ValueError, match=r"at least 2, got 1.*last hidden"):
        adjuster.init(jax.random.key(0), 1)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        gal(adjuster, 1)
    theta = adjuster.init(jax.random.key(0), D + 1)
    with pytest.raises(ValueError, match=r"have 4 entries.* is one for 5"):
        adjuster.loss(theta, FEATURES, loss_fn)
    theta = adjuster.init(jax.random.key(0), D)
    with pytest.raises(ValueError, match=r"shape \(6,\).*returned shape \(\)"):
        adjuster.loss(theta, FEATURES, lambda z: loss_fn(z).mean())
    with pytest.raises(ValueError, match=r"returned shape \(\(6,\), \(6,\)\)"):
        adjuster.loss(theta, FEATURES, lambda z: (loss_fn(z), loss_fn(z)))
    with pytest.raises(ValueError, match=r"tentative_step .* schedule"):
        adjuster.loss(theta, FEATURES, loss_fn, tentative_step=lambda step: 1.0)
    with pytest.raises(ValueError, match=r"example_weights.*\(6,\).*\(4,\)"):
        adjuster.loss(theta, FEATURES, loss_fn, example_weights=jnp.ones(4))
    narrow = GradientAdjuster(network=(init, lambda t, z: z[..., :2]))
    with pytest.raises(ValueError, match=r"\(6, 4\), but it returned \(6, 2\)"):
        narrow.apply({}, FEATURES)


@pytest.mark.parametrize(
    "leaf", [jnp.arange(D), 3, jax.random.key(0), jnp.ones(D, complex)]
)
def test_a_theta_that_is_not_all_floats(leaf):
    network = (lambda key, z: {"a": jnp.ones(D), "b": [leaf]}, apply)
    name = re.escape(str(jnp.result_type(leaf)))
    for make_theta in (
        GradientAdjuster(network=network).init,
        lambda key, d: gal(GradientAdjuster(network=network), d).init(None),
    ):
        with pytest.raises(ValueError, match=rf"theta\['b'\]\[0\] is {name}"):
            make_theta(jax.random.key(0), D)


def test_update_without_either_route():
    tx = gal(GradientAdjuster((4,)), D)
    for given in ({}, {"features": FEATURES, "loss_fn": loss_fn}):
        with pytest.raises(
            TypeError, match=r"adjuster_grads=.*features=.*pull"
        ):
            tx.update(FEATURES, tx.init(None), **given)


def test_gradients_that_are_not_those_of_theta():
    tx = gal(GradientAdjuster((4,)), D)
    state = tx.init(None)
    narrow = jax.tree.map(lambda leaf: leaf[:1], state.gal_theta)
    for given in (narrow, {"kernel": FEATURES}):
        with pytest.raises(ValueError, match=r"adjuster_grads .* theta's sh"):
            tx.update(FEATURES, state, adjuster_grads=given)


def no_parameters(key, features):
    return {}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda z: None, "shape .2, 3., but it returned None"),
        (lambda z: "v", "shape .2, 3., but it returned 'v'"),
        (lambda z: (z, {}), r"shape .2, 3., but it returned (a tuple|\()"),
        (lambda z: z[:, :1], "shape .2, 3., but it returned .2, 1."),
        (lambda z: z > 0, "network must return real floating.* bool"),
        (lambda z: 1j * z, "network must return real floating.* complex64"),
    ],
)
def test_a_network_that_returns_no_vectors(returned, message):
    network = no_parameters, lambda theta, z: returned(z)
    adjuster = GradientAdjuster(network=network)
    z = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=message):
        adjuster.apply({}, z)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda z: adjuster.loss({}, z, lambda z: jnp.sum(z**2, -1)), z
        )


@pytest.mark.parametrize("leaf", ["text", jnp.tanh])
def test_a_network_whose_theta_holds_no_arrays(leaf):
    network = (lambda key, z: {"w": leaf}), lambda theta, z: z
    adjuster = GradientAdjuster(network=network)
    with pytest.raises(ValueError, match=r"theta must hold .* but theta\['w'"):
        adjuster.init(jax.random.key(0), 3)


def test_the_number_of_features_is_given_once():
    adjuster = GradientAdjuster((4,), num_features=D)
    theta = adjuster.init(jax.random.key(0))
    chex.assert_trees_all_equal(theta, ADJUSTER.init(jax.random.key(0), D))
    want = gal(ADJUSTER, D).init(None)
    for tx in (gal(adjuster), gal(adjuster, D), gal(adjuster, num_features=D)):
        chex.assert_trees_all_equal(tx.init(None), want)
    # No number, for it to inject.
    tx = optax.inject_hyperparams(gal)(adjuster)
    chex.assert_trees_all_equal(adjuster_params(tx.init(None)), theta)


def test_a_number_of_features_that_is_none_or_two():
    for wrong in ("4", 4.0, True, jnp.int32(4)):
        with pytest.raises(ValueError, match="num_features must be an int"):
            GradientAdjuster(num_features=wrong)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        GradientAdjuster(num_features=1)
    with pytest.raises(ValueError, match=r"must be an int.* got None"):
        ADJUSTER.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"must be an int.* got None"):
        gal(ADJUSTER)
    adjuster = GradientAdjuster((4,), num_features=D)
    for make in (
        lambda: adjuster.init(jax.random.key(0), D + 1),
        lambda: gal(adjuster, D + 1),
    ):
        with pytest.raises(ValueError, match="is 5 here, and 4 in the adj"):
            make()
