"""``TrainState`` in a Flax linen loop."""

import subprocess
import sys

import chex
import flax.linen as nn
from flax.training import train_state
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import optaxmods
from optaxmods.flax import TrainState
from tests.helpers.transformations import (
    LOSS,
    TRANSFORMATIONS,
    make_params,
    make_updates,
)

PLAIN = {"sgd": optax.sgd, "adam": optax.adam, "lbfgs": optax.lbfgs}


class WithStatistics(TrainState):
    batch_stats: dict


def create(tx, cls=TrainState, **fields):
    return cls.create(apply_fn=None, params=make_params(), tx=tx, **fields)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_step_is_that_of_update(name):
    tx = TRANSFORMATIONS[name]()
    params, gradients = make_params(), make_updates(make_params())
    extra = {} if name == "gal" else {"value": jnp.asarray(2 * LOSS)}
    step = jax.jit(
        lambda state: state.apply_gradients(grads=gradients, extra_args=extra)
    )
    state = step(create(tx))
    updates, opt_state = jax.jit(
        lambda p: optax.with_extra_args_support(tx).update(
            gradients, tx.init(p), p, **extra
        )
    )(params)
    # Two programs round a sum with parameters of size 2 by a last place each.
    chex.assert_trees_all_close(
        state.params,
        optax.apply_updates(params, updates),
        rtol=1e-6,
        atol=2 * 2.0**-23,
    )
    chex.assert_trees_all_close(state.opt_state, opt_state, rtol=1e-6)
    assert state.step == 1
    assert state.tx is tx


@pytest.mark.parametrize("extra_args", [None, {}, {"value": 1.0}])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_plain_transformations_are_flax_s_own(name, extra_args):
    tx, gradients = PLAIN[name](0.1), make_updates(make_params())
    ours = create(tx).apply_gradients(grads=gradients, extra_args=extra_args)
    theirs = create(tx, train_state.TrainState).apply_gradients(grads=gradients)
    chex.assert_trees_all_equal(ours.params, theirs.params)
    chex.assert_trees_all_equal(ours.opt_state, theirs.opt_state)


def test_multi_steps_is_handed_the_extra_arguments():
    tx = optax.MultiSteps(
        optaxmods.with_lga(optax.sgd(0.1), 1e-3, status_every=1), 2
    )
    state, gradients = create(tx), make_updates(make_params())
    for value in (3.0, 5.0):
        state = state.apply_gradients(
            grads=gradients, extra_args={"value": jnp.float32(value)}
        )
    assert optax.tree.get(state.opt_state, "lga_count") == 1
    moved = optax.tree.sub(state.params, make_params())
    assert optax.tree.norm(moved) > 0


def test_optax_s_own_extra_arguments_arrive():
    params = {"w": jnp.array([3.0, -4.0])}
    tx = optax.contrib.reduce_on_plateau(factor=0.5, patience=1)
    state = TrainState.create(apply_fn=None, params=params, tx=tx)
    for _ in range(4):
        state = state.apply_gradients(grads=params, extra_args={"value": 1.0})
    assert optax.tree.get(state.opt_state, "scale") < 1


def test_fields_are_replaced():
    state = create(optax.sgd(0.1), WithStatistics, batch_stats={"mean": 0.0})
    other = optax.adam(0.1)
    stepped = state.apply_gradients(
        grads=make_updates(make_params()), batch_stats={"mean": 1.0}
    )
    assert isinstance(stepped, WithStatistics)
    assert stepped.batch_stats == {"mean": 1.0}
    changed = state.apply_gradients(grads=make_updates(make_params()), tx=other)
    assert changed.tx is other


def test_a_step_is_traced_once():
    tx = optaxmods.with_lga(optax.adam(0.1), 1e-3, status_every=2)

    @chex.assert_max_traces(n=1)
    def step(state, loss):
        return state.apply_gradients(
            grads=state.params, extra_args={"value": loss}
        )

    jitted, state = jax.jit(step), create(tx)
    state = state.replace(step=jnp.zeros([], jnp.int32))
    for loss in (3.0, 2.0, 1.0):
        state = jitted(state, jnp.asarray(loss))
    assert state.step == 3


