"""Sums over matrices that a mesh splits: few reductions, one device's numbers.

Joined are the sums over the same mesh axes, where types or names say which.
"""

import functools

from conftest import enable_x64
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest
import reference

from benchmarks.collectives import Collective, collectives
import optaxmods

pytestmark = [
    pytest.mark.usual_compilation,
    pytest.mark.skipif(
        jax.__version_info__ < (0, 10),
        reason="before JAX 0.10 sums on explicit axes are not joined",
    ),
]

AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
# Split by one axis, by both, in both orders, as stacks and not at all.
SPECS = (
    P("data", None),
    P(None, "model"),
    P("data", "model"),
    P(("model", "data"), None),
    P(None, "data", "model"),
    P("model", "data", None),
    P("data", None, None),
    P(None, None),
)
NAMES = ("data", "model", *[("data", "model")] * 4, "data", ())
LAYER_NAMES = (*NAMES[:5], "data", (), ())
LAYERS = (-2, -1)


def make_mesh(*axis_types):
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=axis_types)


def draw(leaves=8, seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.standard_normal((8,) * len(SPECS[index % len(SPECS)]))
        for index in range(leaves)
    ]


def specs_of(tree):
    return [SPECS[index % len(SPECS)] for index in range(len(tree))]


def put(tree, mesh, specs=None):
    return [
        jax.device_put(
            jnp.asarray(leaf, jnp.float32), NamedSharding(mesh, spec)
        )
        for leaf, spec in zip(tree, specs or specs_of(tree), strict=True)
    ]


def psi(gradients, axes=None, names=None):
    tx = optaxmods.agr(reduction_axes=axes, axis_name=names)
    return tx.update(gradients, tx.init(gradients))[0]


def wanted(tree, axes=None):
    return [reference.psi(leaf, axes=axes) for leaf in tree]


def assert_close(got, want):
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def moved_by(function, *arguments):
    return collectives(jax.jit(function).lower(*arguments).compile().as_text())


def entry_names(axes, count):
    names = NAMES if axes is None else LAYER_NAMES
    return [names[index % len(names)] for index in range(count)]


def routes(count, axes):
    """What says how the leaves are split, and the type of the mesh's axes."""
    specs = [SPECS[index % len(SPECS)] for index in range(count)]
    plain = functools.partial(psi, axes=axes)
    # As a user on automatic axes says it.
    said = jax.sharding.explicit_axes(plain, in_sharding=(specs,))
    named = functools.partial(psi, axes=axes, names=entry_names(axes, count))
    shards = functools.partial(
        jax.shard_map, named, in_specs=(specs,), out_specs=specs
    )
    return {
        "types": (plain, EXPLICIT),
        "explicit_axes": (said, AUTO),
        "shard_map": (shards(), AUTO),
        "shard_map without tracking": (shards(check_vma=False), AUTO),
        "shard_map on explicit axes": (shards(), EXPLICIT),
    }


@pytest.mark.parametrize("axes", [None, LAYERS])
@pytest.mark.parametrize("route", routes(1, None))
def test_one_reduction_for_each_set_of_mesh_axes(route, axes):
    gradients = draw(16)
    function, axis_type = routes(16, axes)[route]
    mesh = make_mesh(axis_type, axis_type)
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh)
        moved = moved_by(function, sharded)
        got = jax.jit(function)(sharded)
    assert_close(got, wanted(gradients, axes))
    assert {each.kind for each in moved} == {"all-reduce"}
    # Over "data", over "model" and over both. Stacks that the mesh splits over
    # their layers are another array of the reduction over "data".
    assert len(moved) == 3
    arrays = sum(len(each.sizes) for each in moved)
    assert arrays == 3 if axes is None or "without" in route else 4


def test_as_many_for_more_matrices_than_xla_combines():
    # XLA makes seven of these where each leaf is summed by itself.
    count = 520
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    with jax.set_mesh(mesh):
        moved = moved_by(psi, put(draw(count), mesh))
    assert [each.kind for each in moved] == ["all-reduce"] * 3
    # One number for each matrix that is split, and nothing else.
    assert sum(sum(each.sizes) for each in moved) == count * 7 // 8


def test_the_order_of_names_makes_no_second_reduction():
    # Nor may it differ between the processes of a mesh.
    mesh = make_mesh(AUTO, AUTO)
    specs = [P(None, ("data", "model")), P(("model", "data"), None)]
    names = [("data", "model"), ("model", "data")]
    function = jax.shard_map(
        functools.partial(psi, names=names), in_specs=(specs,), out_specs=specs
    )
    with jax.set_mesh(mesh):
        moved = moved_by(function, put(draw(2), mesh, specs))
    assert moved == [Collective("all-reduce", (2,))]


def test_dtypes_are_joined_as_they_are():
    dtypes = ("bfloat16", "complex64", "float32", "float64")
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    with enable_x64(True), jax.set_mesh(mesh):
        gradients = [
            jnp.asarray(leaf, dtype)
            for leaf, dtype in zip(draw(4), dtypes, strict=True)
        ]
        want = wanted([np.asarray(leaf) for leaf in gradients])
        sharded = [jax.device_put(leaf, P("data", None)) for leaf in gradients]
        got = jax.jit(psi)(sharded)
        moved = moved_by(psi, sharded)
    assert [leaf.dtype for leaf in got] == list(dtypes)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2)
    # In one reduction of two arrays, or in two: XLA's choice.
    assert sum(len(each.sizes) for each in moved) == 2
    np.testing.assert_allclose(got[3], want[3], rtol=1e-13)


