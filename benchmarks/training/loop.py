"""Training of one network by one method, for several seeds at once."""

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.data import Examples, Rows, Split
from benchmarks.study import Outcome
from optaxmods import GradientAdjuster, adjuster_params

# Called with the learning rate, which is traced, so that one program serves
# all of them.
MakeOptimizer = Callable[[Any], optax.GradientTransformation]

# More are no faster, and the patches of a convolution take memory.
EVALUATED_AT_ONCE = 250
# Training loss and accuracy are those of so many training examples, the first
# ones, unless a study says otherwise.
MEASURED_TRAIN = 2000


class WithAdjuster(NamedTuple):
    """A ``MakeOptimizer`` of GAL: the loss is the adjuster's."""

    adjuster: GradientAdjuster
    # Called with the learning rate and theta's key; it holds one ``gal``.
    make_with_key: Callable[[Any, jax.Array], optax.GradientTransformation]

    def __call__(self, rate: Any, key: Any = 0) -> optax.GradientTransformation:
        return self.make_with_key(rate, key)


class Objective(NamedTuple):
    """What is minimized, cut where GAL adjusts the gradient."""

    # The model's method from the inputs to the features; None calls it.
    features: str | None
    # Each example's loss of (model, params, features, targets).
    losses: Callable[[nn.Module, Any, jax.Array, jax.Array], jax.Array]


class Curves(NamedTuple):
    """Measurements before training and after each epoch.

    Each is an array of shape [seeds, epochs + 1].
    """

    train_loss: jax.Array
    train_accuracy: jax.Array
    test_loss: jax.Array
    test_accuracy: jax.Array


class Run(NamedTuple):
    """What one seed carries from epoch to epoch."""

    params: Any
    statistics: Any  # The other collections of the model, such as batch_stats.
    opt_state: optax.OptState


def train(
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    data: Split[Examples],
    *,
    learning_rate: float,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    vmapped: bool | None = None,
    measured_train: int | None = MEASURED_TRAIN,
    on_epoch: Callable[[], None] = lambda: None,
) -> Curves:
    """Trains one network a seed, all seeds in one program.

    A seed fixes the initial weights and the batches of every epoch whatever
    the optimizer, so that methods given the same seeds differ in nothing else.
    Whole epochs run under one scan.

    Args:
        model: A classifier, called as ``model(images, train=...)`` for logits.
        make_optimizer: The method; called with the learning rate. Its update
            is given the batch's loss as ``value`` and a ``key`` of the step,
            and GAL's theta is drawn by the seed.
        data: The images to train and to test on.
        learning_rate: What the method is called with.
        seeds: One run each.
        epochs: Passes over the training images.
        batch_size: Images a step; what does not fill a batch at an epoch's end
            is left out of that epoch.
        vmapped: Whether the seeds run under vmap or one after another in one
            program. By default they do on an accelerator; a CPU is busy with
            one, which fits its caches and takes a fraction of the memory, but
            for the smallest networks.
        measured_train: How many training examples, the first ones, are
            measured; all of them if None.
        on_epoch: Called after each epoch.

    Returns:
        The curves of all seeds.
    """
    vmapped = _is_vmapped(vmapped)
    measured = []
    for epoch, runs in enumerate(
        epochs_of(
            model,
            make_optimizer,
            data.train,
            learning_rate=learning_rate,
            seeds=seeds,
            epochs=epochs,
            batch_size=batch_size,
            vmapped=vmapped,
        )
    ):
        # Without the wait the progress would be that of dispatching.
        points = _measure(model, runs, data, vmapped, measured_train)
        measured.append(jax.block_until_ready(points))
        if epoch:
            on_epoch()
    return jax.tree.map(lambda *points: jnp.stack(points, axis=1), *measured)


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

    The arguments are those of ``train``, and what to minimize where it is not
    the cross-entropy of the logits.
    """
    inputs, targets = examples
    objective = objective or CLASSIFICATION
    rate = jnp.asarray(learning_rate, jnp.float32)
    seed_array = jnp.asarray(seeds, jnp.uint32)
    runs = _start(model, make_optimizer, rate, seed_array, inputs)
    yield runs
    for epoch in range(epochs):
        batches = batch_indices(seed_array, epoch, len(targets), batch_size)
        keys = _step_keys(seed_array, epoch)
        runs = _epoch(
            model,
            make_optimizer,
            rate,
            runs,
            batches,
            keys,
            examples,
            objective,
            _is_vmapped(vmapped),
        )
        yield runs


def outcomes(curves: Curves) -> list[Outcome]:
    """Returns the curves seed by seed, with their last points."""
    by_name = {
        name: np.asarray(curve, np.float64)
        for name, curve in curves._asdict().items()
    }
    return [
        Outcome(
            curves={name: c[row].tolist() for name, c in by_name.items()},
            final={name: float(c[row, -1]) for name, c in by_name.items()},
        )
        for row in range(len(curves.train_loss))
    ]


def _keys(seed: jax.Array) -> jax.Array:
    """Returns a seed's keys: for its weights, batches, steps and theta."""
    key = jax.random.key(seed)
    # The first two are those that the key was first split into.
    others = [jax.random.fold_in(key, index)[None] for index in (2, 3)]
    return jnp.concatenate([jax.random.split(key), *others])


