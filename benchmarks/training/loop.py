"""Training of one network by one method, for several seeds at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import contextvars
import functools
import itertools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.contenders.makers import MakeOptimizer, WithAdjuster
from benchmarks.data import Examples, Rows
from benchmarks.study import Job
from optaxmods import adjuster_params

# Training loss and accuracy are those of so many training examples, the first
# ones, unless a study says otherwise.
MEASURED_TRAIN = 2000


# Of the noise in the initial weights; see ``weight_noise``.
_WEIGHT_NOISE = contextvars.ContextVar("weight_noise", default=0.0)


@contextlib.contextmanager
def weight_noise(scale: float) -> Iterator[None]:
    """Adds normal noise of this deviation to the initial weights of all runs.

    Whatever study trains within: a run and its repetition with noise of the
    size of a rounding error part as runs on two machines do.
    """
    token = _WEIGHT_NOISE.set(scale)
    try:
        yield
    finally:
        _WEIGHT_NOISE.reset(token)


def current_weight_noise() -> float:
    return _WEIGHT_NOISE.get()


class Objective(NamedTuple):
    """What is minimized, cut where GAL adjusts the gradient."""

    # The model's method from the inputs to the features; None calls it.
    features: str | None
    # Each example's loss of (model, params, features, targets).
    losses: Callable[[nn.Module, Any, jax.Array, jax.Array], jax.Array]


class Run(NamedTuple):
    """What one seed carries from epoch to epoch."""

    params: Any
    statistics: Any  # The other collections of the model, such as batch_stats.
    opt_state: optax.OptState


def epochs_of(
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    examples: Examples | Rows,
    *,
    learning_rate: float,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    vmapped: bool | None = None,
    objective: Objective | None = None,
) -> Iterator[Run]:
    """Yields all seeds' runs before training and after each epoch.

    The arguments are those of ``classification.train``, and what to minimize
    where it is not the cross-entropy of the logits.
    """
    inputs, targets = examples
    objective = objective or CLASSIFICATION
    rate = jnp.asarray(learning_rate, jnp.float32)
    seed_array = jnp.asarray(seeds, jnp.uint32)
    runs = _start(model, make_optimizer, rate, seed_array, inputs)
    yield runs
    for epoch in range(epochs):
        batches = batch_indices(seed_array, epoch, len(targets), batch_size)
        keys = step_keys(seed_array, epoch)
        runs = _epoch(
            model,
            make_optimizer,
            rate,
            runs,
            batches,
            keys,
            examples,
            objective,
            is_vmapped(vmapped),
        )
        yield runs


def measurements(
    runs: Iterable[Run],
    measure: Callable[[Run], Any],
    on_epoch: Callable[[], None],
    every: int = 1,
) -> list[Any]:
    """Measures before training and after every so many epochs."""
    points = []
    for epoch, run in enumerate(runs):
        if epoch % every == 0:
            points.append(measure(run))
        # Without the wait the progress would be that of dispatching.
        jax.block_until_ready((run, points[-1]))
        if epoch:
            on_epoch()
    return points


def looks(
    job: Job,
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    look: Callable[[Run, Run, Examples], Mapping[str, jax.Array]],
    vmapped: bool | None = None,
) -> Mapping[str, np.ndarray]:
    """Trains, and looks at the same batches before it and after each epoch.

    Args:
        job: What to train on and for how long; its ``looks`` are the batches.
        model: The network.
        make_optimizer: The method.
        look: Of the runs, those before training and the batches, it makes
            arrays of shape [seeds].
        vmapped: As in ``classification.train``.

    Returns:
        All looks, as arrays of shape [seeds, epochs + 1].
    """
    settings = job.settings
    size = settings["batch_size"]
    runs = epochs_of(
        model,
        make_optimizer,
        job.data,
        learning_rate=settings["learning_rate"],
        seeds=job.seeds,
        epochs=settings["epochs"],
        batch_size=size,
        vmapped=vmapped,
    )
    start = next(runs)
    batches = first_batches(job.data, size, settings["looks"])
    points = measurements(
        itertools.chain([start], runs),
        lambda runs: jax.device_get(look(runs, start, batches)),
        job.on_progress,
    )
    return jax.tree.map(lambda *x: np.stack(x, axis=-1), *points)


def _keys(seed: jax.Array) -> jax.Array:
    """Returns a seed's keys: for its weights, batches, steps and theta."""
    key = jax.random.key(seed)
    # The first two are those that the key was first split into.
    others = [jax.random.fold_in(key, index)[None] for index in (2, 3)]
    return jnp.concatenate([jax.random.split(key), *others])


def is_vmapped(chosen: bool | None) -> bool:
    """Returns whether seeds run under vmap: not on a CPU, if nobody chose."""
    return jax.default_backend() != "cpu" if chosen is None else chosen


def each_seed(
    function: Callable[..., Any], vmapped: bool
) -> Callable[..., Any]:
    """Returns a function of all seeds from that of one."""
    if vmapped:
        return jax.vmap(function)
    return lambda *seeds: jax.lax.map(lambda one: function(*one), seeds)


