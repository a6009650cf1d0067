"""LGA in training loops: wrappers, meshes, checkpoints, the compiled step."""

import functools
import math

import chex
from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import optax.tree
import orbax.checkpoint as ocp
import pytest

import optaxmods
from tests import oracles
from tests.helpers.lga_runs import make_gradients, make_losses, run

FORMS = {
    "chained": optaxmods.lga,
    "around": functools.partial(optaxmods.with_lga, optax.sgd(0.1)),
}
every_form = pytest.mark.parametrize("form", FORMS)


def injected(form, **arguments):
    static = {"static_args": "status_every"}
    if form == "chained":
        return optax.inject_hyperparams(optaxmods.lga, **static)(**arguments)
    around = optax.inject_hyperparams(optaxmods.with_lga, **static)
    return around(inner=optax.sgd(0.1), **arguments)


@every_form
def test_inject_hyperparams(form):
    arguments = {
        "gamma": 0.5,
        "eps": 0.2,
        "xi": 0.1,
        "log_base": math.e,
        "decay_factor": 0.5,
        "gamma_min": 0.1,
        "lower_bound": 0.3,
        "gradient_floor": 0.2,
    }
    gradients = [np.float32(g) for g in make_gradients()]
    tx = injected(form, status_every=3, **arguments)
    plain = FORMS[form](status_every=3, **arguments)
    chex.assert_trees_all_close(
        run(tx, gradients, make_losses()),
        run(plain, gradients, make_losses()),
        rtol=1e-5,
    )
    assert set(arguments) <= set(tx.init(gradients[0]).hyperparams)


@every_form
@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("gamma", 0.3),
        ("eps", 5.0),
        ("xi", 1.0),
        ("gamma_min", 0.9),
        ("lower_bound", 1.5),
        ("gradient_floor", 2.0),
    ],
)
def test_a_changed_hyperparameter_is_used(form, name, changed):
    arguments = {"gamma": 0.5, "lower_bound": 0.0, name: 0.1}
    tx = injected(form, status_every=3, **arguments)
    gradient = jnp.ones((2, 2))
    state = tx.init(gradient)
    state.hyperparams[name] = jnp.float32(changed)
    got, _ = tx.update(gradient, state, gradient, value=2.0)
    plain = FORMS[form](status_every=3, **{**arguments, name: changed})
    want, _ = plain.update(gradient, plain.init(gradient), value=2.0)
    chex.assert_trees_all_close(got, want, rtol=1e-6)
    unchanged = FORMS[form](status_every=3, **arguments)
    before, _ = unchanged.update(gradient, unchanged.init(gradient), value=2.0)
    assert np.abs(got - before).max() > 1e-3


def test_inject_hyperparams_keeps_a_small_gamma_beside_float16():
    params = jnp.ones((2, 2), jnp.float16)
    tx = optax.inject_hyperparams(
        optaxmods.lga,
        static_args="status_every",
        hyperparam_dtype=jnp.float32,
    )(gamma=1e-8, status_every=3)
    _, state = tx.update(params, tx.init(params), params, value=2.0)
    assert optax.tree.get(state, "lga_gamma") == np.float32(1e-8)


@every_form
def test_inject_hyperparams_with_a_schedule(form):
    def warm_up(step):
        return 0.1 * (1 + step)

    gradients, losses = make_gradients(), make_losses()
    want = oracles.lga.terms(gradients, losses, warm_up, status_every=3)
    gradients = [np.float32(g) for g in gradients]
    got = run(injected(form, gamma=warm_up, status_every=3), gradients, losses)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours[1], theirs[1], 1e-5)


@every_form
@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("averaged", [True, False])
def test_the_losses_of_all_shards_are_averaged(form, check_vma, averaged):
    tx = FORMS[form](0.5, status_every=2, axis_name="data")
    plain = FORMS[form](0.5, status_every=2)
    gradient = jnp.asarray(make_gradients()[0], jnp.float32)
    losses = jnp.arange(8.0)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def step(gradient, losses):
        loss = losses[0]
        if averaged:  # By the user already, which must change nothing.
            loss = jax.lax.pmean(loss, "data")
        return tx.update(gradient, tx.init(gradient), value=loss)

    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P(),
        check_vma=check_vma,
    )
    got = jax.jit(mapped)(gradient, losses)
    want = plain.update(gradient, plain.init(gradient), value=losses.mean())
    chex.assert_trees_all_close(got, want, rtol=1e-6)