def test_extra_args_are_named():
    state = create(optaxmods.lga(1e-3, status_every=1))
    with pytest.raises(TypeError, match="must be a mapping, not float"):
        state.apply_gradients(grads=make_updates(make_params()), extra_args=1.0)
    with pytest.raises(TypeError, match="value"):
        state.apply_gradients(grads=make_updates(make_params()))


class Classifier(nn.Module):
    """With batch statistics and dropout."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
        return nn.Dense(3)(nn.Dropout(0.2, deterministic=not train)(x))


def test_gal_agr_and_lga_in_one_loop():
    x = make_updates(jnp.ones((64, 5)))
    y = jnp.argmax(x[:, :3], axis=-1)
    model = Classifier()
    variables = model.init(jax.random.key(1), x, train=False)
    adjuster = optaxmods.GradientAdjuster((8,))
    inner = optax.chain(
        optaxmods.gal(adjuster, 3), optaxmods.agr(), optaxmods.adan(1e-2)
    )
    state = WithStatistics.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=optaxmods.with_lga(inner, 1e-8, status_every=5),
        batch_stats=variables["batch_stats"],
    )

    @jax.jit
    def train_step(state, key):
        def objective(params, theta):
            logits, changed = state.apply_fn(
                {"params": params, "batch_stats": state.batch_stats},
                x,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            loss, _ = adjuster.loss(
                theta,
                logits,
                lambda z: optax.softmax_cross_entropy_with_integer_labels(z, y),
            )
            return loss, changed

        theta = optaxmods.adjuster_params(state.opt_state)
        grad_fn = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
        (loss, changed), (grads, taught) = grad_fn(state.params, theta)
        state = state.apply_gradients(
            grads=grads,
            extra_args={"value": loss, "adjuster_grads": taught},
            batch_stats=changed["batch_stats"],
        )
        return state, loss

    before = optaxmods.adjuster_params(state.opt_state)
    losses = []
    for number in range(40):
        state, loss = train_step(state, jax.random.key(number))
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 2
    assert optax.tree.get(state.opt_state, "lga_count") == 40
    assert optax.tree.get(state.opt_state, "lga_windows") == 8
    after = optaxmods.adjuster_params(state.opt_state)
    moved = jax.tree.map(
        lambda a, b: float(jnp.abs(a - b).max()), before, after
    )
    assert min(jax.tree.leaves(moved)) > 0
    mean = state.batch_stats["BatchNorm_0"]["mean"]
    assert np.abs(mean).max() > 0


def in_a_new_process(program):
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_flax_is_loaded_at_first_use():
    """Importing it takes longer than importing all of optaxmods."""
    program = """if True:
        import sys
        import optaxmods
        from optaxmods import *
        assert "flax" in dir(optaxmods) and "agr" in dir(optaxmods)
        print("flax" in sys.modules, "optaxmods.flax" in sys.modules)
        print(optaxmods.flax.TrainState.__name__, "flax" in sys.modules)
        import optaxmods.flax as module
        print(module is optaxmods.flax)
    """
    assert in_a_new_process(program) == [
        *["False", "False", "TrainState", "True", "True"]
    ]


def test_without_flax_its_name_is_told():
    program = """if True:
        import sys
        sys.modules["flax"] = None  # As where it is not installed.
        import optaxmods
        optaxmods.agr()
        try:
            optaxmods.flax.TrainState
        except ImportError as error:
            print(error.name)
    """
    assert in_a_new_process(program) == ["flax"]


def test_other_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'flux'"):
        optaxmods.flux  # noqa: B018
    assert not hasattr(optaxmods, "_flax")


def test_gal_makes_the_gradients_where_there_are_none():
    tx = optaxmods.gal(optaxmods.GradientAdjuster((4,)), 3)
    state = create(optax.chain(tx, optax.sgd(0.1)))

    def features_of(params):
        dense = params["dense"]
        return dense["kernel"] + dense["bias"][None]

    features, pullback = jax.vjp(features_of, state.params)
    given = {
        "features": features,
        "loss_fn": lambda z: jnp.sum(z**4, axis=-1),
        "pullback": pullback,
    }
    after = state.apply_gradients(grads=None, extra_args=given)
    grads, _ = tx.update(None, state.opt_state[0], state.params, **given)
    assert optax.tree.norm(grads) > 0.1
    want = optax.tree.add_scale(state.params, -0.1, grads)
    chex.assert_trees_all_close(after.params, want, rtol=1e-6)
