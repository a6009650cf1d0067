"""Times of a step, and of what is done once a run; what a step reserves."""

from collections.abc import Callable
import gc
import random
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.costs import torch_peer
from benchmarks.costs.contenders import (
    Case,
    Optimizers,
    make_optimizers,
    methods_of,
)


def make_step(tx: optax.GradientTransformation) -> Callable[..., Any]:
    tx = optax.with_extra_args_support(tx)

    def step(params, state, gradients):
        loss = jnp.float32(2)
        updates, state = tx.update(gradients, state, params, value=loss)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def make_trees(case: Case) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    keys = jax.random.split(jax.random.key(0), case.leaves)
    gradients = {
        f"kernel_{index}": jax.random.normal(key, case.shape, case.dtype)
        for index, key in enumerate(keys)
    }
    return jax.tree.map(jnp.ones_like, gradients), gradients


def compiled_at_first_use(
    optimizers: Optimizers, params: Any, gradients: Any
) -> dict[str, Callable[..., Any]]:
    del params, gradients
    return {
        name: tx.step if isinstance(tx, torch_peer.AdamW) else make_step(tx)
        for name, tx in optimizers.items()
    }


def time_steps(
    case: Case,
    order: random.Random,
    optimizers: Optimizers | None = None,
    make_steps: Callable[..., Any] = compiled_at_first_use,
) -> dict[str, list[float]]:
    """Seconds a step of every method, one number a round."""
    methods = methods_of(case)
    optimizers = optimizers or make_optimizers()
    optimizers = {name: optimizers[name] for name in methods}
    params, gradients = make_trees(case)
    copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(case.programs * (case.rounds + 1)):
        round_number = number % (case.rounds + 1)
        if round_number == 0:
            steps = make_steps(optimizers, params, gradients)
        for name in order.sample(methods, len(methods)):
            mine = copy(params)
            state = optimizers[name].init(params)
            for _ in range(2):
                mine, state = steps[name](mine, state, gradients)
            jax.block_until_ready((mine, state))
            begin = time.perf_counter()
            for _ in range(case.steps):
                mine, state = steps[name](mine, state, gradients)
            jax.block_until_ready((mine, state))
            if round_number:  # The first one compiles.
                elapsed = time.perf_counter() - begin
                seconds[name].append(elapsed / case.steps)
    return seconds


def compile_step(tx: Any, params: Any, gradients: Any) -> Callable[[], Any]:
    """From the first call's trace to the executable."""
    step, state = make_step(tx), tx.init(params)
    return lambda: step.lower(params, state, gradients).compile()


def trace_step(tx: Any, params: Any, gradients: Any) -> Callable[[], Any]:
    step, state = make_step(tx), tx.init(params)
    return lambda: step.trace(params, state, gradients)


def abstract_init(tx: Any, params: Any, gradients: Any) -> Callable[[], Any]:
    del gradients
    return lambda: jax.eval_shape(tx.init, params)


PREPARED = {
    "compilation": compile_step,
    "tracing": trace_step,
    "abstract init": abstract_init,
}


def time_once(
    what: str, case: Case, order: random.Random
) -> dict[str, list[float]]:
    """Seconds of what is done once a run, every round."""
    optimizers = make_optimizers()
    methods = methods_of(case)
    params, gradients = make_trees(case)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(case.rounds):
        for name in order.sample(methods, len(methods)):
            once = PREPARED[what](optimizers[name], params, gradients)
            jax.clear_caches()
            gc.collect()  # Not in the middle of a contender.
            gc.disable()
            begin = time.perf_counter()
            once()
            seconds[name].append(time.perf_counter() - begin)
            gc.enable()
    return seconds


def reserved(case: Case) -> dict[str, float]:
    """Temporary memory of every method's step, in words a parameter.

    A word is as wide as the parameters are.
    """
    params, gradients = jax.eval_shape(lambda: make_trees(case))
    every = sum(leaf.size * leaf.dtype.itemsize for leaf in params.values())
    optimizers = make_optimizers()
    words = {}
    for name in methods_of(case):
        state = jax.eval_shape(optimizers[name].init, params)
        step = make_step(optimizers[name]).lower(params, state, gradients)
        analysis = step.compile().memory_analysis()
        words[name] = round(analysis.temp_size_in_bytes / every, 2)
    return words