def test_the_losses_over_two_axes_are_averaged():
    axes, losses = ("data", "model"), jnp.arange(8.0)
    gradient = jnp.array([1.0, -0.5])

    def step(loss, axis_name=None):
        tx = optaxmods.lga(1e-2, status_every=1, axis_name=axis_name)
        updates, state = tx.update(gradient, tx.init(gradient), value=loss)
        return updates, optax.tree.get(state, "lga_omega")

    mapped = jax.shard_map(
        lambda loss: step(loss[0], axes),
        mesh=jax.make_mesh((4, 2), axes, axis_types=(AxisType.Auto,) * 2),
        in_specs=P(axes),
        out_specs=P(),
    )
    want = step(losses.mean())
    chex.assert_trees_all_close(jax.jit(mapped)(losses), want, rtol=1e-6)
    assert want[1] > 0


def test_without_axis_name_each_shard_has_its_own_status():
    tx = optaxmods.lga(0.5, status_every=2)
    gradient = jnp.ones((2, 2))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def step(gradient, losses):
        _, state = tx.update(gradient, tx.init(gradient), value=losses[0])
        return state.lga_omega[None]

    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data")
    )
    omegas = jax.jit(mapped)(gradient, jnp.arange(1.0, 9.0))
    np.testing.assert_array_equal(omegas, np.arange(1.0, 9.0))


def test_nnx_optimizer_forwards_the_loss():
    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    tx = optaxmods.with_lga(optax.sgd(0.1), 1e-3, status_every=2)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    loss, grads = nnx.value_and_grad(lambda m: jnp.sum(m(jnp.ones(2)) ** 2))(
        model
    )
    optimizer.update(model, grads, value=loss)
    state = nnx.to_pure_dict(nnx.state(optimizer))
    assert state["opt_state"]["status"]["lga_count"] == 1


def test_multi_steps_sees_the_last_loss():
    tx = optax.MultiSteps(optaxmods.lga(0.5, status_every=10), 2)
    gradient = jnp.ones((2, 2))
    state = tx.init(gradient)
    for loss in (5.0, 2.0):
        _, state = tx.update(gradient, state, gradient, value=loss)
    assert optax.tree.get(state, "lga_omega") == 2.0
    assert optax.tree.get(state, "lga_window_size") == 1


def test_multi_steps_inside_a_chain_drops_the_loss():
    accumulating = optax.MultiSteps(optaxmods.lga(0.5, status_every=10), 2)
    tx = optax.chain(accumulating.gradient_transformation(), optax.sgd(0.1))
    gradient = jnp.ones((2, 2))
    state = tx.init(gradient)
    with pytest.raises(TypeError, match=r"MultiSteps.*wrap the whole chain"):
        tx.update(gradient, state, gradient, value=2.0)


def test_resuming_inside_a_window(tmp_path):
    gradients = [np.float32(g) for g in make_gradients()]
    losses = make_losses()
    tx = optaxmods.with_lga(optax.adam(0.1), 1e-3, status_every=4)
    update = jax.jit(lambda g, s, loss: tx.update(g, s, None, value=loss))
    state = tx.init(jnp.asarray(gradients[0]))
    for g, loss in zip(gradients[:6], losses[:6], strict=True):
        _, state = update(g, state, loss)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
    with ocp.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(
            tmp_path / "state", jax.eval_shape(lambda: state)
        )
    for g, loss in zip(gradients[6:], losses[6:], strict=True):
        ours, restored = update(g, restored, loss)
        theirs, state = update(g, state, loss)
        chex.assert_trees_all_equal(ours, theirs)
    chex.assert_trees_all_equal(restored, state)


SIZES = [7, 2**14 + 1]  # One divides, one multiplies.


def filled(numbers, size):
    return jnp.resize(jnp.asarray(numbers, jnp.float32), size)


def test_the_term_is_accurate_at_every_magnitude():
    # In a large array phi is divided by in products alone, from a guess.
    magnitudes = np.exp2(np.linspace(-126, 124, 100_001))
    fractions = np.linspace(1, 2, 100_001)
    gradient = np.float32(np.concatenate([magnitudes, fractions]))
    tx = optaxmods.with_lga(
        optax.set_to_zero(),
        1.0,
        status_every=1,
        xi=float(2.0**-126),
        gradient_floor=0.0,
    )
    updates, _ = tx.update(jnp.asarray(gradient), tx.init(gradient), value=1.0)
    phi = np.float64(np.float32(gradient + np.float32(2.0**-126)))
    np.testing.assert_allclose(-np.float64(updates) * phi, 1.0, rtol=3e-7)


