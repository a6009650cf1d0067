"""Many small matrices: their sums are few kernels, and each matrix's own."""

import contextlib
import functools
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.costs.compiled import collectives
import optaxmods
from tests import oracles
from tests.helpers.split_matrices import AUTO, draw, make_mesh, moved_by, put

COUNT = 70  # More than are summed in one kernel, and no multiple of it.


def drawn(shape, dtype="float32", count=COUNT):
    generator = np.random.default_rng(3)
    scale = 10.0 ** generator.uniform(-3, 3, (count, *(1 for _ in shape)))
    numbers = scale * generator.standard_normal((count, *shape))
    if jnp.issubdtype(dtype, jnp.complexfloating):
        numbers = numbers + 1j * scale * generator.standard_normal(shape)
    return [jnp.asarray(leaf, dtype) for leaf in numbers]


@pytest.fixture
def elsewhere(monkeypatch):
    """Programs are those of other platforms, which the CPU can run, too."""
    monkeypatch.setattr(jax.lax, "platform_dependent", on_others)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.fixture(params=["here", "elsewhere"])
def platform(request, monkeypatch):
    """As programs are on this platform's one device, and on others'."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    if request.param == "elsewhere":
        request.getfixturevalue("elsewhere")


def on_others(*arguments, default, **platforms):
    del platforms
    return default(*arguments)


def psi(gradients, **arguments) -> Any:
    tx = optaxmods.agr(**arguments)
    return tx.update(gradients, tx.init(gradients))[0]


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(
    ("shape", "axes", "dtype"),
    [
        ((3, 5), None, "float32"),
        ((4, 3, 5), (-2, -1), "float32"),
        ((8, 1), (0,), "float32"),
        ((4, 3, 5), (-2, -1), "bfloat16"),
        ((3, 5), None, "complex64"),
    ],
)
def test_each_is_damped_by_its_own_sum(shape, axes, dtype):
    gradients = drawn(shape, dtype)
    rtol = 1e-2 if dtype == "bfloat16" else 1e-5
    for got, g in zip(
        jax.jit(functools.partial(psi, reduction_axes=axes))(gradients),
        gradients,
        strict=True,
    ):
        wide = np.asarray(g, complex if dtype == "complex64" else float)
        want = oracles.agr.psi(wide, axes=axes)
        np.testing.assert_allclose(
            np.asarray(got, wide.dtype), want, rtol, rtol * abs(wide).max()
        )


@pytest.mark.usefixtures("platform")
def test_models_of_vmap_stay_apart():
    models = [jnp.stack([g, 2 * g[::-1] + 1]) for g in drawn((3, 5))]
    for got, pair in zip(jax.vmap(psi)(models), models, strict=True):
        want = [oracles.agr.psi(np.float64(g)) for g in pair]
        np.testing.assert_allclose(got, want, 1e-5, 1e-5 * np.abs(want).max())


@pytest.mark.usefixtures("x64", "platform")
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_many_are_those_of_each(order):
    gradients = drawn((2, 3), "float64", 40)
    directions = [jnp.cos(g) for g in gradients]

    def loss(gradients):
        return sum(jnp.sum(jnp.sin(g)) for g in psi(gradients))

    def derivatives(gradients, directions):
        slopes = jax.grad(loss)
        if order == 1:
            return slopes(gradients)
        return jax.jvp(slopes, (gradients,), (directions,))[1]

    each = [
        derivatives([g], [d])[0]
        for g, d in zip(gradients, directions, strict=True)
    ]
    for got, want in zip(derivatives(gradients, directions), each, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def program(platform, gradients):
    exported = jax.export.export(jax.jit(psi), platforms=[platform])
    return exported(gradients).mlir_module()


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_as_few_sums_as_kernels_can_take(platform, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    few = program(platform, drawn((3, 5)))
    # CPUs start no kernels, and compile such a one slowly.
    wanted = COUNT if platform == "cpu" else -(-COUNT // 32)
    assert few.count("stablehlo.reduce(") == wanted
    # Sums of large ones stay in the products that make the gradients.
    large = [jax.ShapeDtypeStruct((256, 128), jnp.float32)] * 5
    assert program(platform, large).count("stablehlo.reduce(") == 5


def test_one_program_for_all_platforms_chooses_when_it_runs(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    gradients = drawn((3, 5))
    exported = jax.export.export(
        jax.jit(psi), platforms=["cpu", "cuda", "tpu"]
    )(gradients)
    reductions = exported.mlir_module().count("stablehlo.reduce(")
    assert reductions == COUNT + -(-COUNT // 32)
    for got, want in zip(exported.call(gradients), psi(gradients), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_a_gradient_is_two_expressions_on_cpus_alone(platform):
    text = program(platform, drawn((3, 5), count=3))
    barriers = text.count("stablehlo.optimization_barrier")
    assert barriers == (3 if platform == "cpu" else 0)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("told_by", ["arrays", "set_mesh", "in_shardings"])
def test_what_a_mesh_splits_is_not_gathered(told_by, monkeypatch):
    mesh = make_mesh(AUTO)
    sharded = put(draw(16), mesh)
    if told_by != "in_shardings":  # There the number of devices alone tells.
        monkeypatch.setattr(jax, "device_count", lambda: 1)
    with (
        jax.set_mesh(mesh)
        if told_by == "set_mesh"
        else contextlib.nullcontext()
    ):
        if told_by == "in_shardings":
            shardings = jax.tree.map(lambda leaf: leaf.sharding, sharded)
            shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in sharded]
            step = jax.jit(psi, in_shardings=(shardings,))
            moved = collectives(step.lower(shapes).compile().as_text())
        else:
            moved = moved_by(psi, sharded)
    assert {each.kind for each in moved} == {"all-reduce"}


def test_matrices_of_several_devices_stay_there():
    devices = jax.devices()[:2]
    gradients = [
        jax.device_put(g, device)
        for g, device in zip(drawn((3, 5), count=2), devices, strict=True)
    ]
    for got, g, device in zip(psi(gradients), gradients, devices, strict=True):
        assert got.devices() == {device}
        np.testing.assert_allclose(got, oracles.agr.psi(np.float64(g)), 1e-5)
