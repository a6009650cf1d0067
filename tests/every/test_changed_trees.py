"""What is said where a state, a mask, parameters or gradients do not fit."""

import collections
import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests.helpers.transformations import losing

PARAMS = {"head": {"k": jnp.ones((2, 3)), "b": jnp.ones(3)}, "w": jnp.ones(2)}


def schedule(step):
    return 0.1 / (1 + step)


KEEPS_MOMENTS = {
    "scale_by_agr_adam": optaxmods.scale_by_agr_adam,
    "adamw_agr": functools.partial(optaxmods.adamw_agr, 1e-2),
    "scale_by_adan": optaxmods.scale_by_adan,
    "adan": functools.partial(optaxmods.adan, 1e-2),
    "adan_agr": functools.partial(optaxmods.adan_agr, 1e-2),
    "with_lga": lambda: losing(
        optaxmods.with_lga(optaxmods.adan(1e-2), 1e-3, status_every=1)
    ),
}
HEAD = PARAMS["head"]
OTHER_TREES = {
    "missing": ({"head": HEAD}, "w is in {theirs} alone"),
    "more": ({**PARAMS, "z": jnp.ones(2)}, "z is in {ours} alone"),
    "renamed": (
        {"head": {"k": HEAD["k"], "c": HEAD["b"]}, "w": PARAMS["w"]},
        "head/c is in {ours} alone",
    ),
    "another shape": (
        {"head": {**HEAD, "b": jnp.ones((1, 3))}, "w": PARAMS["w"]},
        r"head/b is of shape \(1, 3\) in {ours} and \(3,\) in {theirs}",
    ),
    "a branch": (
        {**PARAMS, "w": {"a": jnp.ones(2)}},
        "w/a is in {ours} alone",
    ),
    "a container": (
        {"head": list(HEAD.values()), "w": PARAMS["w"]},
        "head/0 is in {ours} alone",
    ),
}


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["w"], meta_fields=["name"]
)
@dataclasses.dataclass
class Block:
    w: jax.Array
    name: str


def no_array(abstract_function, *arguments):
    """Neither compiled nor run: all that is said is said while tracing."""
    return jax.eval_shape(abstract_function, *arguments)


@pytest.mark.parametrize("case", OTHER_TREES)
@pytest.mark.parametrize("name", KEEPS_MOMENTS)
def test_gradients_of_another_tree_than_at_init(name, case):
    tx, (tree, differ) = KEEPS_MOMENTS[name](), OTHER_TREES[case]
    differ = differ.format(
        ours="the gradients", theirs="the parameters that init was given"
    )
    message = (
        "the gradients and the parameters that init was given must be of one"
        f" tree, but {differ}: pass gradients of the same parameters, or call"
        " init again"
    )
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=message) as error:
        no_array(lambda tree: tx.update(tree, state, tree), tree)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=message):
        tx.update(tree, state)


@pytest.mark.parametrize(
    "name",
    [name for name in KEEPS_MOMENTS if "scale_by" not in name],
)
@pytest.mark.parametrize("case", OTHER_TREES)
def test_parameters_of_another_tree_than_the_gradients(name, case):
    tx, (tree, differ) = KEEPS_MOMENTS[name](), OTHER_TREES[case]
    state = tx.init(tree)
    # It is the gradients that are at fault where they are not as at init.
    differ = differ.format(ours="the gradients", theirs="params")
    message = f"gradients and params must be of one tree, but {differ}: pass"
    with pytest.raises(ValueError, match=message):
        no_array(lambda tree: tx.update(tree, state, PARAMS), tree)


def test_containers_of_other_types():
    tx = optaxmods.scale_by_agr_adam()
    state = tx.init([jnp.ones(2)])
    message = "their containers differ, list and tuple: pass gradients of the"
    with pytest.raises(ValueError, match=message):
        tx.update((jnp.ones(2),), state)
    nested = {"blocks": ({}, {"w": (jnp.ones(2),)})}
    message = "their containers differ at blocks/1/w, list and tuple: pass"
    with pytest.raises(ValueError, match=message):
        tx.update({"blocks": ({}, {"w": [jnp.ones(2)]})}, tx.init(nested))
    message = "their containers differ at 1, Block: pass gradients of the same"
    one, other = ((jnp.ones(2), Block(jnp.ones(2), name)) for name in "ab")
    with pytest.raises(ValueError, match=message):
        tx.update(one, tx.init(other))
    with pytest.raises(ValueError, match="0 is no array in the parameters"):
        tx.update([jnp.ones(2)], state._replace(mu=["text"]))
    with pytest.raises(ValueError, match="but 0 is missing in the parameters"):
        tx.update([jnp.ones(2)], tx.init([None]))


