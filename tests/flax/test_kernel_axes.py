"""``kernel_axes`` on Flax's own modules, linen and nnx."""

import functools

import chex
from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods
from optaxmods import adamw_agr, agr, agr_coefficients
from optaxmods.flax import kernel_axes
from tests import oracles
from tests.helpers.transformations import make_updates

WIDTH, HEADS, LAYERS, EXPERTS = 8, 2, 3, 5
X = jnp.ones((2, 4, WIDTH))
WITHOUT_TABLES = functools.partial(kernel_axes, embeddings=False)


def by_path(tree):
    """The entries of a tree of axes, each by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(
        tree, is_leaf=lambda node: isinstance(node, tuple)
    )
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(entry)
        for path, entry in leaves
    }


def abstract_params(model, *inputs):
    """Metadata is written by init, of abstract arrays, too."""
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]


class Block(nn.Module):
    """Attention, a norm and two dense layers; kernels' axes may have names."""

    names: bool = False
    logical: bool = False

    def kernel_init(self, *names):
        init = nn.initializers.lecun_normal()
        if not self.names:
            return init
        if self.logical:
            return nn.with_logical_partitioning(init, names)
        return nn.with_partitioning(init, names)

    @nn.compact
    def __call__(self, x, _=None):
        init = self.kernel_init
        attention = nn.MultiHeadDotProductAttention(
            HEADS,
            kernel_init=init("embed", "heads", None),
            out_kernel_init=init("heads", None, "embed"),
            name="attention",
        )
        x = x + attention(nn.LayerNorm(name="norm")(x))
        return nn.Dense(WIDTH, kernel_init=init("embed", "mlp"), name="mlp")(
            x
        ), None


def scanned(block=Block, axis=0, name="layers", **fields):
    return nn.scan(
        block,
        variable_axes={"params": axis},
        split_rngs={"params": True},
        length=LAYERS,
        metadata_params={nn.PARTITION_NAME: name},
    )(**fields)


ALONE = {
    **dict.fromkeys(
        [f"attention/{name}/bias" for name in ("query", "key", "value", "out")],
        (),
    ),
    **{"norm/scale": (), "norm/bias": (), "mlp/bias": ()},
}
KERNELS = {
    **{f"attention/{n}/kernel": 3 for n in ("query", "key", "value", "out")},
    "mlp/kernel": 2,
}


def block_axes(stack_axis=0, count=1):
    """Those of Block, with ``count`` axes of stacks at ``stack_axis``."""
    axes = {}
    for name, ndim in KERNELS.items():
        every = list(range(ndim + count))
        for _ in range(count):
            del every[stack_axis]
        axes[name] = tuple(every)
    return {**ALONE, **axes}


def test_linen_layers_are_one_matrix_each_and_biases_none():
    params = abstract_params(Block(), X)
    assert by_path(kernel_axes(params)) == block_axes(count=0)
    # Queries' biases have two axes: that is what the rule is about.
    assert params["attention"]["query"]["bias"].shape == (HEADS, WIDTH // HEADS)


def test_linen_convolutions_and_norms():
    class Images(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3), name="conv")(x)
            x = nn.BatchNorm(use_running_average=True, name="norm")(x)
            x = nn.LayerNorm(
                feature_axes=(-2, -1), reduction_axes=(-2, -1), name="wide"
            )(x)
            return nn.PReLU(name="slope")(x)

    params = abstract_params(Images(), jnp.ones((1, 6, 6, 3)))
    assert params["wide"]["scale"].shape == (6, 4)
    assert by_path(kernel_axes(params)) == {
        **{"conv/kernel": (0, 1, 2, 3), "conv/bias": ()},
        **{"norm/scale": (), "norm/bias": (), "slope/negative_slope": ()},
        **{"wide/scale": (), "wide/bias": ()},
    }


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_linen_stacks_without_metadata_are_named(axis):
    params = {"blocks": abstract_params(scanned(axis=axis), X, None)}
    per_layer = functools.partial(kernel_axes, stacked={"blocks": axis})
    got = {
        k[len("blocks/") :]: v for k, v in by_path(per_layer(params)).items()
    }
    assert got == block_axes(stack_axis=axis)


