"""One device's numbers and every leaf's sharding, on meshes of 8 devices."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from benchmarks.costs.compiled import collectives
import optaxmods
from tests import oracles
from tests.helpers.split_matrices import make_mesh
from tests.helpers.transformations import TRANSFORMATIONS

SPECS = {
    "fsdp": P("data", None),
    "tensor": P(None, "model"),
    "mixed": P("model", "data"),
    "both on one": P(("data", "model"), None),
    "replicated": P(None, None),
    "stacked": P(None, "data", "model"),
    "stack split": P("data", None, None),
    "bias": P("model"),
}


def make_params():
    generator = np.random.default_rng(7)
    return {
        name: jnp.asarray(
            generator.standard_cauchy((8,) * len(spec)), jnp.float32
        )
        for name, spec in SPECS.items()
    }


def shard(tree, mesh):
    return {
        name: jax.device_put(leaf, NamedSharding(mesh, SPECS[name]))
        for name, leaf in tree.items()
    }


def two_steps(tx, params, state):
    for _ in range(2):
        updates, state = tx.update(params, state, params)
        params = optax.apply_updates(params, updates)
    return updates, state


def assert_same_shardings(tree, like):
    for got, want in zip(
        jax.tree.leaves(tree), jax.tree.leaves(like), strict=True
    ):
        assert got.sharding.is_equivalent_to(want.sharding, got.ndim), (
            got.sharding,
            want.sharding,
        )


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_same_numbers_and_shardings(name, axis_type):
    tx = TRANSFORMATIONS[name]()
    params = make_params()
    want, want_state = two_steps(tx, params, tx.init(params))
    mesh = make_mesh(axis_type)
    with jax.set_mesh(mesh):
        sharded = shard(params, mesh)
        # On automatic axes jit leaves optax's own moments whole.
        is_split = name != "chain" or axis_type == AxisType.Explicit
        state = (jax.jit(tx.init) if is_split else tx.init)(sharded)
        got, got_state = jax.jit(functools.partial(two_steps, tx))(
            sharded, state
        )
        assert_same_shardings(got, sharded)
        assert_same_shardings(got_state, state)
    for ours, theirs in zip(
        jax.tree.leaves((got, got_state)),
        jax.tree.leaves((want, want_state)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.usual_compilation
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize(
    ("tx", "matrices"),
    [
        (optaxmods.agr(), 6),
        (optaxmods.agr(reduction_axes="all"), 7),
        (optaxmods.agr(reduction_axes=(-2, -1)), 4 + 8),
        (optaxmods.adamw_agr(1e-3), 6),
        # Those of the previous gradient, too.
        (optaxmods.adan_agr(1e-3, weight_decay=0.1), 2 * 6),
        (optaxmods.adan_agr(1e-3, difference="printed"), 6),
    ],
    ids=["default", "all", "stacked", "adamw_agr", "adan_agr", "printed"],
)
def test_a_number_a_matrix_travels(axis_type, tx, matrices):
    # A reshape makes the partitioner gather whole gradients.
    mesh = make_mesh(axis_type)
    with jax.set_mesh(mesh):
        sharded = shard(make_params(), mesh)
        # The state is given: of zeros that XLA knows there would be no sums.
        compiled = jax.jit(
            lambda updates, state: tx.update(updates, state, updates)[0]
        ).lower(sharded, jax.jit(tx.init)(sharded))
        moved = collectives(compiled.compile().as_text())
    assert {each.kind for each in moved} == {"all-reduce"}
    # Two of them where XLA sums over one mesh axis after the other.
    numbers = sum(sum(each.sizes) for each in moved)
    assert matrices <= numbers <= 2 * matrices


# The mesh axes that split each leaf, as a user would pass them.
AXIS_NAMES = {
    "fsdp": "data",
    "tensor": "model",
    "mixed": ("model", "data"),
    "both on one": ("data", "model"),
    "replicated": (),
    "stacked": ("data", "model"),
    "stack split": (),
    "bias": (),
}
MATRICES = {
    name: (-2, -1) if len(spec) == 3 else (0, 1) for name, spec in SPECS.items()
} | {"bias": ()}
FACTORIES = {
    "agr": optaxmods.agr,
    "adamw_agr": functools.partial(optaxmods.adamw_agr, 1e-2),
    "adan_agr": functools.partial(optaxmods.adan_agr, 1e-2),
    "adan_agr capped": functools.partial(
        optaxmods.adan_agr, 1e-2, max_alpha=0.1, difference="printed"
    ),
}


def sharded_step(tx, params, check_vma):
    mesh = make_mesh(AxisType.Auto)

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(SPECS,),
        out_specs=SPECS,
        check_vma=check_vma,
    )
    def step(params):
        return tx.update(params, tx.init(params), params)[0]

    with jax.set_mesh(mesh):
        return jax.jit(step)(shard(params, mesh))


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("form", ["tree", "callable"])
def test_shard_map_sums_over_the_named_axes(name, check_vma, form):
    params = make_params()
    names = AXIS_NAMES if form == "tree" else lambda updates: AXIS_NAMES
    make = functools.partial(FACTORIES[name], reduction_axes=MATRICES)
    want, _ = make().update(params, make().init(params), params)
    got = sharded_step(make(axis_name=names), params, check_vma)
    for leaf in params:
        np.testing.assert_allclose(got[leaf], want[leaf], rtol=1e-5, atol=1e-7)


def test_a_sum_over_one_shard_would_be_wrong():
    params = make_params()
    tx = optaxmods.agr(reduction_axes=MATRICES)
    want, _ = tx.update(params, tx.init(params))
    got = sharded_step(tx, params, check_vma=True)
    assert np.abs(got["fsdp"] - want["fsdp"]).max() > 1e-2
    np.testing.assert_allclose(got["replicated"], want["replicated"], rtol=1e-6)


def test_one_name_for_all_skips_leaves_known_to_be_replicated():
    # Summed over the mesh, a replicated matrix would count eight times.
    params = {"replicated": jnp.ones((8, 8)).at[0, 0].set(9.0)}
    want, _ = (tx := optaxmods.agr()).update(params, tx.init(params))
    mesh = make_mesh(AxisType.Auto)
    named = optaxmods.agr(axis_name=("data", "model"))
    step = jax.shard_map(
        lambda params: named.update(params, named.init(params))[0],
        mesh=mesh,
        in_specs=(P(),),
        out_specs=P(),
    )
    with jax.set_mesh(mesh):
        got = jax.jit(step)(params)
    np.testing.assert_allclose(got["replicated"], want["replicated"], rtol=1e-6)


def test_group_size_counts_the_shards():
    # One row a device: one entry a group here, eight in the whole matrix.
    params = {"column": jnp.arange(1.0, 9.0)[:, None]}
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def run(**arguments):
        tx = optaxmods.agr(**arguments)
        step = jax.shard_map(
            lambda params: tx.update(params, tx.init(params))[0],
            mesh=mesh,
            in_specs=(P("data"),),
            out_specs=P("data"),
        )
        return jax.jit(step)(params)["column"]

    want = optaxmods.agr().update(params, optax.EmptyState())[0]["column"]
    got = run(reduction_axes=(0, 1), axis_name="data")
    np.testing.assert_allclose(got, want, rtol=1e-6)
    got = run(axis_name="data")
    np.testing.assert_allclose(got, want, rtol=1e-6)
    with pytest.raises(ValueError, match="one entry of column"):
        run(reduction_axes=(0, 1))


def test_init_outside_shard_map_sees_whole_matrices():
    tx = optaxmods.scale_by_agr_adam(axis_name="data")
    params = {"kernel": jnp.ones((8, 2))}
    state = tx.init(params)
    assert state.mu["kernel"].shape == (8, 2)


@pytest.mark.parametrize("check_vma", [True, False])
def test_an_axis_name_that_no_mesh_has(check_vma):
    params = {"fsdp": make_params()["fsdp"]}
    tx = optaxmods.agr(axis_name="dta")
    step = jax.shard_map(
        lambda params: tx.update(params, tx.init(params))[0],
        mesh=make_mesh(AxisType.Auto),
        in_specs=(P("data"),),
        out_specs=P("data"),
        check_vma=check_vma,
    )
    with pytest.raises(ValueError, match="axis_name names 'dta'"):
        jax.eval_shape(step, params)
    # Nor is there one outside shard_map.
    with pytest.raises(ValueError, match="axis_name names 'dta'"):
        tx.update(params, tx.init(params))


def test_replicas_are_averaged_first():
    # AGR is not linear: the mean of regularized gradients is another one.
    generator = np.random.default_rng(3)
    gradients = jnp.asarray(generator.standard_cauchy((8, 4, 3)), jnp.float32)
    tx = optaxmods.agr()

    def run(average_first):
        def step(gradient):
            gradient = gradient[0]
            if average_first:
                gradient = jax.lax.pmean(gradient, "data")
            psi, _ = tx.update(gradient, tx.init(gradient))
            return psi if average_first else jax.lax.pmean(psi, "data")

        mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
        mapped = jax.shard_map(
            step, mesh=mesh, in_specs=(P("data"),), out_specs=P()
        )
        return np.asarray(jax.jit(mapped)(gradients))

    mean = np.asarray(gradients, np.float64).mean(axis=0)
    want = oracles.agr.psi(mean)
    np.testing.assert_allclose(run(average_first=True), want, rtol=1e-4)
    assert np.abs(run(average_first=False) - want).max() > 0.1


def test_derivatives_sum_over_the_shards():
    generator = np.random.default_rng(4)
    gradient = jnp.asarray(generator.standard_normal((8, 4)), jnp.float32)
    tangent = jnp.asarray(generator.standard_normal((8, 4)), jnp.float32)

    def push(tx, gradient, tangent):
        apply = lambda g: tx.update(g, tx.init(g))[0]  # noqa: E731
        return jax.jvp(apply, (gradient,), (tangent,))[1]

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(
        functools.partial(push, optaxmods.agr(axis_name="data")),
        mesh=mesh,
        in_specs=(P("data"), P("data")),
        out_specs=P("data"),
    )
    got = jax.jit(mapped)(gradient, tangent)
    want = push(optaxmods.agr(), gradient, tangent)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
