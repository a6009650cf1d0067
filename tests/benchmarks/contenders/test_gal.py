"""The contenders of GAL as they train, and theta by seed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import models
from benchmarks.contenders import gal
from benchmarks.training import loop
import optaxmods
from tests.helpers.gal_runs import (
    CLASSES,
    RATE,
    SEEDS,
    assert_close,
    at,
    examples,
    is_same,
    maker,
    runs_of,
    theta_of,
)

# The arguments of GradientAdjuster that a form is to stand for.
FORMS = {
    "gal": {},
    "gal-frozen": {},
    "gal-noise": {"network": gal.NOISE},
    "gal-released": {"convention": "released"},
}
FROZEN = ("gal-frozen", "gal-noise")


@pytest.mark.parametrize(
    ("form", "vmapped"), [("gal", True), *((form, False) for form in FORMS)]
)
def test_training_is_the_forms_written_out(form, vmapped):
    """One epoch against a loop of optaxmods' documented step."""
    seed = SEEDS[1]
    start, end = runs_of(maker(f"{form}+adam"), epochs=1, vmapped=vmapped)
    adjuster = optaxmods.GradientAdjuster((8,), 0.05, 0.5, **FORMS[form])
    teacher = optax.set_to_zero() if form in FROZEN else optax.adam(RATE)
    key = jax.random.fold_in(jax.random.key(seed), 3)
    tx = optax.chain(
        optaxmods.gal(adjuster, CLASSES, optimizer=teacher, key=key),
        optax.adam(RATE),
    )
    model, given = models.MLP(sizes=(5,), num_classes=CLASSES), examples()
    params = at(start.params, 1)
    state = tx.init(params)
    batches = loop.batch_indices(jnp.array([seed], jnp.uint32), 0, 24, 8)[0]
    keys = jax.random.split(loop.step_keys(jnp.array([seed]), 0)[0], 3)

    def objective(params, theta, batch, key):
        return adjuster.loss(
            theta,
            model.apply({"params": params}, given.images[batch]),
            lambda z: optax.softmax_cross_entropy_with_integer_labels(
                z, given.labels[batch]
            ),
            key=jax.random.split(key)[0],
        )

    @jax.jit
    def step(params, state, batch, key):
        theta = optaxmods.adjuster_params(state)
        (grads, adjuster_grads), _ = jax.grad(
            objective, argnums=(0, 1), has_aux=True
        )(params, theta, batch, key)
        updates, state = tx.update(
            grads, state, params, adjuster_grads=adjuster_grads
        )
        return optax.apply_updates(params, updates), state

    for batch, key in zip(batches, keys, strict=True):
        params, state = step(params, state, batch, key)
    assert_close(at(end.params, 1), params)
    assert_close(at(theta_of(end), 1), optaxmods.adjuster_params(state))
    plain = runs_of(maker("adam"), epochs=1, vmapped=vmapped)[-1]
    assert not is_same(at(plain.params, 1), params)


def test_theta_is_drawn_by_the_seed_alone():
    drawn = {
        form: theta_of(runs_of(maker(f"{form}+adam"), epochs=0)[0])
        for form in ("gal", "gal-frozen", "gal-released")
    }
    for theta in drawn.values():
        assert is_same(theta, drawn["gal"])
        kernels = theta["layer_0"]["kernel"]
        assert np.all(kernels[0] != kernels[1])
    alone = runs_of(maker("gal+adam"), epochs=0, seeds=SEEDS[1:])[0]
    assert is_same(at(theta_of(alone), 0), at(drawn["gal"], 1))


def test_theta_learns_unless_it_is_frozen():
    for form in FORMS:
        start, *_, end = runs_of(maker(f"{form}+adam"))
        still = is_same(theta_of(start), theta_of(end))
        assert still == (form in FROZEN)


