"""What GAL adds to a training step, in time and in memory.

``python -m benchmarks.costs gal`` times, in one process, whole jitted training
steps of a perceptron with donated parameters and state: plain, with GAL in the
loss, and with GAL inside ``update``, which makes the gradients or is given
them. Each round runs every contender once, in a
new random order; a ratio is that of medians, and the plain step runs twice to
show the noise. Each is compiled several times. Token logits, as a language
model has them, are in tables of their own: what XLA reserves for a gradient,
and how long it takes.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import functools
import itertools
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.costs import common, logits
from benchmarks.runs import machine
from optaxmods import GradientAdjuster, gal, value_and_adjusted_grad

SIZES = (784, 512, 512, 100)
BATCH = 256
LIMITS = {"loss": 1.06, "direct": 1.25}
# Compiling the same program again changes its time by a few percent.
PROGRAMS, ROUNDS, STEPS = 6, 12, 10
Step = Callable[..., Any]


class Result(NamedTuple):
    """What was measured, and what made it."""

    command: str
    jax: str
    jaxlib: str
    device: machine.Device
    milliseconds: Mapping[str, Sequence[float]]  # All times of a step.
    logits: logits.Result


def _losses_of(labels: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Returns each example's loss as a function of the logits."""
    return lambda z: optax.softmax_cross_entropy_with_integer_labels(z, labels)


def _features(params: list[jax.Array], x: jax.Array) -> jax.Array:
    for kernel in params[:-1]:
        x = jax.nn.relu(x @ kernel)
    return x @ params[-1]


def make_steps() -> dict[str, tuple[optax.GradientTransformation, Step]]:
    """Returns every contender's optimizer and training step."""
    adjuster = GradientAdjuster()
    plain = optax.adam(1e-3)
    with_gal = optax.chain(gal(adjuster, SIZES[-1]), optax.adam(1e-3))

    def plain_loss(params, x, labels):
        return _losses_of(labels)(_features(params, x)).mean()

    def plain_step(params, state, x, labels):
        grads = jax.grad(plain_loss)(params, x, labels)
        updates, state = plain.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def loss_step(params, state, x, labels):
        def objective(params, theta):
            z = _features(params, x)
            return adjuster.loss(theta, z, _losses_of(labels))

        grad_fn = value_and_adjusted_grad(objective)
        _, grads, extra_args = grad_fn(params, state)
        updates, state = with_gal.update(grads, state, params, **extra_args)
        return optax.apply_updates(params, updates), state

    def direct_step(is_given, params, state, x, labels):
        loss_fn = _losses_of(labels)
        grads: Any = None
        z, pullback = jax.vjp(lambda params: _features(params, x), params)
        if is_given:
            (grads,) = pullback(jax.grad(lambda z: loss_fn(z).mean())(z))
        updates, state = with_gal.update(
            grads,
            state,
            params,
            features=z,
            loss_fn=loss_fn,
            pullback=pullback,
        )
        return optax.apply_updates(params, updates), state

    return {
        "plain": (plain, plain_step),
        "plain again": (plain, plain_step),
        "loss": (with_gal, loss_step),
        "direct": (with_gal, functools.partial(direct_step, False)),
        "direct, gradients given": (
            with_gal,
            functools.partial(direct_step, True),
        ),
    }


def time_steps(rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of every contender, one number a round."""
    keys = jax.random.split(jax.random.key(0), len(SIZES))
    params = [
        jax.random.normal(key, shape) / shape[0] ** 0.5
        for key, shape in zip(keys[1:], itertools.pairwise(SIZES), strict=True)
    ]
    x = jax.random.normal(keys[0], (BATCH, SIZES[0]))
    labels = jnp.arange(BATCH) % SIZES[-1]

    def contenders() -> dict[str, Callable[[], float]]:
        return {
            name: functools.partial(
                run, tx, jax.jit(step, donate_argnums=(0, 1))
            )
            for name, (tx, step) in make_steps().items()
        }

    def run(tx: optax.GradientTransformation, step: Step) -> float:
        carry = (jax.tree.map(jnp.copy, params), tx.init(params))
        carry = jax.block_until_ready(step(*carry, x, labels))
        begin = time.perf_counter()
        for _ in range(STEPS):
            carry = step(*carry, x, labels)
        jax.block_until_ready(carry)
        return 1e3 * (time.perf_counter() - begin) / STEPS

    return common.interleaved(contenders, PROGRAMS, rounds)


def to_json(result: Result) -> dict[str, Any]:
    """Returns what its file holds."""
    return {
        **result._asdict(),
        "device": result.device._asdict(),
        "logits": result.logits._asdict(),
    }


def to_markdown(result: Result) -> str:
    times = result.milliseconds
    plain = statistics.median([*times["plain"], *times["plain again"]])
    lines = [
        "# Cost of GAL in a training step",
        "",
        f"Made by `{result.command}` on {result.device.cpu_cores} cores of"
        f" {result.device.kind}, jax {result.jax}. A"
        f" perceptron {'-'.join(map(str, SIZES))} at batch size {BATCH}, Adam,"
        " float32, the default adjuster; medians of"
        f" {len(times['plain'])} interleaved rounds, of {PROGRAMS} programs"
        " of each step, since compiling one again changes its time; in"
        " brackets the ratio's quartiles. *Plain again* shows the noise.",
        "",
        "| step | ms | ratio to plain | limit |",
        "| --- | ---: | ---: | ---: |",
        *common.ratios(times, plain, LIMITS),
        "",
        "## Token logits",
        "",
        *logits.to_markdown(result.logits),
    ]
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds",
        type=common.rounds,
        default=ROUNDS,
        help="rounds of each program, 2 or more (default: %(default)s)",
    )
    parser.add_argument(
        "--logits-rounds",
        type=common.rounds,
        default=logits.ROUNDS,
        help="those of token logits, which take longer (default: %(default)s)",
    )


def measured(options: argparse.Namespace) -> Result:
    """Returns every step's times, and what gradients reserve."""
    return Result(
        **common.made_by("gal"),
        device=machine.device(),
        milliseconds=time_steps(options.rounds),
        logits=logits.measured(options.logits_rounds),
    )
