"""GAL where numbers are large, not numbers, padding, or not all alike."""

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, gal
from tests import oracles
from tests.helpers.gal_theta import cosine, layers_of
from tests.helpers.losses import cross_entropy

pytestmark = pytest.mark.usual_compilation

GENERATOR = np.random.default_rng(0)


def gradients(adjuster, theta, z, loss_fn, **arguments):
    """The metrics, and the gradients in z and in theta."""
    grad = jax.jit(
        jax.grad(
            lambda z, theta: adjuster.loss(theta, z, loss_fn, **arguments),
            argnums=(0, 1),
            has_aux=True,
        )
    )
    (to_z, to_theta), metrics = grad(z, theta)
    return metrics, to_z, to_theta


def large_case(name):
    """Losses whose differences are rounding at steps that are not small."""
    if name == "large vocabulary":
        z = GENERATOR.standard_normal((32, 4000))
        labels = GENERATOR.integers(0, 4000, 32)
        return z, cross_entropy(labels), oracles.gal.cross_entropy(labels)
    z = 1000 * GENERATOR.standard_normal((32, 5))
    return (
        z,
        lambda z: 0.5 * jnp.sum(z**2, axis=-1),
        oracles.gal.squared_error(np.zeros(5)),
    )


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("large vocabulary", (0.0316, 0.0464, 0.1, 1.0)),
        ("large residuals", (1e-5, 3e-5, 1e-4, 1e-3)),
    ],
)
def test_theta_learns_where_losses_are_large(name, steps):
    z, loss_fn, reference = large_case(name)
    z = z.astype(np.float32)
    adjuster = GradientAdjuster((4, 3))
    theta = adjuster.init(jax.random.key(1), z.shape[1])

    @jax.jit
    def gradient(z, step):
        def objective(theta):
            return adjuster.loss(theta, z, loss_fn, tentative_step=step)[0]

        return jax.grad(objective)(theta)

    for step in steps:
        want = oracles.gal.gal(
            layers_of(theta), np.float64(z), reference, step
        )["theta"]
        got = gradient(z, step)
        assert cosine(got, want) > 0.99, step


@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize("padding", ["label", "features"])
def test_padding_that_is_no_number(convention, padding):
    z = jnp.asarray(GENERATOR.standard_normal((4, 5)), jnp.float32)
    labels, weights = jnp.array([0, 3, 1, -100]), jnp.array([1.0, 1, 1, 0])
    if padding == "features":
        z, labels = z.at[3].set(jnp.nan), labels.at[3].set(0)
    adjuster = GradientAdjuster((4,), convention=convention)
    theta = adjuster.init(jax.random.key(1), 5)
    metrics, to_z, to_theta = gradients(
        adjuster, theta, z, cross_entropy(labels), example_weights=weights
    )
    want, to_used, without = gradients(
        adjuster, theta, z[:3], cross_entropy(labels[:3])
    )
    chex.assert_trees_all_close(to_z[:3], to_used, rtol=1e-4, atol=1e-8)
    assert np.all(to_z[3] == 0)
    loss = jax.jit(
        lambda z: adjuster.loss(
            theta, z, cross_entropy(labels), example_weights=weights
        )[0]
    )(z)
    mean = cross_entropy(labels[:3])(z[:3]).mean()
    np.testing.assert_allclose(loss, mean, rtol=1e-6)
    chex.assert_trees_all_close(metrics, want, rtol=1e-4)
    chex.assert_trees_all_close(to_theta, without, rtol=1e-4, atol=1e-8)
    assert optax.tree.norm(to_theta) > 0


def test_a_gradient_whose_norm_overflows_is_left_alone():
    z = jnp.full((2, 3), 1e20, jnp.float32)
    adjuster = GradientAdjuster((4,))
    theta = adjuster.init(jax.random.key(1), 3)
    metrics, to_z, _ = gradients(
        adjuster, theta, z, lambda z: 0.5 * jnp.sum(z * 1.0, axis=-1) * 1e20
    )
    assert metrics["acceptance"] == 0
    np.testing.assert_allclose(to_z, np.full((2, 3), 2.5e19), rtol=1e-6)


@pytest.mark.parametrize("accept", ["<=", "<"])
def test_small_steps_along_the_gradient_are_accepted(accept):
    # The losses, 100 or so, are the same on both sides of many of them.
    z = jnp.asarray(10 * GENERATOR.standard_normal((32, 5)), jnp.float32)
    adjuster = GradientAdjuster((4,), accept=accept)
    theta = adjuster.init(jax.random.key(1), 5)
    acceptance = jax.jit(
        lambda step: adjuster.loss(
            theta,
            z,
            lambda z: 100 + jax.nn.logsumexp(z, axis=-1) - z[:, 0],
            tentative_step=step,
        )[1]["acceptance"]
    )
    for step in 10.0 ** np.arange(-9, 1):
        assert acceptance(jnp.float32(step)) == 1, step


