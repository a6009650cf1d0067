"""``value_and_adjusted_grad``: a step's gradients, wherever theta lies."""

import functools

import chex
import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
import optax
from optax.microbatching import AccumulationType
import pytest

from optaxmods import (
    GradientAdjuster,
    adjuster_params,
    gal,
    value_and_adjusted_grad,
    with_lga,
)
from optaxmods.flax import TrainState
from tests.helpers.gal_problem import (
    ADJUSTER,
    INPUTS,
    LABELS,
    WEIGHTS,
    D,
    assert_close,
    objective,
)

TX = gal(ADJUSTER, D, optimizer=optax.sgd(0.1))
BATCH = INPUTS, LABELS


def value_only(*arguments):
    return objective(*arguments)[0]


def by_hand(weights, state, *args, argnums=(0, 1), has_aux=True, of=objective):
    grad_fn = jax.value_and_grad(of, argnums=argnums, has_aux=has_aux)
    return grad_fn(weights, adjuster_params(state), *args)


def test_a_step():
    @jax.jit
    def step(state):
        grad_fn = value_and_adjusted_grad(objective)
        value, grads, extra_args = grad_fn(WEIGHTS, state, *BATCH)
        return (value, grads), TX.update(grads, state, WEIGHTS, **extra_args)

    @jax.jit
    def want(state):
        value, (grads, taught) = by_hand(WEIGHTS, state, *BATCH)
        updated = TX.update(grads, state, WEIGHTS, adjuster_grads=taught)
        return (value, grads), updated

    state = TX.init(WEIGHTS)
    chex.assert_trees_all_equal(step(state), want(state))


def test_an_objective_that_returns_the_loss_alone():
    state = TX.init(WEIGHTS)
    loss, grads, extra_args = value_and_adjusted_grad(
        value_only, has_aux=False
    )(WEIGHTS, state, *BATCH)
    want, (to_weights, taught) = by_hand(
        WEIGHTS, state, *BATCH, has_aux=False, of=value_only
    )
    chex.assert_trees_all_equal(
        (loss, grads, extra_args),
        (want, to_weights, {"adjuster_grads": taught}),
    )


@pytest.mark.parametrize("argnums", [(0, 2), [2], 2])
def test_other_arguments(argnums):
    state = TX.init(WEIGHTS)
    _, grads, extra_args = value_and_adjusted_grad(objective, argnums)(
        WEIGHTS, state, INPUTS, labels=LABELS
    )
    _, (to_weights, to_inputs, taught) = by_hand(
        WEIGHTS, state, *BATCH, argnums=(0, 2, 1)
    )
    wanted = {0: to_weights, 2: to_inputs}
    if argnums == 2:
        chex.assert_trees_all_equal(grads, to_inputs)
    else:
        want = tuple(wanted[position] for position in argnums)
        chex.assert_trees_all_equal(grads, want)
    chex.assert_trees_all_equal(extra_args["adjuster_grads"], taught)


def labelled(params):
    return jax.tree.map(lambda _: "all", params)


HOLDERS = {
    "chain": lambda tx: optax.chain(optax.clip(1.0), tx, optax.adam(1e-2)),
    "injected": lambda tx: optax.inject_hyperparams(
        lambda rate: optax.chain(tx, optax.sgd(rate))
    )(rate=0.1),
    "masked": lambda tx: optax.masked(tx, True),
    "partition": lambda tx: optax.partition({"all": tx}, labelled),
    "accumulating": lambda tx: optax.MultiSteps(tx, 1),
    "if finite": lambda tx: optax.apply_if_finite(tx, 3),
    "with_lga": lambda tx: with_lga(tx, 1e-9, status_every=1),
    "named": lambda tx: optax.named_chain(("gal", tx), ("sgd", optax.sgd(0.1))),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_states_that_hold_gal(name):
    tx = HOLDERS[name](TX)
    state = tx.init(WEIGHTS)
    (loss, _), grads, extra_args = value_and_adjusted_grad(objective)(
        WEIGHTS, state, *BATCH
    )
    _, (_, taught) = by_hand(WEIGHTS, TX.init(WEIGHTS), *BATCH)
    chex.assert_trees_all_equal(extra_args["adjuster_grads"], taught)
    _, after = tx.update(grads, state, WEIGHTS, value=loss, **extra_args)
    alone = TX.update(grads, TX.init(WEIGHTS), adjuster_grads=taught)[1]
    assert_close(adjuster_params(after), alone.gal_theta)


def test_a_train_state_is_one():
    state = TrainState.create(
        apply_fn=None,
        params={"kernel": WEIGHTS},
        tx=optax.chain(TX, optax.sgd(0.1)),
    )

    def of_params(params, *args):
        return objective(params["kernel"], *args)

    @jax.jit
    def step(state):
        grad_fn = value_and_adjusted_grad(of_params)
        _, grads, extra_args = grad_fn(state.params, state, *BATCH)
        return state.apply_gradients(grads=grads, extra_args=extra_args)

    _, (grads, taught) = by_hand(WEIGHTS, state, *BATCH)
    after = step(state)
    assert_close(after.params["kernel"], WEIGHTS - 0.1 * grads)
    assert_close(
        adjuster_params(after),
        jax.tree.map(lambda p, g: p - 0.1 * g, adjuster_params(state), taught),
    )


def test_micro_batches():
    grad_fn = value_and_adjusted_grad(value_only, has_aux=False)
    in_parts = optax.microbatch(
        grad_fn,
        argnums=(2, 3),
        microbatch_size=2,
        accumulator=AccumulationType.MEAN,
    )
    state = TX.init(WEIGHTS)
    got, want = (
        jax.jit(function)(WEIGHTS, state, *BATCH)
        for function in (in_parts, grad_fn)
    )
    assert_close(got, want)


@pytest.mark.parametrize("check_vma", [True, False])
def test_shards(check_vma):
    adjuster = GradientAdjuster((4,), 0.09, axis_name="data")
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    def step(state, *batch):
        grad_fn = value_and_adjusted_grad(
            functools.partial(objective, adjuster=adjuster)
        )
        value, *slopes = grad_fn(WEIGHTS, state, *batch)
        if not check_vma:  # As for any loss: nothing was summed by itself.
            slopes = jax.lax.pmean(slopes, "data")
        return value, *slopes

    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(P(), P("data"), P("data")),
        out_specs=P(),
        check_vma=check_vma,
    )
    state = TX.init(WEIGHTS)
    got = jax.jit(mapped)(state, *BATCH)
    assert_close(
        got, value_and_adjusted_grad(objective)(WEIGHTS, state, *BATCH)
    )


def test_bad_arguments():
    for argnums in (1, (0, 1), [1], -1, (0, -1)):
        with pytest.raises(ValueError, match="without that of theta, 1, which"):
            value_and_adjusted_grad(objective, argnums)
    grad_fn = value_and_adjusted_grad(objective)
    for state in (optax.EmptyState(), adjuster_params(TX.init(None))):
        with pytest.raises(ValueError, match="must hold one GAL"):
            grad_fn(WEIGHTS, state, *BATCH)
