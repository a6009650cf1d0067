"""Training of a classifier with GAL, and what its adjustments do."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.makers import MakeOptimizer, WithAdjuster
from benchmarks.data import Examples, Split, Validated
from benchmarks.study import Outcome
from benchmarks.training import classification, loop
from optaxmods import GradientAdjuster, adjuster_params

# Of the training examples, the first ones.
LOOKED_AT = 250


def train(
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    data: Split[Examples] | Validated[Examples],
    *,
    learning_rate: float,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    vmapped: bool | None = None,
    measured_train: int | None = loop.MEASURED_TRAIN,
    objective: loop.Objective = loop.CLASSIFICATION,
    looked_at: int = LOOKED_AT,
    on_epoch: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Trains as ``classification.train`` does; the arguments are its.

    Args:
        objective: What is minimized.
        looked_at: How many training examples, the first ones, the adjustments
            are looked at on.

    Returns:
        Its curves seed by seed and, of methods that adjust, ``acceptance``,
        ``remainder`` and ``cosine``, which are ``GradientAdjuster.loss``'s,
        and ``wins``, ``GradientAdjuster.compare``'s.
    """
    vmapped = loop.is_vmapped(vmapped)
    runs = loop.epochs_of(
        model,
        make_optimizer,
        data.train,
        learning_rate=learning_rate,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        vmapped=vmapped,
        objective=objective,
    )
    first = jax.tree.map(lambda x: x[:looked_at], data.train)

    def point(runs: loop.Run) -> dict[str, jax.Array]:
        found = classification.measure(
            model, runs, data, vmapped, measured_train
        )._asdict()
        if isinstance(make_optimizer, WithAdjuster):
            adjuster = make_optimizer.adjuster
            found |= look(model, adjuster, objective, runs, first, vmapped)
        return found

    points = loop.measurements(runs, point, on_epoch)
    return classification.outcomes_of(
        {
            name: np.stack([each[name] for each in points], axis=1)
            for name in points[0]
        }
    )


@functools.partial(
    jax.jit, static_argnames=("model", "adjuster", "objective", "vmapped")
)
def look(
    model: nn.Module,
    adjuster: Any,
    objective: loop.Objective,
    runs: loop.Run,
    examples: Examples,
    vmapped: bool,
) -> dict[str, jax.Array]:
    """Returns what all seeds' adjustments do to the examples."""

    def look_at(run: loop.Run) -> dict[str, jax.Array]:
        variables = {"params": run.params, **run.statistics}
        logits: Any = model.apply(variables, examples.images, train=False)
        theta = adjuster_params(run.opt_state)
        # The same noise, where there is some, after each epoch.
        key = jax.random.key(0)

        def losses(logits: jax.Array) -> jax.Array:
            return objective.losses(model, run.params, logits, examples.labels)

        _, metrics = adjuster.loss(theta, logits, losses, key=key)
        found = {name: metrics[name] for name in metrics if name != "finite"}
        if isinstance(adjuster, GradientAdjuster):
            found["wins"] = adjuster.compare(theta, logits, losses, key=key)
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), found)

    return loop.each_seed(look_at, vmapped)(runs)