def test_noise_is_drawn_anew_and_for_each_example():
    init, apply = gal.NOISE
    features = jnp.zeros((50, 60))
    theta = init(jax.random.key(0), features)
    drawn = [apply(theta, features, jax.random.key(k)) for k in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.mean(drawn[0] == drawn[2]) < 0.01
    assert np.unique(drawn[0]).size > 2900
    np.testing.assert_allclose(np.std(drawn[0]), 1, atol=0.06)


def test_seeds_start_and_shuffle_alike_whatever_the_method():
    # A magnitude of zero leaves nothing of GAL but its theta.
    nothing = runs_of(maker("gal+adam", magnitude=0.0))
    for ours, theirs in zip(nothing, runs_of(maker("adam")), strict=True):
        assert_close(ours.params, theirs.params)


def test_methods_are_one_object_and_name_their_baseline():
    for plain in "adam", "sgd":
        contenders = gal.methods(*FORMS, plain=plain)
        assert list(contenders) == [plain, *(f"{f}+{plain}" for f in FORMS)]
        for name, method in contenders.items():
            assert maker(name) is maker(name)
            assert method.baseline == (None if name == plain else plain)
            claimed = name.split("+")[0] in ("gal", "gal-released")
            assert method.claimed == claimed


def test_sgd_has_a_rate_of_its_own():
    params = {"w": jnp.array([1.0, -2.0])}
    sgd = maker("sgd")(0.001)
    updates, _ = sgd.update(params, sgd.init(params))
    np.testing.assert_allclose(updates["w"], [-0.1, 0.2], rtol=1e-6)


def test_uniform_noise_is_from_minus_1_to_1():
    drawn = gal.UNIFORM[1](
        jnp.zeros([]), jnp.zeros((50, 60)), jax.random.key(1)
    )
    assert -1 <= drawn.min() < -0.98
    assert 0.98 < drawn.max() <= 1


@pytest.mark.parametrize(("size", "shape"), [(10, (2, 5)), (9, (3, 3))])
def test_convolutions_see_neighbours_in_the_picture(size, shape):
    network = gal.NETWORKS["convolutions"]([3, 4])
    assert hash(network) == hash(gal.NETWORKS["convolutions"]([3, 4]))
    features = jax.random.normal(jax.random.key(0), (6, size))
    variables = network.init(jax.random.key(1), features)
    ours = network.apply(variables, features)
    x = np.asarray(features).reshape(6, *shape, 1)
    layers = variables["params"]
    for name in "Dense_0", "Dense_1":
        kernel = layers[name]["kernel"].reshape(3, 3, x.shape[-1], -1)
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = np.maximum(np.asarray(x) + np.asarray(layers[name]["bias"]), 0)
    last = jax.tree.map(np.asarray, layers["Dense_2"])
    theirs = x.mean((1, 2)) @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_step_is_beta_times_the_optimizers_rate():
    steps = {
        name: gal.maker_at(
            f"gal+{name}", 4, 0.01, magnitude=0.1, beta=5.0, **arguments
        ).adjuster.tentative_step
        for name, arguments in (
            ("sgd", {"rate_factor": 100}),
            ("adabound", {"final_factor": 100}),
        )
    }
    assert steps == pytest.approx({"sgd": 5.0, "adabound": 0.05})


def test_lookahead_and_adabound_end_at_the_rate_of_sgd():
    """After five steps Lookahead is half as far as SGD would be."""
    params, gradient = {"w": jnp.zeros(2)}, {"w": jnp.array([1.0, -2.0])}
    moved = {}
    for name in "sgd", "lookahead":
        optimizer = maker(name)(0.001)
        state, now = optimizer.init(params), params
        for _ in range(5):
            updates, state = optimizer.update(gradient, state, now)
            now = optax.apply_updates(now, updates)
        moved[name] = now["w"]
    np.testing.assert_allclose(moved["lookahead"], moved["sgd"] / 2, rtol=1e-5)
    for factor in 100, 200:
        optimizer = gal.maker("adabound", 4, 0.0, 1.0, final_factor=factor)(1.0)
        state = optimizer.init(params)._replace(count=jnp.array(10**7))
        first, _ = optimizer.update(gradient, state)
        mean = 0.1 * gradient["w"]
        np.testing.assert_allclose(first["w"], -factor * mean, rtol=1e-3)
