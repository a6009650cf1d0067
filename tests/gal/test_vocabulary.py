"""GAL on logits whose vocabulary a mesh axis splits."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from benchmarks.costs.compiled import collectives
from optaxmods import GradientAdjuster, adjuster_params, gal

pytestmark = pytest.mark.usual_compilation

# Tokens enough that the logits are larger than theta.
BATCH, TIME, WIDTH, VOCABULARY = 8, 32, 4, 64
GENERATOR = np.random.default_rng(0)
ADJUSTER = GradientAdjuster((16, 8), 0.09, tentative_step=5.0)
THETA = ADJUSTER.init(jax.random.key(0), VOCABULARY)


def drawn(*shape):
    return jnp.asarray(GENERATOR.standard_normal(shape), jnp.float32)


KERNEL = 3 * drawn(WIDTH, VOCABULARY)
HIDDEN = drawn(BATCH, TIME, WIDTH)
LABELS = jnp.asarray(GENERATOR.integers(VOCABULARY, size=(BATCH, TIME)))
SPECS = (P(None, "model"), P("data", None, None), P("data", None))
THETA_SPECS = {
    "whole": jax.tree.map(lambda leaf: P(*[None] * leaf.ndim), THETA),
    # As docs/pods.rst has it.
    "vocabulary": jax.tree.map(
        lambda leaf: P(
            *("model" if n == VOCABULARY else None for n in leaf.shape)
        ),
        THETA,
    ),
    "split": {
        "layer_0": {"kernel": P("model", "data"), "bias": P("data")},
        "layer_1": {"kernel": P("data", "model"), "bias": P("model")},
        "layer_2": {"kernel": P(None, "model"), "bias": P("model")},
    },
}


def integer(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def one_hot(logits, labels):
    hot = jax.nn.one_hot(labels, logits.shape[-1])
    return -jnp.sum(hot * jax.nn.log_softmax(logits), axis=-1)


def smoothed(logits, labels):
    hot = 0.9 * jax.nn.one_hot(labels, VOCABULARY) + 0.1 / VOCABULARY
    return optax.softmax_cross_entropy(logits, hot)


def focal(logits, labels):
    loss = integer(logits, labels)
    return (1 - jnp.exp(-loss)) ** 2 * loss


def one_against_all(logits, labels):
    hot = jax.nn.one_hot(labels, VOCABULARY)
    return optax.sigmoid_binary_cross_entropy(logits, hot).mean(-1)


def through_the_loss(kernel, hidden, labels, theta, loss_of):
    """The gradients of the logits' layer, of its input and of theta."""

    def objective(kernel, hidden, theta):
        return ADJUSTER.loss(
            theta, hidden @ kernel, lambda z: loss_of(z, labels)
        )

    return jax.grad(objective, argnums=(0, 1, 2), has_aux=True)(
        kernel, hidden, theta
    )


def in_the_update(kernel, hidden, labels, theta, loss_of):
    """What the direct route adds to gradients of 0, and theta after it."""
    params = kernel, hidden
    tx = gal(ADJUSTER, VOCABULARY, optimizer=optax.sgd(1.0))
    state = tx.init(params)._replace(gal_theta=theta)
    logits, pullback = jax.vjp(lambda params: params[1] @ params[0], params)
    added, state = tx.update(
        jax.tree.map(jnp.zeros_like, params),
        state,
        features=logits,
        loss_fn=lambda z: loss_of(z, labels),
        pullback=pullback,
    )
    return added, adjuster_params(state)


@functools.cache
def expected(route, loss_of):
    arguments = KERNEL, HIDDEN, LABELS, THETA
    return jax.jit(route, static_argnames="loss_of")(
        *arguments, loss_of=loss_of
    )


@pytest.mark.parametrize(
    ("axis_type", "loss_of", "theta", "route"),
    [
        (AxisType.Auto, integer, "whole", through_the_loss),
        (AxisType.Auto, one_hot, "vocabulary", through_the_loss),
        (AxisType.Auto, smoothed, "whole", through_the_loss),
        (AxisType.Auto, focal, "whole", through_the_loss),
        (AxisType.Auto, one_against_all, "split", in_the_update),
        (AxisType.Explicit, one_hot, "whole", through_the_loss),
        (AxisType.Explicit, one_hot, "split", through_the_loss),
        (AxisType.Explicit, one_hot, "vocabulary", in_the_update),
    ],
)
def test_no_logits_travel(axis_type, loss_of, theta, route):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        arguments = jax.tree.map(
            lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec)),
            (KERNEL, HIDDEN, LABELS, THETA),
            (*SPECS, THETA_SPECS[theta]),
        )
        compiled = (
            jax.jit(route, static_argnames="loss_of")
            .lower(*arguments, loss_of=loss_of)
            .compile()
        )
        got = compiled(*arguments)
    for ours, theirs in zip(
        jax.tree.leaves(got),
        jax.tree.leaves(expected(route, loss_of)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    a_shard = BATCH * TIME * VOCABULARY // 8
    # FSDP gathers a kernel over one axis; what the other splits stays so.
    wide = THETA["layer_0"]["kernel"].size
    gathered = {"whole": wide, "split": wide // 2, "vocabulary": 0}[theta]
    # Sums are of the first hidden layer, for one device's share of tokens.
    summed = BATCH * TIME // 4 * ADJUSTER.hidden_sizes[0]
    for moved in collectives(compiled.as_text()):
        is_sum = moved.kind == "all-reduce"
        assert max(moved.sizes) <= (summed if is_sum else gathered) < a_shard


@pytest.mark.parametrize(
    ("axis_type", "loss_of"),
    [(AxisType.Auto, integer), (AxisType.Explicit, one_hot)],
)
def test_the_cotangent_is_split_as_the_logits(axis_type, loss_of):
    logits = HIDDEN @ KERNEL

    @jax.jit
    def cotangent(logits, labels):
        return jax.grad(
            lambda z: ADJUSTER.loss(THETA, z, lambda z: loss_of(z, labels))[0]
        )(logits)

    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        split = NamedSharding(mesh, P("data", None, "model"))
        got = cotangent(
            jax.device_put(logits, split),
            jax.device_put(LABELS, NamedSharding(mesh, SPECS[2])),
        )
    assert got.sharding.is_equivalent_to(split, 3)
    want = cotangent(logits, LABELS)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-7)


def test_one_layer_from_split_features_to_split_features():
    # Its sum runs over what its result is split by.
    adjuster = GradientAdjuster((), 0.09)
    theta = adjuster.init(jax.random.key(0), VOCABULARY)
    features = HIDDEN @ KERNEL
    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        split = NamedSharding(mesh, P(None, None, "model"))
        got = jax.jit(adjuster.apply)(theta, jax.device_put(features, split))
    assert got.sharding.is_equivalent_to(split, 3)
    want = adjuster.apply(theta, features)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