@pytest.mark.parametrize("logical", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_linen_stacks_with_metadata_are_read(logical, axis):
    model = scanned(axis=axis, names=True, logical=logical)
    params = abstract_params(model, X, None)
    assert by_path(kernel_axes(params)) == block_axes(stack_axis=axis)
    # Said and read, it is one axis all the same.
    said = kernel_axes(params, stacked=axis)
    assert by_path(said) == block_axes(stack_axis=axis)


@pytest.mark.parametrize("names", ["stages", ("other", "stages")])
def test_a_partition_name_of_one_s_own(names):
    params = abstract_params(scanned(name="stages", names=True), X, None)
    assert by_path(kernel_axes(params)) == {
        **block_axes(stack_axis=0),
        **{name: tuple(range(ndim + 1)) for name, ndim in KERNELS.items()},
    }
    read = kernel_axes(params, partition_names=names)
    assert by_path(read) == block_axes()


def test_linen_boxes_in_an_optimizer_as_it_is():
    """The gradients have the parameters' boxes."""
    model = scanned(names=True)
    params = model.init(jax.random.key(0), X, None)["params"]
    gradients = make_updates(params)
    tx = agr(reduction_axes=kernel_axes)
    updates, _ = jax.jit(tx.update)(gradients, tx.init(params))
    got, raw = nn.meta.unbox(updates), nn.meta.unbox(gradients)
    assert_layerwise(got, raw, KERNELS, ALONE)


def at(tree, path):
    for name in path.split("/"):
        tree = tree[name]
    return np.asarray(tree, float)


def assert_layerwise(got, raw, kernels, alone, stack_axis=0):
    for path in kernels:
        want = np.stack(
            [
                oracles.agr.psi(g)
                for g in np.moveaxis(at(raw, path), stack_axis, 0)
            ],
            axis=stack_axis,
        )
        np.testing.assert_allclose(at(got, path), want, rtol=2e-6)
    for path in alone:
        np.testing.assert_array_equal(at(got, path), at(raw, path))


class Mixture(nn.Module):
    @nn.compact
    def __call__(self, x, _=None):
        experts = nn.vmap(
            nn.Dense,
            variable_axes={"params": 1},
            split_rngs={"params": True},
            in_axes=None,
            out_axes=0,
            axis_size=EXPERTS,
        )
        return experts(WIDTH, name="experts")(x).mean(0), None


def test_stacks_within_stacks_count_from_the_outermost():
    params = {"blocks": abstract_params(scanned(Mixture, axis=2), X, None)}
    kernel = params["blocks"]["experts"]["kernel"]
    assert kernel.shape == (WIDTH, EXPERTS, LAYERS, WIDTH)
    said = {"experts": 1, "blocks": 2}
    assert by_path(kernel_axes(params, stacked=said)) == {
        "blocks/experts/kernel": (0, 3),
        "blocks/experts/bias": (),
    }
    ensemble = jax.tree.map(lambda leaf: jnp.ones((7, *leaf.shape)), params)
    got = kernel_axes(ensemble, stacked={"": 0, **said})
    assert by_path(got)["blocks/experts/kernel"] == (1, 4)
    # Both stacks under one name, and a parameter that is a stack itself.
    bare = {
        "twice": {"kernel": jnp.ones((2, 3, 4, 5))},
        "w": jnp.ones((6, 4, 5)),
    }
    got = kernel_axes(bare, stacked={"twice": (0, 0), "w": 0})
    assert got == {"twice": {"kernel": (2, 3)}, "w": (1, 2)}


def test_single_entries_are_no_matrices_and_names_are_whole():
    shapes = {
        "blocks": {"wide": (3, 2, 2), "single": (3, 1, 1), "row": (3, 2)},
        "blocks_end": {"stack": (3, 2, 2), "single": (1, 1), "row": (1, 2)},
    }
    params = jax.tree.map(
        jnp.ones, shapes, is_leaf=lambda node: isinstance(node, tuple)
    )
    per_layer = functools.partial(kernel_axes, stacked={"blocks": 0})
    assert per_layer(params) == {
        "blocks": {"wide": (1, 2), "single": (), "row": ()},
        "blocks_end": {"stack": (0, 1, 2), "single": (), "row": (0, 1)},
    }
    agr(reduction_axes=per_layer).init(params)  # No group of one entry.


def test_embeddings_by_an_argument():
    class Text(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            places = self.param(
                "pos_embedding", nn.initializers.ones, (1, 4, WIDTH)
            )
            x = nn.Embed(9, WIDTH, name="embedding")(tokens) + places
            return nn.Dense(9, name="embedding_head")(x)

    params = abstract_params(Text(), jnp.zeros((2, 4), jnp.int32))
    head = {"embedding_head/kernel": (0, 1), "embedding_head/bias": ()}
    tables = {"embedding/embedding": (0, 1), "pos_embedding": (0, 1, 2)}
    assert by_path(kernel_axes(params)) == {**head, **tables}
    assert by_path(WITHOUT_TABLES(params)) == {
        **head,
        **dict.fromkeys(tables, ()),
    }
    model = nnx.Embed(9, WIDTH, rngs=nnx.Rngs(0))
    for embeddings, axes in ((True, (0, 1)), (False, ())):
        got = kernel_axes(nnx.state(model), embeddings=embeddings)
        assert by_path(got) == {"embedding": axes}


class NnxBlock(nnx.Module):
    """Block in nnx."""

    def __init__(self, rngs, names=False):
        def init(*axes):
            lecun = nnx.initializers.lecun_normal()
            return nnx.with_partitioning(lecun, axes) if names else lecun

        self.attention = nnx.MultiHeadAttention(
            num_heads=HEADS,
            in_features=WIDTH,
            decode=False,
            kernel_init=init(None, "data", None),
            out_kernel_init=init("data", None, None),
            rngs=rngs,
        )
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.mlp = nnx.Linear(
            WIDTH, WIDTH, kernel_init=init(None, "data"), rngs=rngs
        )

    def __call__(self, x):
        return self.mlp(x + self.attention(self.norm(x)))


class NnxStack(nnx.Module):
    def __init__(self, rngs, axis=0, name=None):
        self.axis = axis
        metadata = {nnx.PARTITION_NAME: name} if name else {}

        @nnx.split_rngs(splits=LAYERS)
        @nnx.vmap(out_axes=self.axes(), transform_metadata=metadata)
        def make(rngs):
            return NnxBlock(rngs, names=name is not None)

        self.blocks = make(rngs)

    def axes(self):
        return nnx.StateAxes({nnx.Param: self.axis, ...: 0})


def on_a_mesh():
    """Flax creates variables with named axes on a mesh alone."""
    auto = jax.sharding.AxisType.Auto
    return jax.set_mesh(
        jax.make_mesh((1, 1), ("layers", "data"), axis_types=(auto, auto))
    )


def nnx_axes(**options):
    return {f"blocks/{k}": v for k, v in block_axes(**options).items()}


@pytest.mark.parametrize("axis", [0, 1])
def test_nnx_stacks_with_metadata_are_read(axis):
    with on_a_mesh():
        params = nnx.state(NnxStack(nnx.Rngs(0), axis, "layers"), nnx.Param)
    want = nnx_axes(stack_axis=axis)
    assert by_path(kernel_axes(params)) == want
    assert by_path(kernel_axes(params, stacked={"blocks": axis})) == want


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_nnx_stacks_without_metadata_are_named(axis):
    model = NnxStack(nnx.Rngs(0), axis)
    params = nnx.state(model, nnx.Param)
    want = nnx_axes(stack_axis=axis)
    for tree in (params, nnx.to_pure_dict(params), nnx.state(model)):
        got = by_path(kernel_axes(tree, stacked={"blocks": axis}))
        assert {path: got[path] for path in want} == want
    one = nnx.state(NnxBlock(nnx.Rngs(0)), nnx.Param)
    assert by_path(kernel_axes(one)) == block_axes(count=0)


def trained_once(model, reduction_axes):
    """What an nnx.Optimizer subtracts, and the random gradients."""
    tx = optax.chain(agr(reduction_axes=reduction_axes), optax.scale(-1.0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    gradients = make_updates(nnx.state(model, nnx.Param))
    optimizer.update(model, gradients)
    after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return optax.tree.sub(before, after), nnx.to_pure_dict(gradients)


@pytest.mark.parametrize("by", ["stacked", "metadata"])
def test_nnx_optimizers_step_layer_by_layer(by):
    with on_a_mesh():
        model = NnxStack(nnx.Rngs(0), 0, "layers")
        axes = (
            kernel_axes(nnx.state(model, nnx.Param))
            if by == "metadata"
            else functools.partial(kernel_axes, stacked={"blocks": 0})
        )
        got, raw = trained_once(model, axes)
    for path in KERNELS:
        want = np.stack([oracles.agr.psi(g) for g in at(raw["blocks"], path)])
        np.testing.assert_allclose(
            at(got["blocks"], path), want, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("factory", [agr, adamw_agr, optaxmods.adan_agr])
def test_metadata_that_updates_will_not_show_is_refused(factory):
    """Else the layers would be mixed from the first update on."""
    rate = () if factory is agr else (1e-3,)
    with on_a_mesh():
        model = NnxStack(nnx.Rngs(0), 0, "layers")
        for axes in (kernel_axes, WITHOUT_TABLES, lambda u: kernel_axes(u)):
            tx = factory(*rate, reduction_axes=axes)
            with pytest.raises(
                ValueError, match=r"blocks/attention/.* nnx\.Optimizer"
            ):
                nnx.Optimizer(model, tx, wrt=nnx.Param)
        # Where all is in one call, nothing is hidden.
        params = nnx.state(model, nnx.Param)
        alpha = agr_coefficients(params, reduction_axes=kernel_axes)
    kernel = alpha["blocks"]["mlp"]["kernel"][...]
    np.testing.assert_allclose(kernel.sum(axis=(1, 2)), 1.0, rtol=1e-5)


def test_masked_partitioned_and_missing_leaves():
    params = {
        "blocks": {"kernel": jnp.ones((3, 2, 2)), "bias": None},
        "head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    }
    tx = agr(
        reduction_axes=functools.partial(kernel_axes, stacked={"blocks": 0})
    )
    head_alone = {"blocks": False, "head": True}
    for solver in (
        optax.masked(tx, head_alone),
        optax.partition(
            {"agr": tx, "none": optax.identity()},
            {"blocks": "none", "head": "agr"},
        ),
    ):
        updates, _ = solver.update(params, solver.init(params))
        np.testing.assert_array_equal(updates["blocks"]["kernel"], 1.0)
        np.testing.assert_allclose(updates["head"]["kernel"], 0.75)
    updates, _ = tx.update(params, tx.init(params))
    np.testing.assert_allclose(updates["blocks"]["kernel"], 0.75)


def test_it_traces_once_and_leaves_nothing_in_the_program():
    params = {
        "blocks": {"kernel": jnp.ones((3, 2, 2)), "bias": jnp.ones((3, 2))}
    }
    per_layer = functools.partial(kernel_axes, stacked={"blocks": 0})
    programs = []
    for axes in (per_layer, per_layer(params)):
        tx = agr(reduction_axes=axes)
        jaxpr = jax.make_jaxpr(tx.update)(params, tx.init(params))
        programs.append(str(jaxpr))
    assert programs[0] == programs[1]


BAD = {
    "misspelt": ({"block": 0}, r"names 'block', .* its names are bias, blocks"),
    "part of a name": ({"block": 0}, "on no path"),
    "axis that is not there": (
        {"blocks": 3},
        r"axis 3 counts layers under 'blocks', but of blocks/kernel",
    ),
    "for all": (-4, r"axis -4 counts layers under 'every name'"),
    "text": ("blocks", "stacked holds 'blocks'; pass the axis"),
    "no axis": ({"blocks": "0"}, "stacked holds '0' for 'blocks'; pass"),
    "boolean": (True, "stacked holds True; pass"),
    "list": ({"blocks": [0]}, r"stacked holds \[0\] for 'blocks'; pass"),
    "no name": ({0: 0}, "stacked holds 0 for 0; pass"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors(case):
    stacked, message = BAD[case]
    params = {
        "blocks": {"kernel": jnp.ones((3, 2, 2)), "bias": jnp.ones((3, 2))}
    }
    axes = functools.partial(kernel_axes, stacked=stacked)
    with pytest.raises(ValueError, match=message):
        agr(reduction_axes=axes).init(params)


def test_a_variable_of_several_arrays_is_a_tree():
    pair = nnx.Param({"kernel": jnp.ones((2, 3)), "bias": jnp.ones((2, 3))})
    got = by_path(kernel_axes({"pair": pair}))
    assert got == {"pair/value/kernel": (0, 1), "pair/value/bias": ()}
    chex.assert_trees_all_equal(
        agr(reduction_axes=kernel_axes).init({"pair": pair}), optax.EmptyState()
    )
