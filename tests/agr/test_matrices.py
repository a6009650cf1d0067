"""reduction_axes and axis_name in all their forms, and their errors."""

import dataclasses
from typing import Any, NamedTuple

from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from tests import oracles

GENERATOR = np.random.default_rng(0)
STACKED = GENERATOR.standard_cauchy((3, 4, 5))
KERNEL = GENERATOR.standard_cauchy((4, 5))
BIAS = GENERATOR.standard_cauchy(5)


def make_updates():
    return {
        "layers": {"kernel": jnp.asarray(STACKED, jnp.float32)},
        "head": {
            "kernel": jnp.asarray(KERNEL, jnp.float32),
            "bias": jnp.asarray(BIAS, jnp.float32),
        },
    }


def apply(updates, reduction_axes):
    tx = optaxmods.agr(reduction_axes=reduction_axes)
    return tx.update(updates, tx.init(updates))[0]


PER_LEAF = {"layers": {"kernel": (1, 2)}, "head": {"kernel": (), "bias": (0,)}}
FORMS = {
    "default": (None, [(0, 1, 2), (0, 1), None]),
    "all": ("all", [(0, 1, 2), (0, 1), 0]),
    "tuple": ((-2, -1), [(1, 2), (0, 1), None]),
    "one axis": ((-1,), [2, 1, None]),
    "tree": (PER_LEAF, [(1, 2), None, 0]),
    "callable": (lambda updates: PER_LEAF, [(1, 2), None, 0]),
    "callable tuple": (lambda updates: (-2, -1), [(1, 2), (0, 1), None]),
    "numpy ints": ((np.int64(-2), np.int64(-1)), [(1, 2), (0, 1), None]),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    argument, axes = FORMS[form]
    psi = apply(make_updates(), argument)
    got = [
        psi["layers"]["kernel"],
        psi["head"]["kernel"],
        psi["head"]["bias"],
    ]
    for leaf, raw, axis in zip(got, (STACKED, KERNEL, BIAS), axes, strict=True):
        want = raw if axis is None else oracles.agr.psi(raw, axes=axis)
        np.testing.assert_allclose(leaf, want, rtol=2e-6)


def test_a_tree_is_matched_by_key_path_under_masks_and_partitions():
    updates = make_updates()
    want = apply(updates, PER_LEAF)
    mask = {"layers": {"kernel": True}, "head": {"kernel": False, "bias": True}}
    tx = optax.masked(optaxmods.agr(reduction_axes=PER_LEAF), mask)
    psi, _ = tx.update(updates, tx.init(updates))
    np.testing.assert_array_equal(
        psi["layers"]["kernel"], want["layers"]["kernel"]
    )
    np.testing.assert_array_equal(psi["head"]["bias"], want["head"]["bias"])

    labels = {"layers": "damped", "head": "plain"}
    tx = optax.partition(
        {
            "damped": optaxmods.agr(reduction_axes=PER_LEAF),
            "plain": optax.identity(),
        },
        labels,
    )
    psi, _ = tx.update(updates, tx.init(updates))
    np.testing.assert_array_equal(
        psi["layers"]["kernel"], want["layers"]["kernel"]
    )
    np.testing.assert_array_equal(
        psi["head"]["kernel"], updates["head"]["kernel"]
    )


def test_an_embedding_table_can_be_left_out():
    updates = {"embedding": jnp.ones((5, 2)), "kernel": jnp.ones((2, 2))}

    def axes(updates):
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: (
                () if "embedding" in jax.tree_util.keystr(path) else (0, 1)
            ),
            updates,
        )

    np.testing.assert_array_equal(apply(updates, axes)["embedding"], 1.0)
    np.testing.assert_allclose(apply(updates, axes)["kernel"], 0.75)
    np.testing.assert_allclose(apply(updates, None)["embedding"], 0.9)