WITH_MASK = {
    "adamw_agr": functools.partial(optaxmods.adamw_agr, learning_rate=1e-2),
    "adan": functools.partial(
        optaxmods.adan, learning_rate=1e-2, weight_decay=0.1
    ),
    "adan decoupled": functools.partial(
        optaxmods.adan_agr,
        learning_rate=1e-2,
        weight_decay=0.1,
        proximal=False,
    ),
}
OTHER_MASKS = {
    "missing": ({"head": True}, "w is in the parameters alone"),
    "more": ({**PARAMS, "z": False}, "z is in mask alone"),
    "deeper": ({"head": True, "w": {"a": True}}, "w/a is in mask alone"),
    "returned": (lambda tree: {"head": True}, "w is in the parameters alone"),
    "a list": ([True, False], "0 is in mask alone"),
}


@pytest.mark.parametrize("case", OTHER_MASKS)
@pytest.mark.parametrize("name", WITH_MASK)
def test_a_mask_of_another_tree(name, case):
    mask, differ = OTHER_MASKS[case]
    tx = WITH_MASK[name](mask=mask)
    message = (
        f"mask and the parameters must be of one tree, but {differ}: mask is a"
        " tree of booleans like the parameters, or a prefix"
    )
    with pytest.raises(ValueError, match=message):
        no_array(tx.init, PARAMS)


@pytest.mark.parametrize("name", WITH_MASK)
def test_masks_that_fit(name):
    for mask in (
        True,
        {"head": True, "w": False},
        {"head": {"k": 1, "b": 0}, "w": False},
        lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree),
    ):
        if isinstance(mask, bool):
            mask = functools.partial(lambda tree, one: one, one=mask)
        tx = WITH_MASK[name](mask=mask)
        updates, _ = no_array(
            lambda tree, tx=tx: tx.update(tree, tx.init(tree), tree), PARAMS
        )
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, PARAMS)


@pytest.mark.parametrize("name", WITH_MASK)
@pytest.mark.parametrize(
    ("leaf", "what"),
    [
        (jnp.ndim, "a function"),
        ("no_decay", "'no_decay'"),  # A label, as optax.partition has them.
        (np.ones((3, 2), bool), r"an array of shape \(3, 2\)"),
    ],
)
def test_a_mask_of_other_leaves(name, leaf, what):
    message = f"mask must be a tree of booleans, but w is {what}: one boolean"
    for mask in ({"head": True, "w": leaf}, lambda _: {"head": 1, "w": leaf}):
        tx = WITH_MASK[name](mask=mask)
        with pytest.raises(ValueError, match=message):
            tx.init(PARAMS)


@pytest.mark.parametrize("name", WITH_MASK)
def test_a_mask_that_was_taken_for_a_schedule(name):
    factory = WITH_MASK[name]
    keywords = {"mask": lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)}
    tx = optax.inject_hyperparams(factory.func)(**factory.keywords, **keywords)
    with pytest.raises(ValueError, match="name a callable in static_args"):
        tx.init(PARAMS)
    named = optax.inject_hyperparams(factory.func, static_args="mask")(
        **factory.keywords, **keywords
    )
    named.init(PARAMS)


@pytest.mark.parametrize("name", WITH_MASK)
def test_a_mask_given_later(name):
    make = WITH_MASK[name]
    state = make().init(PARAMS)
    tx = make(mask={"head": True, "w": False})
    with pytest.raises(ValueError, match="mask was given, but the state is"):
        tx.update(PARAMS, state, PARAMS)


@pytest.mark.parametrize(
    "rates",
    [{}, {"learning_rate": schedule}, {"weight_decay": schedule}],
    ids=["numbers", "scheduled rate", "scheduled decay"],
)
@pytest.mark.parametrize("name", WITH_MASK)
def test_a_mask_left_out_later(name, rates):
    make = WITH_MASK[name]
    state = make(mask={"head": True, "w": False}).init(PARAMS)
    tx = make(**rates)
    with pytest.raises(ValueError, match="with a mask, but none was given"):
        tx.update(PARAMS, state, PARAMS)


@pytest.mark.parametrize("name", WITH_MASK)
def test_gradients_that_are_none(name):
    tx = WITH_MASK[name]()
    with pytest.raises(ValueError, match="the gradients are None"):
        tx.update(None, tx.init(PARAMS), PARAMS)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("changed", ["learning_rate", "weight_decay"])
