"""Batch statistics and dropout, in linen and in NNX, with each method."""

import functools
from typing import NamedTuple

import chex
from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, agr, gal, with_lga
from optaxmods.flax import TrainState
from tests import oracles
from tests.helpers.gal_theta import cosine, layers_of
from tests.helpers.transformations import make_updates

X = make_updates(jnp.ones((32, 5)))
Y = jnp.argmax(X[:, :3], axis=-1)
ADJUSTER = GradientAdjuster(hidden_sizes=(4,), magnitude=0.05)
GAMMA, EVERY = 1e-3, 4


class LinenModel(nn.Module):
    rate: float = 0.5

    def setup(self):
        self.first = nn.Dense(8)
        self.norm = nn.BatchNorm()
        self.dropout = nn.Dropout(self.rate)
        self.last = nn.Dense(3)

    def __call__(self, x, train):
        x = self.norm(self.first(x), use_running_average=not train)
        return self.last(self.dropout(nn.tanh(x), deterministic=not train))


class NnxModel(nnx.Module):
    def __init__(self, rate=0.5):
        rngs = nnx.Rngs(params=1, dropout=2)
        self.first = nnx.Linear(5, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.last = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.tanh(self.norm(self.first(x)))))


class LinenState(TrainState):
    batch_stats: dict


def losses_of(logits):
    return optax.softmax_cross_entropy_with_integer_labels(logits, Y)


def plain(theta, logits):
    return losses_of(logits).mean()


def adjusted(theta, logits):
    return ADJUSTER.loss(theta, logits, losses_of)[0]


def theta_of(opt_state, objective):
    """GAL's theta; without GAL there is none."""
    return adjuster_params(opt_state) if objective is adjusted else {}


