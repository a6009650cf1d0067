"""Integers and booleans among parameters, and gradients of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxmods

FACTORIES = {
    "adamw_agr": lambda: optaxmods.adamw_agr(1.0),
    "adan": lambda: optaxmods.adan(1.0),
    "adan_agr": lambda: optaxmods.adan_agr(1.0, weight_decay=0.1),
    "scale_by_agr_adam": optaxmods.scale_by_agr_adam,
    "scale_by_adan": optaxmods.scale_by_adan,
    "scale_by_agr_adan": optaxmods.scale_by_agr_adan,
    "with_lga": lambda: optaxmods.with_lga(
        optaxmods.adan(1.0), 1e-3, status_every=1
    ),
}
LEAVES = {
    "int32": jnp.array([[100, 50], [3, 4]]),
    "bool": jnp.array([True, False]),
    "float0": np.zeros((2, 2), jax.dtypes.float0),
    "uint8": np.zeros(3, np.uint8),
    "key": jax.random.key(0),
}


@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("name", FACTORIES)
def test_moments_refuse_them_by_name(name, kind):
    tx, kernel = FACTORIES[name](), jnp.ones((2, 2))
    params = {"head": {"kernel": kernel, "count": LEAVES[kind]}}
    dtype = "key<fry>" if kind == "key" else kind
    message = rf"head/count is {dtype}: put None .*, or cast it to a float\."
    with pytest.raises(ValueError, match=message):
        tx.init(params)
    if kind != "float0":  # Which no abstract value has.
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(tx.init, params)
    floats = {"head": {"kernel": kernel, "count": jnp.ones((2, 2))}}
    with pytest.raises(ValueError, match=message):
        tx.update(params, tx.init(floats), floats, value=1.0)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_lone_python_integer(name):
    with pytest.raises(ValueError, match="the only leaf is int32"):
        FACTORIES[name]().init(3)


@pytest.mark.parametrize("name", FACTORIES)
def test_none_in_their_place(name):
    tx = FACTORIES[name]()
    params = {"kernel": jnp.ones((2, 2)), "count": None}

    def loss(floats):
        return jnp.sum(floats["kernel"] ** 2)

    state = tx.init(params)
    updates, state = tx.update(jax.grad(loss)(params), state, params, value=1.0)
    moved = optax.apply_updates(params, updates)
    assert updates["count"] is None
    assert moved["count"] is None
    assert (moved["kernel"] != 1).all()


@pytest.mark.parametrize(
    "tx",
    [
        optaxmods.agr(),
        optaxmods.lga(1e-3, status_every=1),
        optaxmods.with_lga(optaxmods.agr(), 1e-3, status_every=1),
    ],
)
def test_what_keeps_no_moments_leaves_them_alone(tx):
    params = {"kernel": jnp.ones((2, 2)), "count": LEAVES["int32"]}
    for count in (LEAVES["float0"], 2 * LEAVES["int32"]):
        gradients = {"kernel": jnp.ones((2, 2)), "count": count}
        updates, _ = tx.update(gradients, tx.init(params), params, value=1.0)
        assert updates["count"].dtype == count.dtype
        np.testing.assert_array_equal(updates["count"], count)
