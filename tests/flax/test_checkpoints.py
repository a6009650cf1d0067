"""Flax's optimizers and train states in a file, and on from there."""

import chex
from flax import nnx
import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
import pytest

import optaxmods
from optaxmods.flax import TrainState
from tests.helpers.transformations import (
    TRANSFORMATIONS,
    losing,
    make_params,
    make_updates,
    taught,
)


def all_of_them():
    adjuster = optaxmods.GradientAdjuster((4,))
    inner = optax.chain(
        optaxmods.gal(adjuster, 3), optaxmods.agr(), optaxmods.adan(1e-2)
    )
    return losing(optaxmods.with_lga(taught(inner), 1e-3, status_every=2))


SOLVERS = {
    name: TRANSFORMATIONS[name] for name in ("gal", "agr", "adan", "with_lga")
} | {"all of them": all_of_them}
every_solver = pytest.mark.parametrize("name", SOLVERS)


def through_a_file(tree, target, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "step", tree)
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder / "step", target)


class Network(nnx.Module):
    """With keys and counts beside the parameters."""

    def __init__(self, seed):
        rngs = nnx.Rngs(seed)
        self.linear = nnx.Linear(4, 3, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.linear(x))


@nnx.jit
def nnx_step(model, optimizer):
    grads = nnx.grad(lambda model: jnp.sum(model(jnp.ones((2, 4))) ** 2))(model)
    optimizer.update(model, grads)


@every_solver
def test_nnx(name, tmp_path):
    tx = SOLVERS[name]()

    def make(seed):
        model = Network(seed)
        return model, nnx.Optimizer(model, tx, wrt=nnx.Param)

    def states_of(pair):
        return tuple(nnx.state(part) for part in pair)

    pair, other = make(0), make(1)
    nnx_step(*pair)
    nnx_step(*pair)
    target = jax.eval_shape(lambda: states_of(other))
    restored = through_a_file(states_of(pair), target, tmp_path)
    for part, state in zip(other, restored, strict=True):
        nnx.update(part, state)
    chex.assert_trees_all_equal(states_of(other), states_of(pair))
    nnx_step(*pair)
    nnx_step(*other)
    chex.assert_trees_all_equal(states_of(other), states_of(pair))
    assert other[1].step[...] == 3


@every_solver
def test_train_state(name, tmp_path):
    tx, params = SOLVERS[name](), make_params()

    def create():
        return TrainState.create(apply_fn=None, params=params, tx=tx)

    @jax.jit
    def step(state):
        grads = make_updates(params, seed=3)
        return state.apply_gradients(grads=grads)

    state = step(step(create()))
    restored = through_a_file(state, jax.eval_shape(create), tmp_path)
    assert isinstance(restored, TrainState)
    assert restored.tx is tx
    chex.assert_trees_all_equal(restored, state)
    chex.assert_trees_all_equal(step(restored), step(state))
    assert restored.step == 2