@pytest.mark.parametrize("size", SIZES)
def test_the_term_of_the_largest_numbers(size):
    largest = np.finfo(np.float32).max
    gradient = filled([largest, np.inf, -np.inf, np.nan], size)
    tx = optaxmods.with_lga(optax.set_to_zero(), 1.0, status_every=1)
    updates, _ = tx.update(gradient, tx.init(gradient), value=1.0)
    assert np.abs(updates).max() < 1e-37


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("loss", [2.0, 3e38])
def test_what_is_not_finite_passes_through(loss, size):
    gradient = filled([np.inf, -np.inf, np.nan], size)
    tx = optaxmods.lga(1e30, status_every=1, upper_bound=None)
    updates, _ = tx.update(gradient, tx.init(gradient), value=loss)
    np.testing.assert_array_equal(updates, gradient)
    stays = optaxmods.with_lga(
        optax.set_to_zero(), 1e30, status_every=1, upper_bound=None
    )
    updates, _ = stays.update(gradient, stays.init(gradient), value=loss)
    np.testing.assert_array_equal(updates, np.zeros(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("floor", [0.0, 1e-6, jnp.float32(0)])
def test_zeros_pass_through(floor, size):
    gradient = filled([0.0, -0.0], size)
    tx = optaxmods.lga(1.0, status_every=1, gradient_floor=floor)
    updates, _ = tx.update(gradient, tx.init(gradient), value=3e38)
    np.testing.assert_array_equal(np.signbit(updates), np.signbit(gradient))
    assert not np.any(updates)


@pytest.mark.parametrize("size", SIZES)
def test_small_and_large_arrays_are_pushed_alike(size):
    numbers = np.float32(np.random.default_rng(5).normal(size=7))
    gradient = filled(numbers, size)
    tx = optaxmods.lga(0.5, status_every=9)
    updates, _ = tx.update(gradient, tx.init(gradient), value=2.0)
    wide = np.float64(gradient)
    want = wide + np.sign(wide) / (abs(wide) + np.float32(0.01))
    np.testing.assert_allclose(updates, want, rtol=4e-7)


@pytest.mark.parametrize("size", SIZES)
def test_an_infinite_gradient_stays_beside_a_push_that_overflows(size):
    gradient = filled([np.inf, -np.inf], size)
    tx = optaxmods.lga(2.0, status_every=1)
    updates, _ = tx.update(gradient, tx.init(gradient), value=3e38)
    np.testing.assert_array_equal(updates, gradient)


@pytest.mark.parametrize("size", SIZES)
def test_a_xi_that_is_rounded_to_zero_divides_nothing(size):
    gradient = filled([0.0, 1.0], size)
    tx = optaxmods.lga(1.0, status_every=1, xi=1e-39, push_zero_gradients=True)
    updates, _ = tx.update(gradient, tx.init(gradient), value=0.0)
    np.testing.assert_array_equal(updates, gradient)


@pytest.mark.parametrize("size", SIZES)
def test_derivatives_pass_through_the_term(size):
    gradients, losses = make_gradients(), make_losses()
    tx = optaxmods.lga(0.7, status_every=3)
    gradient = filled(gradients[1].ravel(), size)
    apply = lambda g: tx.update(g, tx.init(g), value=losses[0])[0]  # noqa: E731
    slope = jax.grad(lambda g: apply(g).sum())(gradient)
    wide = np.float64(gradient)
    want = 1 - 0.7 * losses[0] / (np.abs(wide) + 0.01) ** 2
    want[np.abs(wide) < 1e-6] = 1.0
    np.testing.assert_allclose(slope, want, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_gradients_lose_no_small_push(dtype):
    # In float16 a push of 1e-9 would be 0.
    params = jnp.ones((2, 3))
    gradient = params.astype(dtype)
    tx = optaxmods.with_lga(optax.set_to_zero(), 1e-9, status_every=2, xi=1.0)
    updates, _ = tx.update(gradient, tx.init(params), params, value=2.0)
    np.testing.assert_allclose(updates, -1e-9, rtol=1e-5)