@pytest.mark.parametrize("at", range(8))
def test_a_bad_leaf_spoils_no_other(at):
    gradients = draw()
    gradients[at][..., 0, 0] = np.nan
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    with jax.set_mesh(mesh):
        got = jax.jit(psi)(put(gradients, mesh))
    for index, leaf in enumerate(got):
        assert np.isfinite(leaf).all() == (index != at)


@pytest.mark.parametrize(
    "axis_types",
    [(EXPLICIT, EXPLICIT), (AUTO, EXPLICIT), (EXPLICIT, AUTO), (AUTO, AUTO)],
)
@pytest.mark.parametrize("is_set", [True, False])
def test_outside_of_jit(axis_types, is_set):
    gradients = draw()
    mesh = make_mesh(*axis_types)
    if is_set:
        with jax.set_mesh(mesh):
            got = psi(put(gradients, mesh))
    else:
        got = psi(put(gradients, mesh))
    assert_close(got, wanted(gradients))


@pytest.mark.parametrize("axis_types", [(AUTO, EXPLICIT), (EXPLICIT, AUTO)])
def test_types_that_say_half_of_it(axis_types):
    # As manual axes, those of which types say nothing would gather the leaves.
    # (JAX itself gathers what both types split along one axis.)
    gradients, specs = draw()[:3], SPECS[:3]
    mesh = make_mesh(*axis_types)
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh, specs)
        moved = moved_by(psi, sharded)
        got = jax.jit(psi)(sharded)
    assert_close(got, wanted(gradients))
    assert {each.kind for each in moved} == {"all-reduce"}


def test_leaves_on_two_meshes():
    gradients = draw(3)
    row = jax.make_mesh((8,), ("row",), axis_types=(EXPLICIT,))
    got = psi(
        [
            *put(gradients[:1], make_mesh(EXPLICIT, EXPLICIT)),
            *put(gradients[1:2], row, [P("row", None)]),
            jnp.asarray(gradients[2], jnp.float32),
        ]
    )
    assert_close(got, wanted(gradients))


@pytest.mark.parametrize("mapped", [0, 1, 2])
@pytest.mark.parametrize(
    "spec",
    [
        P(None, "data", "model"),
        P("data", None, "model"),
        P("model", "data", None),
        P(("data", "model"), None, None),
    ],
)
def test_under_vmap(spec, mapped):
    # Whether the mesh splits what is mapped, the matrices or both.
    gradients = draw(7)[4:]
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    function = jax.vmap(psi, in_axes=mapped, out_axes=mapped)
    matrix = tuple(axis for axis in range(3) if axis != mapped)
    # A leaf whose matrices are whole; vmap wants one split of what it maps.
    whole = P(*(spec[axis] if axis == mapped else None for axis in range(3)))
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh, [spec, whole, spec])
        got = jax.jit(function)(sharded)
    assert_close(got, wanted(gradients, matrix))
    assert [leaf.sharding for leaf in got] == [x.sharding for x in sharded]


@pytest.mark.parametrize("axes", [None, LAYERS])
@pytest.mark.parametrize("route", routes(1, None))
def test_derivatives(route, axes):
    gradients = [jnp.asarray(leaf, jnp.float32) for leaf in draw(8, seed=1)]
    directions = [jnp.asarray(leaf, jnp.float32) for leaf in draw(8, seed=2)]
    function, axis_type = routes(8, axes)[route]

    def both_modes(function, gradients, directions):
        def loss(gradients):
            return sum(jnp.sum(jnp.sin(x)) for x in function(gradients))

        slope = jax.grad(loss)
        return slope(gradients), *jax.jvp(slope, (gradients,), (directions,))

    mesh = make_mesh(axis_type, axis_type)
    one = functools.partial(psi, axes=axes)
    want = both_modes(one, gradients, directions)
    with jax.set_mesh(mesh):
        got = jax.jit(functools.partial(both_modes, function))(
            put(gradients, mesh), put(directions, mesh)
        )
    for ours, theirs in zip(
        jax.tree.leaves(got), jax.tree.leaves(want), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_stack_that_the_compiler_splits_is_not_gathered():
    # By name over "data"; over "model" the compiler splits its layers.
    stack = draw()[5:6]
    mesh = make_mesh(AUTO, AUTO)
    tx = optaxmods.agr(reduction_axes=LAYERS, axis_name="data")
    spec = P(None, "data")
    function = jax.shard_map(
        lambda stacks: tx.update(stacks, optax.EmptyState())[0],
        mesh=mesh,
        axis_names={"data"},
        in_specs=(spec,),
        out_specs=spec,
    )
    with jax.set_mesh(mesh):
        stacks = put([*stack, *stack], mesh, [P("model", "data", None)] * 2)
        moved = moved_by(function, stacks)
        got = jax.jit(function)(stacks)
    assert_close(got, wanted([*stack, *stack], LAYERS))
    assert {each.kind for each in moved} == {"all-reduce"}


def test_what_is_not_summed_over_the_mesh_yet():
    # A sum of parts is no part of a sum of magnitudes; JAX says so.
    mesh = make_mesh(EXPLICIT, EXPLICIT)

    def step(left, right):
        unreduced = P("data", None, unreduced={"model"})
        return psi(jnp.dot(left, right, out_sharding=unreduced))

    specs = [P("data", "model"), P("model", None)]
    with jax.set_mesh(mesh), pytest.raises(NotImplementedError, match="abs"):
        jax.eval_shape(step, *put(draw(2), mesh, specs))