# Weights and batches have programs of their own: random numbers compile
# slowly, and these compile once for all methods.
@functools.partial(jax.jit, static_argnames="model")
def _initial_variables(
    model: nn.Module, seeds: jax.Array, inputs: jax.Array
) -> Any:
    def init_one(seed: jax.Array) -> Any:
        return model.init(_keys(seed)[0], inputs)

    return jax.vmap(init_one)(seeds)


@jax.jit
def _with_noise(params: Any, seeds: jax.Array, scale: float) -> Any:
    def noisy(params: Any, seed: jax.Array) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), 4)
        noise = optax.tree.random_like(key, params, jax.random.normal)
        return optax.tree.add_scale(params, scale, noise)

    return jax.vmap(noisy)(params, seeds)


def _start(
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    rate: jax.Array,
    seeds: jax.Array,
    inputs: jax.Array,
) -> Run:
    variables = dict(_initial_variables(model, seeds, inputs[:1]))
    params = variables.pop("params")
    if scale := current_weight_noise():
        params = _with_noise(params, seeds, scale)

    def init_one(params: Any, seed: jax.Array) -> optax.OptState:
        if isinstance(make_optimizer, WithAdjuster):
            return make_optimizer(rate, _keys(seed)[3]).init(params)
        return make_optimizer(rate).init(params)

    return Run(params, variables, jax.vmap(init_one)(params, seeds))


@functools.partial(jax.jit, static_argnames=("num_examples", "batch_size"))
def batch_indices(
    seeds: jax.Array, epoch: int, num_examples: int, batch_size: int
) -> jax.Array:
    """Returns an epoch's batches of each seed: [seeds, steps, batch_size]."""
    steps = num_examples // batch_size

    def batches_one(seed: jax.Array) -> jax.Array:
        key = jax.random.fold_in(_keys(seed)[1], epoch)
        order = jax.random.permutation(key, num_examples)
        return order[: steps * batch_size].reshape(steps, batch_size)

    return jax.vmap(batches_one)(seeds)


def first_batches(examples: Examples, size: int, count: int) -> Examples:
    """Returns the first examples, no more than ``count`` batches of them."""
    count = min(count, len(examples.labels) // size)
    return jax.tree.map(
        lambda x: x[: count * size].reshape(count, size, *x.shape[1:]),
        examples,
    )


@jax.jit
def step_keys(seeds: jax.Array, epoch: int) -> jax.Array:
    """Returns the key that each seed splits into those of an epoch's steps."""
    return jax.vmap(lambda s: jax.random.fold_in(_keys(s)[2], epoch))(seeds)


@functools.partial(
    jax.jit,
    static_argnames=("model", "make_optimizer", "objective", "vmapped"),
)
def _epoch(
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    rate: jax.Array,
    runs: Run,
    batches: jax.Array,
    keys: jax.Array,
    train: Examples | Rows,
    objective: Objective,
    vmapped: bool,
) -> Run:
    """Takes every seed through one epoch of its own batches."""
    optimizer = optax.with_extra_args_support(make_optimizer(rate))
    adjuster = None
    if isinstance(make_optimizer, WithAdjuster):
        adjuster = make_optimizer.adjuster
    inputs, targets = train

    def step(run: Run, batch: tuple[jax.Array, jax.Array]) -> tuple[Run, None]:
        rows, key = batch
        noise, dropout = jax.random.split(key)

        def loss_fn(params: Any, theta: Any) -> tuple[jax.Array, Any]:
            features, statistics = model.apply(
                {"params": params, **run.statistics},
                inputs[rows],
                train=True,
                mutable=list(run.statistics),
                rngs={"dropout": dropout},
                method=objective.features,
            )

            def losses(features: jax.Array) -> jax.Array:
                return objective.losses(model, params, features, targets[rows])

            if adjuster is None:
                return losses(features).mean(), statistics
            loss, _ = adjuster.loss(theta, features, losses, key=noise)
            return loss, statistics

        theta = adjuster_params(run.opt_state) if adjuster else None
        (value, statistics), (grads, adjuster_grads) = jax.value_and_grad(
            loss_fn, argnums=(0, 1), has_aux=True
        )(run.params, theta)
        updates, opt_state = optimizer.update(
            grads,
            run.opt_state,
            run.params,
            value=value,
            key=noise,
            adjuster_grads=adjuster_grads,
        )
        params = optax.apply_updates(run.params, updates)
        return Run(params, statistics, opt_state), None

    def epoch_one(run: Run, batches: jax.Array, key: jax.Array) -> Run:
        keys = jax.random.split(key, len(batches))
        return jax.lax.scan(step, run, (batches, keys))[0]

    return each_seed(epoch_one, vmapped)(runs, batches, keys)


def cross_entropy(logits: Any, labels: jax.Array) -> jax.Array:
    """Returns the loss of each example, or of each token of it."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


CLASSIFICATION = Objective(
    None,
    lambda model, params, logits, labels: cross_entropy(logits, labels),
)


# Cached, so that an objective is one object and is compiled once.
@functools.cache
def smoothed(share: float) -> Objective:
    """Returns the cross-entropy with a share of each label on all classes."""

    def losses(
        model: nn.Module, params: Any, logits: Any, labels: jax.Array
    ) -> jax.Array:
        del model, params
        # The mean over the classes, of which the label is one.
        others = -jax.nn.log_softmax(logits).mean(axis=-1)
        return (1 - share) * cross_entropy(logits, labels) + share * others

    return Objective(None, losses)