@pytest.mark.parametrize("name", WITH_MASK)
def test_a_rate_that_became_a_schedule(name, changed, masked):
    made = WITH_MASK[name].func
    rates = {"learning_rate": 1e-2, "weight_decay": 0.1}
    rates |= {"mask": {"head": True, "w": False}} if masked else {}
    if "decoupled" in name:
        rates["proximal"] = False
    state = made(**rates).init(PARAMS)
    tx = made(**{**rates, changed: schedule})
    message = (
        f"{changed} is a schedule, but the state is that of a number {changed},"
        " without a step count: call init again, or use a schedule"
    )
    with pytest.raises(ValueError, match=message):
        no_array(lambda tree: tx.update(tree, state, tree), PARAMS)
    # The other way round there is a count too many, which nobody reads.
    later, counted = made(**rates), tx.init(PARAMS)
    no_array(lambda tree: later.update(tree, counted, tree), PARAMS)


OF_ONE = {
    "lga": ("LgaState", lambda: optaxmods.lga(1e-3, status_every=1)),
    "with_lga": (
        "WithLgaState",
        lambda: optaxmods.with_lga(optax.sgd(1.0), 1e-3, status_every=1),
    ),
    "gal": (
        "GalState",
        lambda: optaxmods.gal(optaxmods.GradientAdjuster((2,)), 2),
    ),
    "scale_by_agr_adam": ("ScaleByAdamState", optaxmods.scale_by_agr_adam),
    "scale_by_adan": ("ScaleByAdanState", optaxmods.scale_by_adan),
    "agr": ("AgrState", lambda: optaxmods.agr(lambda step: 0.5)),
}
OTHER_STATES = {
    "optax.scale_by_adam": (optax.scale_by_adam, "a ScaleByAdamState"),
    "lga": (OF_ONE["lga"][1], "a LgaState"),
    "a trace": (lambda: optax.trace(0.9), "a TraceState"),
    "a chain": (lambda: optax.chain(optax.sgd(1.0)), "a tuple"),
}


@pytest.mark.parametrize("other", OTHER_STATES)
@pytest.mark.parametrize("name", OF_ONE)
def test_the_state_of_another_transformation(name, other):
    (kind, make), (make_other, got) = OF_ONE[name], OTHER_STATES[other]
    if got == f"a {kind}":
        return
    tx, state = make(), make_other().init(PARAMS)
    message = (
        f"the state must be an? {kind}, which this transformation's init or"
        f" last update returned, got {got}: pass back what it returned,"
        " and call init again where the optimizer has changed"
    )
    with pytest.raises(ValueError, match=message) as error:
        tx.update(PARAMS, state, PARAMS, value=1.0)
    assert "\n" not in str(error.value)


def test_a_state_of_the_same_name():
    tx = optaxmods.scale_by_adan()
    state = optax.adan(1e-3).init(PARAMS)[0]
    with pytest.raises(ValueError, match="got a ScaleByAdanState of optax"):
        tx.update(PARAMS, state, PARAMS)


def test_a_state_of_a_class_that_was_imported_twice():
    tx = OF_ONE["lga"][1]()
    state = tx.init(PARAMS)
    again = collections.namedtuple("LgaState", state._fields)(*state)
    _, after = no_array(lambda tree: tx.update(tree, again, value=1.0), PARAMS)
    assert type(after) is type(state)


@pytest.mark.parametrize("returned", [None, "0.1", [0.1], jnp.ones(3)])
@pytest.mark.parametrize("rate", ["learning_rate", "weight_decay"])
@pytest.mark.parametrize("name", WITH_MASK)
def test_a_schedule_that_returns_no_number(name, rate, returned):
    tx = WITH_MASK[name](**{rate: lambda step: returned})
    message = f"{rate} is a schedule that must return one real number for a"
    with pytest.raises(ValueError, match=message):
        no_array(lambda tree: tx.update(tree, tx.init(tree), tree), PARAMS)


@pytest.mark.parametrize("rate", ["learning_rate", "weight_decay"])
def test_numbers_that_schedules_return(rate):
    for number in (1, 0.5, jnp.float32(1), jnp.int32(1), 1j * jnp.ones(())):
        tx = optaxmods.adan(
            **{"learning_rate": 0.1, rate: lambda step, n=number: n}
        )
        tree = {"w": jnp.ones(2, jnp.complex64)}
        updates, _ = no_array(
            lambda t, tx=tx: tx.update(t, tx.init(t), t), tree
        )
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, tree)