class NnxModel(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List([nnx.Linear(2, 3, rngs=rngs)])
        self.head = nnx.Linear(3, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.blocks[0](x))


def nnx_trees():
    plain = {
        "blocks": {0: {"kernel": (0, 1), "bias": ()}},
        "head": {"kernel": (), "bias": (0,)},
    }
    boxed = nnx.state(NnxModel(nnx.Rngs(0)), nnx.Param)
    # An nnx state's leaves lie in Variables, whose path has one key more.
    return {
        "plain": plain,
        "boxed": jax.tree_util.tree_map_with_path(
            lambda path, leaf: (
                plain[path[0].key][path[1].key][path[2].key]
                if path[0].key == "blocks"
                else plain[path[0].key][path[1].key]
            ),
            boxed,
        ),
    }


@pytest.mark.parametrize("form", ["plain", "boxed"])
def test_nnx_trees(form):
    model = NnxModel(nnx.Rngs(0))
    tx = optaxmods.agr(reduction_axes=nnx_trees()[form])
    optimizer = nnx.Optimizer(
        model, optax.chain(tx, optax.sgd(1.0)), wrt=nnx.Param
    )
    before = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    grads = nnx.grad(lambda model, x: jnp.sum(model(x) ** 2))(
        model, jnp.ones((4, 2))
    )
    optimizer.update(model, grads)
    after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    step = jax.tree.map(lambda b, a: np.asarray(b - a, float), before, after)
    raw = nnx.to_pure_dict(grads)
    np.testing.assert_allclose(
        step["blocks"][0]["kernel"],
        oracles.agr.psi(np.asarray(raw["blocks"][0]["kernel"], float)),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        step["head"]["kernel"], raw["head"]["kernel"], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        step["head"]["bias"],
        oracles.agr.psi(np.asarray(raw["head"]["bias"], float)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_linen_boxes():
    updates = {"dense": {"kernel": nn.Partitioned(jnp.ones((2, 2)), ("a",))}}
    psi = apply(updates, {"dense": {"kernel": (1,)}})
    np.testing.assert_allclose(psi["dense"]["kernel"].value, 0.5, rtol=1e-6)


class Attention(NamedTuple):
    query: Any
    key: Any
    value: Any


class Layer(NamedTuple):
    kernel: Any
    bias: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class LayerOfFields:
    kernel: Any
    bias: Any


class NnxLayer(nnx.Module):
    def __init__(self, kernel, bias):
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(bias)


def nnx_layer(kernel, bias):
    return nnx.state(NnxLayer(kernel, bias))


# Each makes a tree of a matrix and of a bias.
TREES_WITH_BIAS = {
    "dictionary": lambda matrix, bias: {"query": {"k": matrix, "bias": bias}},
    "NamedTuple": Layer,
    "dataclass": LayerOfFields,
    "list": lambda matrix, bias: [{"bias": bias}, {"kernel": matrix}],
    "nnx state": nnx_layer,
    "nnx dictionary": lambda *leaves: nnx.to_pure_dict(nnx_layer(*leaves)),
    "linen box": lambda matrix, bias: {
        "bias": nn.Partitioned(bias, (None, "model")),
        "kernel": nn.LogicallyPartitioned(matrix, ("embed", None)),
    },
    "box in a box": lambda matrix, bias: {
        "bias": nn.Partitioned(nnx.Param(bias), (None, None)),
        "kernel": nnx.Param(matrix),
    },
    "flattened": lambda matrix, bias: {
        ("query", "bias"): bias,
        ("query", "kernel"): matrix,
    },
    "flattened to text": lambda matrix, bias: {
        "query/bias": bias,
        "query/kernel": matrix,
    },
    "flattened with dots": lambda matrix, bias: {
        "layers.0.bias": bias,
        "layers.0.weight": matrix,
    },
    # Names that only begin, end or lead to one with bias.
    "others": lambda matrix, bias: {
        "a": {"bias": bias},
        "b": {"bias": {"kernel": matrix}},
        "bias_kernel": matrix,
        "biases": matrix,
        "debias": matrix,
        "bias": Attention(matrix, matrix, matrix),
    },
}
IN_EACH = {
    "agr": lambda tree: optaxmods.agr().update(tree, optax.EmptyState())[0],
    "scheduled": lambda tree: optaxmods.agr(lambda _: 1.0).update(
        tree, optaxmods.agr(lambda _: 1.0).init(tree)
    )[0],
    "agr_coefficients": lambda tree: jax.tree.map(
        lambda alpha, g: g - alpha * g, optaxmods.agr_coefficients(tree), tree
    ),
    # The first moment starts at (1 - b1) Psi(g), Adan's difference at 0.
    "scale_by_agr_adam": lambda tree: jax.tree.map(
        lambda m: m / 0.5,
        first_state(optaxmods.scale_by_agr_adam(b1=0.5), tree).mu,
    ),
    "scale_by_agr_adan": lambda tree: jax.tree.map(
        lambda m: m / 0.5,
        first_state(optaxmods.scale_by_agr_adan(b1=0.5), tree).m,
    ),
}


def first_state(tx, tree):
    return tx.update(tree, tx.init(tree), tree)[1]


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        *[("agr", kind) for kind in TREES_WITH_BIAS],
        *[(function, "nnx state") for function in IN_EACH if function != "agr"],
    ],
)
def test_biases_of_two_axes_are_left_alone_by_default(function, kind):
    matrix, bias = np.asarray(KERNEL), np.asarray(KERNEL[:2])
    make = TREES_WITH_BIAS[kind]
    tree = make(jnp.float32(matrix), jnp.float32(bias))
    want = make(jnp.float32(oracles.agr.psi(matrix)), jnp.float32(bias))
    got = IN_EACH[function](tree)
    for ours, theirs in zip(
        jax.tree.leaves(got), jax.tree.leaves(want), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=4e-6)


@pytest.mark.parametrize(
    "reduction_axes",
    [
        "all",
        (-2, -1),
        {"bias": (0, 1)},
        lambda _: {"bias": (0, 1)},
        lambda _: "all",
    ],
    ids=["all", "tuple", "tree", "callable", "callable of all"],
)
def test_explicit_axes_take_biases_along(reduction_axes):
    psi = apply({"bias": jnp.float32(KERNEL)}, reduction_axes)["bias"]
    np.testing.assert_allclose(psi, oracles.agr.psi(KERNEL), rtol=2e-6)


def test_flax_attention_s_biases_are_left_alone_by_default():
    model = nn.MultiHeadDotProductAttention(num_heads=2)
    x = jnp.ones((1, 3, 4))
    params = model.init(jax.random.key(0), x)["params"]
    updates = jax.tree.map(jnp.ones_like, params)
    psi = apply(updates, None)
    assert psi["query"]["bias"].shape == (2, 2)
    for name in ("query", "key", "value", "out"):
        np.testing.assert_array_equal(psi[name]["bias"], 1.0)
        np.testing.assert_allclose(psi[name]["kernel"], 1 - 1 / 16)


def test_a_parameter_named_value_is_no_box():
    updates = Attention(*[jnp.ones((2, 4)) for _ in range(3)])
    psi = apply(updates, Attention(query=(0, 1), key=(), value=(0,)))
    np.testing.assert_allclose(psi.query, 0.875, rtol=1e-6)
    np.testing.assert_array_equal(psi.key, 1.0)
    np.testing.assert_allclose(psi.value, 0.5, rtol=1e-6)
    # The same names as a dictionary's, which has no boxes, either way round.
    entries = {"query": (0, 1), "key": (), "value": (0,)}
    of_attributes = apply(updates, entries)
    of_names = apply(updates._asdict(), Attention(**entries))
    for got, want in zip(psi, of_attributes, strict=True):
        np.testing.assert_array_equal(got, want)
    for name, want in psi._asdict().items():
        np.testing.assert_array_equal(of_names[name], want)
    with pytest.raises(ValueError, match=r"leaf value in .* reduction_axes"):
        apply(updates, {"query": (), "key": ()})
    layered = {
        "value": {"kernel": jnp.ones((2, 2))},
        "kernel": jnp.ones((2, 4)),
    }
    psi = apply(layered, {"value": {"kernel": (1,)}, "kernel": (0, 1)})
    np.testing.assert_allclose(psi["value"]["kernel"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(psi["kernel"], 0.875, rtol=1e-6)


def test_integer_leaves_are_left_alone():
    updates = {"steps": jnp.arange(6).reshape(2, 3), "w": jnp.ones((2, 2))}
    psi = apply(updates, "all")
    np.testing.assert_array_equal(psi["steps"], updates["steps"])
    assert psi["steps"].dtype == updates["steps"].dtype


ERRORS = {
    "axis a leaf lacks": ((0, 2), r"head/kernel of shape \(4, 5\) lacks"),
    "negative axis": ((-3,), r"head/kernel of shape \(4, 5\) lacks"),
    "axis of a vector": (
        {**PER_LEAF, "head": {"kernel": (), "bias": (1,)}},
        r"head/bias of shape \(5,\) lacks",
    ),
    "twice": ((1, -1), r"names an axis of head/kernel twice"),
    "missing leaf": ({"layers": {"kernel": ()}}, r"leaf head/bias"),
    "a list": ([0, 1], r"reduction_axes holds 0 at 0; pass"),
    "another word": ("every", r"reduction_axes holds 'every'; pass"),
    "empty": ((), r"reduction_axes is \(\) for all leaves"),
    "an int": (1, r"reduction_axes holds 1; pass"),
    "booleans": ((True, False), r"reduction_axes holds True"),
    "None in a tree": (
        {**PER_LEAF, "head": {"kernel": None, "bias": ()}},
        r"reduction_axes holds None at head/kernel; pass",
    ),
}


@pytest.mark.parametrize("case", ["a list", "another word", "an int", "empty"])
def test_errors_that_need_no_tree_come_first(case):
    argument, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        optaxmods.scale_by_agr_adan(reduction_axes=argument)
    with pytest.raises(ValueError, match="axis_name holds"):
        optaxmods.agr(axis_name={"layers": 0})


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize(
    "factory",
    [
        optaxmods.agr,
        optaxmods.scale_by_agr_adam,
        optaxmods.scale_by_agr_adan,
    ],
)
def test_errors_name_the_leaf_at_init(factory, case):
    argument, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        factory(reduction_axes=argument).init(make_updates())


def test_a_group_of_one_entry_is_an_error_with_the_path():
    params = {"block": {"scale": jnp.ones((4, 1))}}
    for axes in ((1,), {"block": {"scale": (-1,)}}):
        with pytest.raises(ValueError, match=r"one entry of block/scale"):
            optaxmods.agr(reduction_axes=axes).init(params)
    with pytest.raises(ValueError, match="one entry of the only leaf"):
        optaxmods.agr(reduction_axes=(0, 1)).init(jnp.ones((1, 1)))


def test_axis_name_errors():
    with pytest.raises(ValueError, match=r"axis_name holds 0 at layers"):
        optaxmods.agr(axis_name=lambda _: {"layers": 0}).init(make_updates())
    with pytest.raises(ValueError, match=r"names a mesh axis twice for head"):
        optaxmods.agr(axis_name=("data", "data")).init(make_updates())
    # Named for a leaf that is left alone, and no axis all the same.
    tx = optaxmods.agr(axis_name={"b": "dta"})
    with pytest.raises(ValueError, match=r"axis_name names 'dta'"):
        tx.update({"b": jnp.ones(2)}, optax.EmptyState())
    names = {"layers": {"kernel": "data"}}
    with pytest.raises(ValueError, match=r"leaf head/bias .* as axis_name"):
        optaxmods.agr(axis_name=names).init(make_updates())


def test_no_axes_are_checked_without_values():
    abstract = jax.eval_shape(make_updates)
    with pytest.raises(ValueError, match="head/kernel"):
        jax.eval_shape(optaxmods.agr(reduction_axes=(2,)).init, abstract)
    optaxmods.agr(reduction_axes=(-2, -1)).init(abstract)


@pytest.mark.parametrize(
    "reduction_axes",
    [
        {"kernel": (0, 1)},
        lambda params: {"kernel": tuple(range(params["kernel"].ndim))},
    ],
    ids=["tree", "callable"],
)
def test_map_params_needs_no_entries(reduction_axes):
    # It hands init a placeholder without leaves.
    tx = optaxmods.scale_by_agr_adam(reduction_axes=reduction_axes)
    params = {"kernel": jnp.ones((2, 3))}
    marked = optax.tree.map_params(tx, lambda leaf: "moment", tx.init(params))
    assert marked.mu == {"kernel": "moment"}
