"""One device's numbers of matrices that a mesh splits, by type or by name."""

import contextlib
import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from tests.helpers.split_matrices import (
    AUTO,
    EXPLICIT,
    LAYERS,
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
from tests.helpers.wide import enable_x64

pytestmark = pytest.mark.usual_compilation


@joined_by_type
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
    for ours, theirs, rtol in zip(
        got, want, (1e-2, 1e-5, 1e-5, 1e-13), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=rtol)
    # In one reduction of two arrays, or in two: XLA's choice.
    assert sum(len(each.sizes) for each in moved) == 2


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
    sharded = put(gradients, mesh)
    with jax.set_mesh(mesh) if is_set else contextlib.nullcontext():
        got = psi(sharded)
    assert_close(got, wanted(gradients))
    for ours, came in zip(got, sharded, strict=True):
        is_mixed = len(set(axis_types)) > 1
        assert is_mixed or ours.sharding.is_equivalent_to(
            came.sharding, came.ndim
        )


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


def test_leaves_on_equal_meshes_of_other_devices():
    gradients = draw(3)
    devices = np.array(jax.devices()).reshape(2, 2, 2)
    grids = devices[0], devices[1], devices[0, ::-1]
    sharded = [
        jax.device_put(
            np.asarray(leaf, np.float32),
            NamedSharding(
                Mesh(grid, ("data", "model"), axis_types=(EXPLICIT,) * 2), spec
            ),
        )
        for leaf, grid, spec in zip(gradients, grids, SPECS[:3], strict=True)
    ]
    got = psi(sharded)
    assert_close(got, wanted(gradients))
    assert [leaf.sharding for leaf in got] == [x.sharding for x in sharded]


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

    def loss(gradients):
        return sum(jnp.sum(jnp.sin(x)) for x in psi(gradients))

    slope = jax.vmap(jax.grad(loss), in_axes=mapped, out_axes=mapped)
    matrix = tuple(axis for axis in range(3) if axis != mapped)
    # A leaf whose matrices are whole; vmap wants one split of what it maps.
    whole = P(*(spec[axis] if axis == mapped else None for axis in range(3)))
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh, [spec, whole, spec])
        got = jax.jit(function)(sharded)
        moved = [*moved_by(function, sharded), *moved_by(slope, sharded)]
    assert_close(got, wanted(gradients, matrix))
    assert [leaf.sharding for leaf in got] == [x.sharding for x in sharded]
    # jax.shard_map gathers what the mapped axis splits.
    assert {each.kind for each in moved} <= {"all-reduce"}


def scanned(function):
    def repeated(gradients):
        return jax.lax.scan(
            lambda carry, _: (function(carry), None), gradients, length=2
        )[0]

    return repeated


def chosen(function):
    return lambda gradients: jax.lax.cond(True, function, list, gradients)


def pulled_back(function):
    return lambda gradients: jax.vjp(function, gradients)[1](gradients)[0]


@pytest.mark.parametrize(
    "traced", [jax.jit, jax.checkpoint, scanned, chosen, pulled_back]
)
def test_what_is_traced_under_vmap_is_not_gathered(traced):
    gradients, specs = draw(5)[4:], [P("data", None, "model")]
    mesh, function = make_mesh(EXPLICIT, EXPLICIT), traced(psi)
    with jax.set_mesh(mesh):
        sharded = put(gradients, mesh, specs)
        function(put([gradients[0][0]], mesh, [P(None, "model")]))
        moved = moved_by(jax.vmap(function), sharded)
    assert {each.kind for each in moved} == {"all-reduce"}


@joined_by_type
def test_what_is_traced_before_vmap():
    stacks, specs = draw(5)[4:], [P("data", None, "model")]
    mesh = make_mesh(EXPLICIT, EXPLICIT)

    def mapped(gradients, stacks):
        return jax.vmap(jax.vjp(psi, gradients)[1])(stacks)

    with jax.set_mesh(mesh):
        gradients = put([stacks[0][0]], mesh, [P(None, "model")])
        sharded = put(stacks, mesh, specs)
        got = jax.jit(mapped)(gradients, sharded)
        moved = moved_by(mapped, gradients, sharded)
    one = jax.vjp(psi, [jnp.asarray(stacks[0][0], jnp.float32)])[1]
    want = jax.vmap(one)([jnp.asarray(stacks[0], jnp.float32)])
    for (ours,), (theirs,) in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    # By jax.shard_map before JAX 0.11.2; docs/meshes.rst says so.
    is_gathered = "all-gather" in {each.kind for each in moved}
    assert is_gathered == (jax.__version_info__ < (0, 11, 2))


def both_modes(function, gradients, directions):
    def loss(gradients):
        return sum(jnp.sum(jnp.sin(x)) for x in function(gradients))

    slope = jax.grad(loss)
    return slope(gradients), *jax.jvp(slope, (gradients,), (directions,))


@functools.cache
def derivatives_on_one_device(axes):
    arguments = [
        [jnp.asarray(leaf, jnp.float32) for leaf in draw(8, seed)]
        for seed in (1, 2)
    ]
    one = functools.partial(both_modes, functools.partial(psi, axes=axes))
    return arguments, jax.tree.leaves(jax.jit(one)(*arguments))


# Both of the first route, and one of each of the others in turn.
DERIVED = [
    (route, axes)
    for index, route in enumerate(routes(1, None))
    for axes in ([None, LAYERS] if index == 0 else [[None, LAYERS][index % 2]])
]


@pytest.mark.parametrize(("route", "axes"), DERIVED)
def test_derivatives(route, axes):
    arguments, want = derivatives_on_one_device(axes)
    function, axis_type = routes(8, axes)[route]
    mesh = make_mesh(axis_type, axis_type)
    with jax.set_mesh(mesh):
        got = jax.jit(functools.partial(both_modes, function))(
            *(put(leaves, mesh) for leaves in arguments)
        )
    for ours, theirs in zip(jax.tree.leaves(got), want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_what_is_not_summed_over_the_mesh_yet():
    # A sum of parts is no part of a sum of magnitudes; JAX says so.
    mesh = make_mesh(EXPLICIT, EXPLICIT)

    def step(left, right):
        unreduced = P("data", None, unreduced={"model"})
        return psi(jnp.dot(left, right, out_sharding=unreduced))

    specs = [P("data", "model"), P("model", None)]
    # A type of JAX's own, and not public, in JAX 0.12.
    with jax.set_mesh(mesh), pytest.raises(Exception, match="abs") as raised:
        jax.eval_shape(step, *put(draw(2), mesh, specs))
    refusals = "NotImplementedError", "ShardingTypeError"
    assert type(raised.value).__name__ in refusals
