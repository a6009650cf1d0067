"""AGR's contenders written out, and the updates of a few steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optaxmods

RATE, DECAY = 0.01, 0.1

# Each method written out, as its description has it.
COMPOSED = {
    "adamw": lambda: optax.adamw(RATE, weight_decay=DECAY),
    "agr+adamw": lambda: optax.chain(
        optaxmods.agr(), optax.adamw(RATE, weight_decay=DECAY)
    ),
    "adamw_agr": lambda: optaxmods.adamw_agr(RATE, weight_decay=DECAY),
    "agr-all+adamw": lambda: optax.chain(
        optaxmods.agr(reduction_axes="all"),
        optax.adamw(RATE, weight_decay=DECAY),
    ),
    "clip+adamw": lambda: optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(RATE, weight_decay=DECAY)
    ),
    "adan": lambda: optaxmods.adan(RATE, weight_decay=DECAY),
    "agr+adan": lambda: optax.chain(
        optaxmods.agr(), optaxmods.adan(RATE, weight_decay=DECAY)
    ),
    "adan_agr": lambda: optaxmods.adan_agr(RATE, weight_decay=DECAY),
    "adan_agr-printed": lambda: optaxmods.adan_agr(
        RATE, weight_decay=DECAY, difference="printed"
    ),
    "clip+adan": lambda: optax.chain(
        optax.clip_by_global_norm(1.0), optaxmods.adan(RATE, weight_decay=DECAY)
    ),
}


@functools.cache
def random_tree(seed):
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (3, 4), "bias": (4,)}
    return {
        name: jnp.asarray(rng.normal(size=shape), jnp.float32)
        for name, shape in shapes.items()
    }


def updates_of(optimizer, steps=3, **extra_args):
    """Returns the updates of the first few steps."""
    optimizer = optax.with_extra_args_support(optimizer)
    params = random_tree(0)
    state, updates = optimizer.init(params), []
    for step in range(steps):
        update, state = optimizer.update(
            random_tree(step + 1), state, params, **extra_args
        )
        params = optax.apply_updates(params, update)
        updates.append(update)
    return updates


def assert_close(actual, expected):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-8),
        actual,
        expected,
    )
