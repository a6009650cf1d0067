"""Every transformation of the library, once, for the tests of the contract."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optaxmods

LOSS = 2.0


def decreasing(step):
    return 1 / (1 + step)


def losing(tx):
    """A transformation that reads the loss, with a loss where none is given."""

    def update(updates, state, params=None, *, value=LOSS, **extra_args):
        return tx.update(updates, state, params, value=value, **extra_args)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def taught(tx):
    """GAL, with a gradient of theta where none is given."""

    def update(updates, state, params=None, *, adjuster_grads=None, **extra):
        if adjuster_grads is None:
            theta = optaxmods.adjuster_params(state)
            adjuster_grads = jax.tree.map(jnp.ones_like, theta)
        return tx.update(
            updates, state, params, adjuster_grads=adjuster_grads, **extra
        )

    return optax.GradientTransformationExtraArgs(tx.init, update)


TRANSFORMATIONS = {
    "agr": optaxmods.agr,
    "agr scheduled": lambda: optaxmods.agr(decreasing),
    "agr of all": lambda: optaxmods.agr(reduction_axes="all"),
    "scale_by_agr_adam": optaxmods.scale_by_agr_adam,
    "scale_by_agr_adam nesterov": lambda: optaxmods.scale_by_agr_adam(
        nesterov=True, strength=decreasing
    ),
    "adamw_agr": lambda: optaxmods.adamw_agr(1e-2),
    "scale_by_adan": optaxmods.scale_by_adan,
    "scale_by_agr_adan": optaxmods.scale_by_agr_adan,
    "adan": lambda: optaxmods.adan(1e-2),
    "adan decaying": lambda: optaxmods.adan(decreasing, weight_decay=0.1),
    "adan decoupled": lambda: optaxmods.adan(
        1e-2, weight_decay=0.1, proximal=False
    ),
    "adan_agr": lambda: optaxmods.adan_agr(
        1e-2, weight_decay=0.1, strength=decreasing, restart=2
    ),
    "chain": lambda: optax.chain(optaxmods.agr(), optax.adamw(1e-2)),
    "lga": lambda: losing(optaxmods.lga(1e-2, status_every=1)),
    "lga of a window": lambda: losing(
        optaxmods.lga(
            decreasing,
            status_every=1,
            lower_bound="average",
            omega_loss="window",
            push_zero_gradients=True,
        )
    ),
    "gal": lambda: taught(
        optaxmods.gal(optaxmods.GradientAdjuster((4,)), 3, key=1)
    ),
    "with_lga": lambda: losing(
        optaxmods.with_lga(optaxmods.adan(1e-2), 1e-3, status_every=1)
    ),
}


def make_params(dtype=jnp.float32):
    """A small model's tree: kernels, a stack, a bias, a scalar, a list."""
    generator = np.random.default_rng(5)

    def draw(*shape):
        return jnp.asarray(generator.standard_normal(shape), dtype)

    return {
        "dense": {"kernel": draw(4, 3), "bias": draw(3)},
        "stack": [draw(2, 3, 3), draw(1, 1)],
        "scale": draw(),
    }


def make_updates(params, seed=0):
    # Drawn by NumPy: JAX compiles a program for each shape.
    generator = np.random.default_rng(seed)

    def draw(leaf):
        entries = generator.standard_normal((2, *leaf.shape))
        is_complex = jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        entries = entries[0] + 1j * entries[1] if is_complex else entries[0]
        return jnp.asarray(entries, leaf.dtype)

    return jax.tree.map(draw, params)


def steps(tx, params, count=4, start=0, jit=True):
    """The parameters and the state after a few steps."""
    update = jax.jit(tx.update) if jit else tx.update
    state = tx.init(params)
    for step in range(start, start + count):
        updates, state = update(make_updates(params, step), state, params)
        params = optax.apply_updates(params, updates)
    return params, state