def linen_step(state, objective, key):
    """A step as users write it; the loss, and what the tests look at."""

    def total(params, theta):
        logits, changed = state.apply_fn(
            {"params": params, "batch_stats": state.batch_stats},
            X,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        return objective(theta, logits), (logits, changed["batch_stats"])

    grad_fn = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
    theta = theta_of(state.opt_state, objective)
    (loss, (logits, stats)), (grads, taught) = grad_fn(state.params, theta)
    state = state.apply_gradients(
        grads=grads,
        extra_args={"value": loss, "adjuster_grads": taught},
        batch_stats=stats,
    )
    return state, loss, (logits, grads, taught)


def linen_direct_step(state, key):
    def features_of(params):
        logits, changed = state.apply_fn(
            {"params": params, "batch_stats": state.batch_stats},
            X,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        return logits, changed["batch_stats"]

    logits, pullback, stats = jax.vjp(features_of, state.params, has_aux=True)
    (grads,) = pullback(jax.grad(lambda z: losses_of(z).mean())(logits))
    extra = {"features": logits, "loss_fn": losses_of, "pullback": pullback}
    return state.apply_gradients(
        grads=grads, extra_args=extra, batch_stats=stats
    )


def nnx_step(model, optimizer, objective):
    def total(model, theta):
        logits = model(X)
        return objective(theta, logits), logits

    grad_fn = nnx.value_and_grad(total, argnums=(0, 1), has_aux=True)
    theta = theta_of(optimizer.opt_state, objective)
    (loss, logits), (grads, taught) = grad_fn(model, theta)
    optimizer.update(model, grads, value=loss, adjuster_grads=taught)
    return loss, (logits, grads, taught)


def nnx_direct_step(model, optimizer):
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)

    def features_of(params):
        model = nnx.merge(graphdef, params, rest, copy=True)
        return model(X), nnx.state(model, nnx.Not(nnx.Param))

    logits, pullback, rest = jax.vjp(features_of, params, has_aux=True)
    (grads,) = pullback(jax.grad(lambda z: losses_of(z).mean())(logits))
    optimizer.update(
        model, grads, features=logits, loss_fn=losses_of, pullback=pullback
    )
    nnx.update(model, rest)  # Statistics and the dropout's count.


class Seen(NamedTuple):
    """One step from the same start: what it saw and what came of it."""

    before: dict
    after: dict
    stats: dict
    opt_state: tuple
    loss: jax.Array | None = None
    logits: jax.Array | None = None
    grads: dict | None = None
    taught: dict | None = None


def linen_state(tx, rate=0.5):
    model = LinenModel(rate)
    init = jax.jit(model.init, static_argnames="train")
    variables = init(jax.random.key(1), X, train=False)
    return LinenState.create(apply_fn=model.apply, tx=tx, **variables)


@functools.cache
def in_linen(tx, objective):
    before, key, seen = linen_state(tx), jax.random.key(2), ()
    if objective is None:
        state = jax.jit(linen_direct_step)(before, key)
    else:
        step = jax.jit(linen_step, static_argnums=1)
        state, loss, of_step = step(before, objective, key)
        seen = (loss, *of_step)
    return Seen(
        before.params, state.params, state.batch_stats, state.opt_state, *seen
    )


def pure(model, kind):
    return nnx.to_pure_dict(nnx.state(model, kind))


@functools.cache
def in_nnx(tx, objective):
    model, seen = NnxModel(), ()
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = pure(model, nnx.Param)
    if objective is None:
        nnx.jit(nnx_direct_step)(model, optimizer)
    else:
        step = nnx.jit(nnx_step, static_argnums=2)
        loss, (logits, grads, taught) = step(model, optimizer, objective)
        seen = (loss, logits, nnx.to_pure_dict(grads), taught)
    # One look at the data, so one mask.
    assert model.dropout.rngs.count[...] == 1
    return Seen(
        before,
        pure(model, nnx.Param),
        pure(model, nnx.BatchStat),
        optimizer.opt_state,
        *seen,
    )


every_framework = pytest.mark.parametrize("run", [in_linen, in_nnx])


def moved(seen):
    """The steps, by layer and name, in float64."""
    return {
        (layer, name): np.float64(seen.after[layer][name]) - np.float64(leaf)
        for layer, leaves in seen.before.items()
        for name, leaf in leaves.items()
    }


def assert_moved(seen, want):
    # A parameter of size 1 rounds its step to 6e-8.
    for (layer, name), step in moved(seen).items():
        np.testing.assert_allclose(
            step, want(np.float64(seen.grads[layer][name])), 1e-5, 2e-7
        )


def assert_same_noise(seen, other):
    """The masks and the statistics are those of another run."""
    chex.assert_trees_all_close(seen.stats, other.stats, rtol=1e-6)
    if seen.logits is not None:
        np.testing.assert_allclose(seen.logits, other.logits, 1e-5, 1e-6)
        np.testing.assert_allclose(
            seen.loss, losses_of(other.logits).mean(), rtol=1e-6
        )
    means = seen.stats["norm"]["mean"]
    assert np.abs(means).max() > 1e-3


class Inner:
    """The inner product of the logits with a given cotangent."""

    def __init__(self, cotangent):
        self.cotangent = cotangent

    def __call__(self, theta, logits):
        return jnp.sum(self.cotangent * logits)


SGD = optax.sgd(1.0)
TAUGHT = optax.chain(gal(ADJUSTER, 3, optimizer=SGD), SGD)


@every_framework
def test_agr_and_lga_take_the_step_of_their_equations(run):
    tx = with_lga(optax.chain(agr(), SGD), GAMMA, status_every=EVERY)
    seen = run(tx, plain)
    loss = float(seen.loss)

    def equations(g):
        ((term, *_),) = oracles.lga.terms([g], [loss], GAMMA, EVERY)
        return -(oracles.agr.psi(g) if g.ndim > 1 else g) - term

    assert_moved(seen, equations)
    assert_same_noise(seen, run(SGD, plain))


@every_framework
def test_gal_sees_the_logits_of_the_mask(run):
    seen, bare = run(TAUGHT, adjusted), run(SGD, plain)
    assert_same_noise(seen, bare)
    want = oracles.gal.gal(
        layers_of(adjuster_params(TAUGHT.init(seen.before))),
        np.float64(bare.logits),
        oracles.gal.cross_entropy(Y),
        tentative_step=1.0,
        magnitude=0.05,
    )
    np.testing.assert_allclose(seen.loss, want["loss"], rtol=1e-6)
    assert cosine(seen.taught, want["theta"]) > 1 - 1e-6
    # The adjusted gradient of the logits, through the same mask.
    pulled = run(SGD, Inner(jnp.asarray(want["z"], jnp.float32)))
    chex.assert_trees_all_close(seen.grads, pulled.grads, rtol=1e-4, atol=1e-6)


@every_framework
def test_gal_s_routes_agree(run):
    by_the_loss, directly = run(TAUGHT, adjusted), run(TAUGHT, None)
    assert_same_noise(directly, by_the_loss)
    chex.assert_trees_all_close(
        moved(directly), moved(by_the_loss), rtol=1e-5, atol=2e-7
    )
    first = adjuster_params(TAUGHT.init(directly.before))
    theta = adjuster_params(directly.opt_state)
    chex.assert_trees_all_close(
        theta, adjuster_params(by_the_loss.opt_state), rtol=1e-5, atol=1e-6
    )
    distance = jax.tree.map(lambda a, b: np.abs(a - b).max(), theta, first)
    assert min(jax.tree.leaves(distance)) > 1e-4


def every_method():
    inner = optax.chain(gal(ADJUSTER, 3), agr(), optax.sgd(0.5, momentum=0.9))
    return with_lga(inner, 1e-6, status_every=EVERY)


def test_linen_and_nnx_train_alike():
    # Without dropout, whose masks are drawn from other keys.
    model = NnxModel(rate=0.0)
    optimizer = nnx.Optimizer(model, every_method(), wrt=nnx.Param)
    state = linen_state(every_method(), rate=0.0)
    params = pure(model, nnx.Param)
    state = state.replace(params=params, opt_state=state.tx.init(params))
    steps = (
        jax.jit(linen_step, static_argnums=1),
        nnx.jit(nnx_step, static_argnums=2),
    )
    for _ in range(5):
        state, theirs, _ = steps[0](state, adjusted, jax.random.key(0))
        ours, _ = steps[1](model, optimizer, adjusted)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for got, want in (
        (pure(model, nnx.Param), state.params),
        (pure(model, nnx.BatchStat), state.batch_stats),
        (
            jax.tree.leaves(optimizer.opt_state),
            jax.tree.leaves(state.opt_state),
        ),
    ):
        chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-5)


def test_an_nnx_loop_and_its_evaluation():
    model = NnxModel(rate=0.2)
    optimizer = nnx.Optimizer(model, every_method(), wrt=nnx.Param)
    step = nnx.jit(nnx_step, static_argnums=2)
    losses = [step(model, optimizer, adjusted)[0] for _ in range(30)]
    assert np.mean(losses[-5:]) < losses[0] / 2
    assert len({float(loss) for loss in losses}) == 30
    assert model.dropout.rngs.count[...] == 30
    counts = nnx.to_pure_dict(nnx.state(optimizer))["opt_state"]["status"]
    assert counts["lga_count"] == 30
    assert counts["lga_windows"] == 30 // EVERY
    # By the running statistics, an example's logits are its own.
    model.eval()
    np.testing.assert_allclose(model(X)[:1], model(X[:1]), 1e-5, 1e-6)
