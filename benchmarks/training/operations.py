"""How many floating-point operations a training takes."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.study import Preset

# What one H200 is taken to sustain, in operations a second: less than half of
# the 67 TFLOP/s that its data sheet has for float32. Where products are formed
# in TF32, as JAX does by default, it has more; small layers reach less.
SUSTAINED = 30e12
# Of the device's ten minutes, the part that is for operations; the others are
# for compiling, loading and what is bound by memory.
SECONDS = 420


@functools.cache
def of_example(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Returns the operations of one example's gradient, as XLA counts them.

    Args:
        model: Called as ``model(inputs, train=...)``.
        shape: Of an example.
    """
    count = 2
    inputs = jax.ShapeDtypeStruct((count, *shape), jnp.float32)
    variables = dict(jax.eval_shape(model.init, jax.random.key(0), inputs))
    params = variables.pop("params")

    def loss(params: Any, others: Any, inputs: jax.Array) -> Any:
        outputs, _ = model.apply(
            {"params": params, **others},
            inputs,
            train=True,
            mutable=list(others),
            rngs={"dropout": jax.random.key(0)},
        )
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(outputs))

    lowered = jax.jit(jax.grad(loss)).lower(params, variables, inputs)
    found: Any = lowered.cost_analysis()
    return found["flops"] / count


def seconds(
    model: nn.Module,
    shape: tuple[int, ...],
    preset: Preset,
    variants: int,
    train: int,
    forward: int = 0,
) -> float:
    """Returns how long a preset takes where operations alone take time.

    Args:
        model: The network.
        shape: Of an example.
        preset: It names its methods.
        variants: How many are run.
        train: Examples to train on.
        forward: Examples of a run that only go forward, a third of the work.
    """
    runs = variants * len(preset.methods or ()) * preset.seeds
    examples = preset.settings["epochs"] * train + forward / 3
    return runs * math.ceil(examples) * of_example(model, shape) / SUSTAINED
