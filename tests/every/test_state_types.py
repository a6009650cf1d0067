"""What one step leaves is of the types that it found, as optax asks of its own.

`lax.cond` refuses two branches of other shapes, dtypes, weak types or, on
explicit axes, shardings: one has updated, the other has skipped the step.
"""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import optax
import pytest

import optaxmods
from tests.helpers.transformations import TRANSFORMATIONS
from tests.helpers.wide import enable_x64

DTYPES = [
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
SPECS = {
    "split": P("data", "model"),
    "joined": P(None, ("data", "model")),
    "stack": P("data", None, "model"),
    "bias": P("model"),
    "whole": P(None, None),
}
# Nothing here is compiled, so that those below cost little.
CASES = TRANSFORMATIONS | {
    "narrow first moments": lambda: optaxmods.adan_agr(
        1e-2, mu_dtype="bfloat16", nu_dtype="bfloat16"
    ),
    "injected": lambda: optax.inject_hyperparams(
        optaxmods.adan_agr, hyperparam_dtype=jnp.float32
    )(learning_rate=1e-2, strength=0.5),
    "with_lga of adamw_agr": lambda: optaxmods.with_lga(
        optaxmods.adamw_agr(1e-2), 1e-3, status_every=2
    ),
    "lga of an optimizer in parts": lambda: optax.chain(
        optaxmods.lga(1e-3, status_every=2, gradient_floor=1e-3),
        optax.partition(
            {
                "matrix": optaxmods.adamw_agr(1e-2),
                "other": optaxmods.adan(1e-2),
            },
            lambda tree: jax.tree.map(
                lambda x: "matrix" if jnp.ndim(x) > 1 else "other", tree
            ),
        ),
    ),
}


def make_params(dtype):
    return {
        name: jnp.ones((8,) * len(spec), dtype) for name, spec in SPECS.items()
    }


def step_or_skip(tx, loss_dtype, skip, params, state):
    """As a loop does that leaves out the steps of bad batches."""
    # They are split as the parameters are.
    gradients = jax.tree.map(lambda leaf: 2 * leaf, params)

    def update():
        updates, after = tx.update(
            gradients, state, params, value=jnp.ones((), loss_dtype)
        )
        return optax.apply_updates(params, updates), after

    return jax.lax.cond(skip, lambda: (params, state), update)


def assert_types_stay(name, dtype, place=lambda tree: tree):
    tx = optax.with_extra_args_support(CASES[name]())
    params = place(make_params(dtype))
    # A loss of another width than the parameters.
    loss_dtype = "float32" if dtype == "float16" else "float16"
    state = jax.jit(tx.init)(params)
    found = jax.eval_shape(lambda: (params, state))
    left = jax.eval_shape(
        lambda skip: step_or_skip(tx, loss_dtype, skip, params, state),
        jax.ShapeDtypeStruct((), bool),
    )
    assert left == found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_skipped_step_has_the_types_of_a_step(name, dtype):
    with enable_x64(dtype in ("float64", "complex128")):
        assert_types_stay(name, dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_on_explicit_axes(name, dtype):
    mesh = jax.make_mesh(
        (4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2
    )

    def place(tree):
        return {
            key: jax.device_put(leaf, NamedSharding(mesh, SPECS[key]))
            for key, leaf in tree.items()
        }

    with jax.set_mesh(mesh):
        assert_types_stay(name, dtype, place)