def _is_vmapped(chosen: bool | None) -> bool:
    return jax.default_backend() != "cpu" if chosen is None else chosen


def _each_seed(
    function: Callable[..., Any], vmapped: bool
) -> Callable[..., Any]:
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


def _start(
    model: nn.Module,
    make_optimizer: MakeOptimizer,
    rate: jax.Array,
    seeds: jax.Array,
    inputs: jax.Array,
) -> Run:
    variables = dict(_initial_variables(model, seeds, inputs[:1]))
    params = variables.pop("params")

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


@jax.jit
def _step_keys(seeds: jax.Array, epoch: int) -> jax.Array:
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
        step_keys = jax.random.split(key, len(batches))
        return jax.lax.scan(step, run, (batches, step_keys))[0]

    return _each_seed(epoch_one, vmapped)(runs, batches, keys)


@functools.partial(jax.jit, static_argnames=("model", "vmapped", "seen"))
def _measure(
    model: nn.Module,
    runs: Run,
    data: Split[Examples],
    vmapped: bool,
    seen: int | None,
) -> Curves:
    def measure_one(run: Run) -> Curves:
        variables = {"params": run.params, **run.statistics}
        first = jax.tree.map(lambda x: x[:seen], data.train)
        return Curves(
            *_evaluate(model, variables, first),
            *_evaluate(model, variables, data.test),
        )

    return _each_seed(measure_one, vmapped)(runs)


def _evaluate(
    model: nn.Module, variables: Any, examples: Examples
) -> tuple[jax.Array, jax.Array]:
    """Mean loss and accuracy, some examples at a time to bound the memory."""

    def sums(part: Examples) -> tuple[jax.Array, jax.Array]:
        logits: Any = model.apply(variables, part.images, train=False)
        hits = jnp.argmax(logits, axis=-1) == part.labels
        losses = _cross_entropy(logits, part.labels)
        # A mean over an example's tokens, where it is a sequence.
        tokens = losses.size / len(part.labels)
        return losses.sum() / tokens, hits.sum(dtype=jnp.float32) / tokens

    count = len(examples.labels)
    whole = count // EVALUATED_AT_ONCE * EVALUATED_AT_ONCE
    loss, hits = jnp.zeros([]), jnp.zeros([])
    if whole < count:
        loss, hits = sums(jax.tree.map(lambda x: x[whole:], examples))
    if whole:
        parts = jax.tree.map(
            lambda x: x[:whole].reshape(-1, EVALUATED_AT_ONCE, *x.shape[1:]),
            examples,
        )
        more_loss, more_hits = jax.lax.map(sums, parts)
        loss, hits = loss + more_loss.sum(), hits + more_hits.sum()
    return loss / count, hits / count


def _cross_entropy(logits: Any, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


CLASSIFICATION = Objective(
    None,
    lambda model, params, logits, labels: _cross_entropy(logits, labels),
)