@pytest.mark.parametrize("size", [1e30, np.inf])
def test_a_direction_whose_norm_overflows_is_none(size):
    z = jnp.asarray(GENERATOR.uniform(1, 2, (4, 5)), jnp.float32)
    loss_fn = cross_entropy(jnp.array([0, 3, 1, 2]))
    network = (lambda key, z: jnp.ones(5), lambda theta, z: theta * z)
    adjuster = GradientAdjuster(network=network)
    theta = jnp.full((1, 5), size)
    metrics, to_z, _ = gradients(adjuster, theta, z, loss_fn)
    assert metrics["cosine"] == 0
    assert metrics["acceptance"] == 1  # Of the plain gradient.
    plain = jax.grad(lambda z: loss_fn(z).mean())(z)
    np.testing.assert_allclose(to_z, plain, rtol=1e-6)


# The curvature times the step: up to 2 a step along the gradient descends.
CURVATURES = np.array([0.5, 1.0, 1.9, 2.5, 4.0])


@pytest.mark.parametrize(
    ("convention", "accept", "accepted"),
    [
        ("paper", "<=", [1, 1, 1, 0, 0, 1]),
        ("paper", "<", [1, 1, 1, 0, 0, 0]),
        ("paper", "always", [1] * 6),
        ("paper", "never", [0] * 6),
        ("released", "<=", [0] * 6),
        ("released", "<", [0] * 6),
    ],
)
def test_policies_decide_by_example_and_by_batch(convention, accept, accepted):
    # The last row has no gradient, so that nothing changes there.
    z = jnp.ones((6, 3)).at[5].set(0)
    scale = jnp.append(CURVATURES, 1.0)
    adjuster = GradientAdjuster(
        (4,), 1e-3, accept=accept, convention=convention
    )
    theta = adjuster.init(jax.random.key(1), 3)
    # The released step is along the mean's gradient, 1 / 6 of an example's.
    step = 1.0 if convention == "paper" else 6 * 1.0
    metrics, to_z, _ = gradients(
        adjuster,
        theta,
        z,
        lambda z: scale.astype(z.dtype) * jnp.sum(z**2, axis=-1) / 2,
        tentative_step=step,
    )
    np.testing.assert_allclose(metrics["acceptance"], np.mean(accepted))
    # Eq. 7 of a parabola, but for v~, a thousandth of the gradient; with the
    # released first-order term the examples' signs differ.
    squares = 3 * CURVATURES**2
    r = squares * (CURVATURES / 2 - (5 / 6 if convention == "released" else 0))
    np.testing.assert_allclose(metrics["remainder"], r.sum() / 6, rtol=1e-2)
    plain = scale[:, None] * z / 6
    moved = np.abs(to_z - plain).max(axis=-1) > 1e-6
    np.testing.assert_array_equal(moved[:5], np.array(accepted[:5]) == 1)


