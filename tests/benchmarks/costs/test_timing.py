"""What is timed of the contenders, at toy size."""

import random
import sys
import types

import chex
import jax
import numpy as np
import pytest

from benchmarks.costs import contenders, timing, torch_peer
from benchmarks.costs.contenders import Case

TOY = Case(2, (4, 8), "float32", contenders.rows(), rounds=2, steps=1)
OPTIMIZERS = contenders.make_optimizers()


@pytest.mark.parametrize("what", contenders.ONCE)
def test_what_is_done_once_is_done_for_each_contender(what):
    found = timing.time_once(what, TOY, random.Random(0))
    assert set(found) == set(contenders.methods_of(TOY))
    assert all(len(seconds) == TOY.rounds for seconds in found.values())


def test_a_tracing_ends_before_the_compiler():
    params, gradients = timing.make_trees(TOY)
    tx = OPTIMIZERS["chain(agr, optax.adamw)"]
    traced = timing.trace_step(tx, params, gradients)()
    shapes = timing.abstract_init(tx, params, gradients)()
    assert traced.lower().compile()(params, tx.init(params), gradients)
    assert all(
        isinstance(leaf, jax.ShapeDtypeStruct)
        for leaf in jax.tree.leaves(shapes)
    )


@pytest.mark.parametrize(
    "control", ["a product in float32", "AGR's sums alone"]
)
def test_a_control_leaves_the_gradients_but_for_rounding(control):
    params, gradients = timing.make_trees(TOY._replace(dtype="bfloat16"))
    tx = OPTIMIZERS[f"chain({control}, optax.adamw)"]
    plain = OPTIMIZERS["optax.adamw"]
    expected, _ = plain.update(gradients, plain.init(params), params)
    updates, _ = tx.update(gradients, tx.init(params), params)
    chex.assert_trees_all_close(updates, expected, rtol=2**-7)


def test_memory_is_counted_in_words_of_the_parameters():
    case = TOY._replace(
        leaves=4, shape=(512, 512), rows=contenders.RESERVED[0].rows
    )
    words = timing.reserved(case)
    assert set(words) == set(contenders.methods_of(case))
    # The gradient's damped copy is read by two kernels.
    plain = words["optax.adamw"]
    assert plain < 0.1
    assert words["chain(AGR as printed, optax.adamw)"] > plain


class Tensor(np.ndarray):
    """An array with the few methods of PyTorch's tensors that are used."""

    grad = None

    def abs(self):
        return abs(self)


class Sgd:
    """In the place of PyTorch's optimizer: subtracts the gradients."""

    def __init__(self, parameters, **arguments):
        assert arguments["fused"]
        self.parameters = parameters

    def step(self):
        for parameter in self.parameters:
            parameter[...] -= parameter.grad


@pytest.fixture
def torch(monkeypatch):
    """Stands in for PyTorch, which need not be there."""

    def tensor(array):
        return np.array(array).view(Tensor)

    stub = types.SimpleNamespace(
        nn=types.SimpleNamespace(Parameter=tensor),
        optim=types.SimpleNamespace(AdamW=Sgd),
        from_numpy=tensor,
    )
    monkeypatch.setitem(sys.modules, "torch", stub)


@pytest.mark.parametrize("with_agr", [False, True])
def test_the_peer_steps_by_the_same_gradients_each_time(torch, with_agr):
    params, gradients = timing.make_trees(TOY)
    peer = torch_peer.AdamW(contenders.RATE, with_agr)
    state = peer.init(params)
    for _ in range(2):
        _, state = peer.step(params, state, gradients)
    for own, leaf, gradient in zip(
        state.parameters, params.values(), gradients.values(), strict=True
    ):
        g = np.asarray(gradient, np.float64)
        moved = g - abs(g) / abs(g).sum() * g if with_agr else g
        np.testing.assert_allclose(own, leaf - 2 * moved, rtol=1e-5, atol=1e-6)
