"""How many reductions sum the matrices that a mesh splits."""

import functools

import jax
from jax.experimental.custom_partitioning import custom_partitioning
import jax.export
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from benchmarks.costs.compiled import Collective
import optaxmods
from tests.helpers.split_matrices import (
    AUTO,
    EXPLICIT,
    LAYERS,
    NAMES,
    SPECS,
    assert_close,
    draw,
    joined_by_type,
    make_mesh,
    moved_by,
    psi,
    put,
    routes,
    wanted,
)

pytestmark = pytest.mark.usual_compilation

ROUTES = [
    pytest.param(route, marks=joined_by_type if "shard" not in route else ())
    for route in routes(1, None)
]


@pytest.mark.parametrize("axes", [None, LAYERS])
@pytest.mark.parametrize("route", ROUTES)
def test_one_reduction_for_each_mesh_axis(route, axes):
    gradients = draw(16)
    function, axis_type = routes(16, axes)[route]
    mesh = make_mesh(axis_type, axis_type)
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh)
        moved = moved_by(function, sharded)
        got = jax.jit(function)(sharded)
    assert_close(got, wanted(gradients, axes))
    # Over "data" and over "model", since a third one would be over both.
    assert [each.kind for each in moved] == ["all-reduce"] * 2
    # An array for each set of axes, twice that of both; where types tell what
    # varies, one more of stacks that the mesh splits over their layers.
    arrays = sum(len(each.sizes) for each in moved)
    assert arrays == (5 if axes and "without" not in route else 4)


@joined_by_type
def test_as_many_for_more_matrices_than_xla_combines():
    # XLA makes two of these where each leaf is summed by itself.
    leaves, specs = [np.ones((4, 2))] * 257, [P("data", None)] * 257
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    with jax.set_mesh(mesh):
        moved = moved_by(psi, put(leaves, mesh, specs))
    assert moved == [Collective("all-reduce", (257,))]


@joined_by_type
@pytest.mark.parametrize(
    ("specs", "reductions"),
    [
        # The fewer of the sets of axes and of the axes.
        ([P("data", None), P(None, "model"), P("data", "model")], 2),
        ([P("data", "model"), P("model", "data")], 1),
        ([P("data", "model"), P("data", None)], 2),
        ([P(None, None)], 0),
    ],
)
def test_no_more_reductions_than_axes_or_sets_of_them(specs, reductions):
    gradients = draw(len(specs))
    mesh = make_mesh(EXPLICIT, EXPLICIT)
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh, specs)
        moved = moved_by(psi, sharded)
        got = jax.jit(psi)(sharded)
    assert_close(got, wanted(gradients))
    assert [each.kind for each in moved] == ["all-reduce"] * reductions


@joined_by_type
def test_three_mesh_axes():
    # XLA makes seven where each leaf is summed by itself.
    specs = [
        P("data", None),
        P("fsdp", None),
        P(None, "tensor"),
        P("data", "fsdp"),
        P("tensor", "data"),
        P(None, ("fsdp", "tensor")),
        P(("data", "fsdp"), "tensor"),
    ]
    generator = np.random.default_rng(3)
    gradients = list(generator.standard_normal((7, 8, 8)))
    names = ("data", "fsdp", "tensor")
    mesh = jax.make_mesh((2, 2, 2), names, axis_types=(EXPLICIT,) * 3)
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh, specs)
        moved = moved_by(psi, sharded)
        got = jax.jit(psi)(sharded)
    assert_close(got, wanted(gradients))
    assert [each.kind for each in moved] == ["all-reduce"] * 3


@pytest.mark.parametrize(
    ("shape", "reductions"), [((8, 1), 1), ((1, 8), 1), ((1, 1), 0)]
)
@pytest.mark.parametrize("is_named", [False, True])
def test_an_axis_of_one_device_costs_nothing(shape, reductions, is_named):
    gradients, specs = draw(3), list(SPECS[:3])
    axis_type = AUTO if is_named else EXPLICIT
    mesh = jax.make_mesh(
        shape,
        ("data", "model"),
        axis_types=(axis_type,) * 2,
        devices=jax.devices()[: max(shape)],
    )
    function = psi
    if is_named:
        function = jax.shard_map(
            functools.partial(psi, names=list(NAMES[:3])),
            mesh=mesh,
            in_specs=(specs,),
            out_specs=specs,
        )
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh, specs)
        moved = moved_by(function, sharded)
        got = jax.jit(function)(sharded)
    assert_close(got, wanted(gradients))
    assert [each.kind for each in moved] == ["all-reduce"] * reductions


@pytest.mark.parametrize(
    "is_named", [pytest.param(False, marks=joined_by_type), True]
)
@pytest.mark.parametrize("strength", [1.0, lambda step: 1 / (1 + step)])
def test_the_previous_gradient_joins_the_new_one(is_named, strength):
    # Both of Adan's gradients are summed in the reductions of one.
    specs = list(SPECS[:3])
    names = list(NAMES[:3]) if is_named else None
    axis_type = AUTO if is_named else EXPLICIT
    mesh = make_mesh(axis_type, axis_type)

    def step(gradients, previous, difference="regularized", names=None):
        tx = optaxmods.scale_by_agr_adan(
            difference=difference, strength=strength, axis_name=names
        )
        state = tx.init(gradients)
        state = state._replace(
            since_restart=state.since_restart + 1, g=previous
        )
        return tx.update(gradients, state)[0]

    def on_mesh(difference):
        function = functools.partial(step, difference=difference, names=names)
        if not is_named:
            return function
        return jax.shard_map(
            function, mesh=mesh, in_specs=(specs, specs), out_specs=specs
        )

    given = draw(3), draw(3, seed=1)
    with jax.set_mesh(mesh):
        sharded = [put(gradients, mesh, specs) for gradients in given]
        moved = moved_by(on_mesh("regularized"), *sharded)
        of_one = moved_by(on_mesh("printed"), *sharded)
        got = jax.jit(on_mesh("regularized"))(*sharded)
    assert_close(got, step(*put_whole(given)))
    assert [each.kind for each in moved] == ["all-reduce"] * 2
    assert [each.kind for each in of_one] == ["all-reduce"] * 2
    numbers = [sum(sum(each.sizes) for each in m) for m in (moved, of_one)]
    assert numbers[0] == 2 * numbers[1]
    # In as many arrays, so that XLA has no more of them to combine.
    arrays = [sum(len(each.sizes) for each in m) for m in (moved, of_one)]
    assert arrays[0] == arrays[1]


def put_whole(given):
    return [[jnp.asarray(g, jnp.float32) for g in one] for one in given]


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


def test_what_could_ask_the_compiler_cannot_be_exported():
    # The reason why sums on automatic axes are not joined.
    @custom_partitioning
    def total(array):
        return jnp.sum(array)

    def partition(mesh, shapes, _):
        sharding = shapes[0].sharding
        names = tuple(name for name in sharding.spec if name)
        whole = NamedSharding(mesh, P())
        return (
            mesh,
            lambda array: jax.lax.psum(jnp.sum(array), names),
            whole,
            (sharding,),
        )

    total.def_partition(
        partition,
        infer_sharding_from_operands=lambda mesh, *_: NamedSharding(mesh, P()),
        sharding_rule="i j ->",
    )
    mesh = make_mesh(AUTO, AUTO)
    (array,) = put([np.ones((8, 8))], mesh, [P("data", "model")])
    assert [each.kind for each in moved_by(total, array)] == ["all-reduce"]
    with pytest.raises(NotImplementedError, match="serialization"):
        jax.export.export(jax.jit(total))(array)