@pytest.mark.parametrize("check_vma", [True, False])
def test_the_direct_route_under_shard_map(check_vma):
    inputs = jnp.asarray(GENERATOR.standard_normal((8, 3)), jnp.float32)
    labels = jnp.asarray(GENERATOR.integers(0, 5, 8))
    weights = jnp.asarray(GENERATOR.standard_normal((3, 5)), jnp.float32)

    def step(inputs, labels, axis_name=None):
        tx = gal(GradientAdjuster((4,), 0.09, axis_name=axis_name), 5)
        loss_fn = cross_entropy(labels)
        z, pullback = jax.vjp(lambda w: inputs @ w, weights)
        updates, _ = tx.update(
            jnp.zeros_like(weights),
            tx.init(weights),
            weights,
            features=z,
            loss_fn=loss_fn,
            pullback=pullback,
        )
        return updates[None]

    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(
        lambda x, y: step(x, y, "data"),
        mesh=mesh,
        in_specs=(P("data"), P("data")),
        out_specs=P("data") if not check_vma else P(),
        check_vma=check_vma,
    )
    got = jax.jit(mapped)(inputs, labels)
    want = jax.jit(step)(inputs, labels)
    assert np.abs(want).max() > 1e-4
    for updates in got:
        np.testing.assert_allclose(updates, want[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_theta_split_over_a_mesh(axis_type):
    z = jnp.asarray(GENERATOR.standard_normal((8, 6)), jnp.float32)
    target = jax.nn.one_hot(jnp.arange(8) % 6, 6)
    adjuster = GradientAdjuster((4,))
    theta = adjuster.init(jax.random.key(1), 6)

    def loss_fn(z):
        return optax.softmax_cross_entropy(z, target)

    want = gradients(adjuster, theta, z, loss_fn)
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        split = jax.device_put(z, NamedSharding(mesh, P("data", None)))
        kernel = theta["layer_1"]["kernel"]
        kernel = jax.device_put(kernel, NamedSharding(mesh, P("model", None)))
        theta["layer_1"] = {**theta["layer_1"], "kernel": kernel}
        got = gradients(adjuster, theta, split, loss_fn)
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-7)


def test_the_user_s_arrays_are_not_donated():
    mine = jnp.ones(3)
    adjuster = GradientAdjuster(
        network=(
            lambda key, features: {"scale": mine},
            lambda theta, z: z * theta["scale"],
        )
    )
    tx = gal(adjuster, 3)
    step = jax.jit(
        lambda state: tx.update(
            jnp.zeros(3), state, adjuster_grads={"scale": jnp.ones(3)}
        )[1],
        donate_argnums=0,
    )
    step(tx.init(None))
    assert not mine.is_deleted()


def test_a_tentative_step_is_one_number():
    adjuster = GradientAdjuster((4,))
    theta = adjuster.init(jax.random.key(0), 4)
    with pytest.raises(ValueError, match=r"tentative_step.* shape \(4,\)"):
        adjuster.loss(
            theta,
            jnp.ones((4, 4)),
            lambda z: jnp.sum(z, -1),
            tentative_step=jnp.ones(4),
        )


def test_any_integer_is_a_key():
    tx = gal(GradientAdjuster((4,)), 3, key=np.int64(3))
    same = gal(GradientAdjuster((4,)), 3, key=3)
    chex.assert_trees_all_equal(tx.init(None), same.init(None))


def without(column, layers):
    """The oracle's network of the entries that are not masked."""
    (first, into), *between, (last, bias) = layers
    first = np.delete(first, column, axis=0)
    last = np.delete(last, column, axis=1)
    return [(first, into), *between, (last, np.delete(bias, column))]


@pytest.mark.parametrize("mask", [-np.inf, -1e30, np.finfo(np.float32).min])
def test_a_masked_entry_is_as_good_as_none(mask):
    z = np.random.default_rng(3).standard_normal((2, 5)).astype(np.float32)
    labels, masked = np.array([0, 3]), np.array([4, 1])
    adjuster = GradientAdjuster((4, 3), 0.09)
    theta = adjuster.init(jax.random.key(1), 5)
    given = jnp.asarray(z).at[np.arange(2), masked].set(mask)
    loss_fn = cross_entropy(labels)
    metrics, to_z, to_theta = gradients(adjuster, theta, given, loss_fn)
    layers = layers_of(theta)
    into, out_of, better = np.zeros((5, 4)), np.zeros((3, 5)), 0
    for row, column in enumerate(masked):
        kept = np.delete(np.arange(5), column)
        label = np.array([np.flatnonzero(kept == labels[row])[0]])
        arguments = (
            without(column, layers),
            np.float64(z[row : row + 1, kept]),
            oracles.gal.cross_entropy(label),
            1.0,
            0.09,
        )
        want = oracles.gal.gal(*arguments)
        better += oracles.gal.share_improved(*arguments)
        np.testing.assert_allclose(to_z[row, kept], want["z"][0] / 2, 1e-4)
        assert to_z[row, column] == 0
        into[kept] += want["theta"][0][0] / 2
        out_of[:, kept] += want["theta"][-1][0] / 2
    kernels = [to_theta[name]["kernel"] for name in ("layer_0", "layer_2")]
    for kernel, wanted in zip(kernels, (into, out_of), strict=True):
        size = np.abs(wanted).max()
        np.testing.assert_allclose(kernel, wanted, 1e-4, 1e-4 * size)
    assert metrics["finite"]
    assert metrics["acceptance"] == 1
    share = jax.jit(lambda z: adjuster.compare(theta, z, loss_fn))(given)
    assert share == better / 2


@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize("mask", [-np.inf, -1e30, -1e9])
def test_masked_logits_poison_nothing(convention, mask):
    z = jnp.asarray(GENERATOR.standard_normal((4, 5)), jnp.float32)
    z = z.at[:3, 4].set(mask).at[1, 0].set(mask)
    loss_fn = cross_entropy(jnp.array([0, 3, 1, 2]))
    adjuster = GradientAdjuster((4,), convention=convention)
    tx = gal(adjuster, 5)
    state = tx.init(None)
    metrics, *grads = gradients(adjuster, state.gal_theta, z, loss_fn)
    chex.assert_tree_all_finite((metrics, grads))
    plain = jax.grad(lambda z: loss_fn(z).mean())(z)
    distance = np.linalg.norm(grads[0] - plain, axis=-1)
    # Eq. 4: each is turned by magnitude times its own gradient's length.
    wanted = 0.01 * np.linalg.norm(plain, axis=-1)
    np.testing.assert_allclose(distance, wanted, rtol=1e-3)
    _, after = tx.update(z, state, adjuster_grads=grads[1])
    assert after.gal_opt_state[0].count == 1
