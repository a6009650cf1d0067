"""What GAL adds to a training step, in time and in memory.

``python -m benchmarks.costs gal`` times, in one process, whole jitted training
steps of a perceptron with donated parameters and state: plain, with GAL in the
loss, and with GAL inside ``update``. Each round runs every contender once, in a
new random order; a ratio is that of medians, and the plain step runs twice to
show the noise. Each is compiled several times. The memory is what XLA reserves
beside arguments and results for one gradient of a language model's last layer,
in units of its logits.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import functools
import itertools
import random
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.costs import common
from benchmarks.runs import machine
from optaxmods import GradientAdjuster, adjuster_params, gal

SIZES = (784, 512, 512, 100)
BATCH = 256
# Batch, tokens, vocabulary; the model's width.
LOGITS, WIDTH = (8, 256, 8192), 64
LIMITS = {"loss": 1.3, "direct": 1.8}
# Compiling the same program again changes its time by a few percent.
PROGRAMS, ROUNDS, STEPS = 6, 12, 10
Step = Callable[..., Any]


class Result(NamedTuple):
    """What was measured, and what made it."""

    command: str
    jax: str
    jaxlib: str
    device: machine.Device
    # Of one gradient, in units of the logits.
    logits_reserved: Mapping[str, float]
    milliseconds: Mapping[str, Sequence[float]]  # All times of a step.


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
            return adjuster.loss(theta, z, _losses_of(labels))[0]

        grads, taught = jax.grad(objective, argnums=(0, 1))(
            params, adjuster_params(state)
        )
        updates, state = with_gal.update(
            grads, state, params, adjuster_grads=taught
        )
        return optax.apply_updates(params, updates), state

    def direct_step(params, state, x, labels):
        loss_fn = _losses_of(labels)
        z, pullback = jax.vjp(lambda params: _features(params, x), params)
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
        "direct": (with_gal, direct_step),
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
    order = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in make_steps()}
    contenders: dict[str, tuple[optax.GradientTransformation, Step]] = {}
    for number in range(PROGRAMS * (rounds + 1)):
        is_new = number % (rounds + 1) == 0
        if is_new:
            contenders = {
                name: (tx, jax.jit(step, donate_argnums=(0, 1)))
                for name, (tx, step) in make_steps().items()
            }
        for name in order.sample(list(contenders), len(contenders)):
            tx, step = contenders[name]
            carry = (jax.tree.map(jnp.copy, params), tx.init(params))
            carry = jax.block_until_ready(step(*carry, x, labels))
            begin = time.perf_counter()
            for _ in range(STEPS):
                carry = step(*carry, x, labels)
            jax.block_until_ready(carry)
            if not is_new:  # The first one compiles.
                elapsed = time.perf_counter() - begin
                times[name].append(round(1e3 * elapsed / STEPS, 4))
    return times


def as_written(adjuster: GradientAdjuster, theta: Any, z: Any, loss_fn: Any):
    """Eq. 3 to 7 and the objective, written down without further thought."""
    here = jax.lax.stop_gradient(z)
    losses, pullback = jax.vjp(loss_fn, here)
    (gradient,) = pullback(jnp.ones_like(losses))
    v = adjuster.apply(theta, here)
    v = v / jnp.linalg.norm(v, axis=-1, keepdims=True)
    size = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
    v = adjuster.magnitude * size * v
    moved = loss_fn(here - adjuster.tentative_step * (gradient + v))
    descent = jnp.sum(gradient * (gradient + v), axis=-1)
    r = moved - losses + adjuster.tentative_step * descent
    accepted = jnp.where((moved <= losses)[..., None], v, 0) / losses.size
    cotangent = jax.lax.stop_gradient(accepted)
    taught = jnp.mean(jnp.abs(r))
    return (
        jnp.mean(loss_fn(z))
        + jnp.sum(cotangent * (z - here))
        + (taught - jax.lax.stop_gradient(taught))
    )


def make_gradients() -> dict[str, Step]:
    """Returns ways to the gradient of a language model's last layer."""

    def gradient(loss: Step) -> Step:
        def objective(kernel, theta, hidden, labels):
            return loss(theta, hidden @ kernel, _losses_of(labels))

        return jax.grad(objective, argnums=(0, 1, 2))

    def with_gal(**arguments: str) -> Step:
        adjuster = GradientAdjuster(**arguments)  # pyright: ignore
        return gradient(lambda *args: adjuster.loss(*args)[0])

    def in_parts(whole: Step) -> Step:
        def one(sums, part):
            kernel, theta = part[0]
            *grads, of_hidden = whole(kernel, theta, *part[1])
            return jax.tree.map(jnp.add, sums, tuple(grads)), of_hidden

        def parts(kernel, theta, hidden, labels):
            zeros = jax.tree.map(jnp.zeros_like, (kernel, theta))
            step = lambda sums, part: one(sums, ((kernel, theta), part))  # noqa: E731
            return jax.lax.scan(step, zeros, (hidden, labels))

        return parts

    return {
        "without GAL": gradient(lambda theta, z, loss_fn: loss_fn(z).mean()),
        "with GAL": with_gal(),
        'with `remainder="quadratic"`': with_gal(remainder="quadratic"),
        'with `remainder="finite"`': with_gal(remainder="finite"),
        "the same, as the paper's equations are written": gradient(
            functools.partial(as_written, GradientAdjuster())
        ),
        "with GAL, example by example": in_parts(with_gal()),
    }


def reserved() -> dict[str, float]:
    """Temporary memory of one gradient, in units of the logits."""
    vocabulary = LOGITS[-1]
    array = jax.ShapeDtypeStruct
    arguments = (
        array((WIDTH, vocabulary), jnp.float32),
        jax.eval_shape(
            lambda key: GradientAdjuster().init(key, vocabulary),
            jax.random.key(0),
        ),
        array((*LOGITS[:-1], WIDTH), jnp.float32),
        array(LOGITS[:-1], jnp.int32),
    )

    def units(grad: Step) -> float:
        compiled = jax.jit(grad).lower(*arguments).compile()
        memory: Any = compiled.memory_analysis()
        logits = 4 * LOGITS[0] * LOGITS[1] * LOGITS[2]
        return round(memory.temp_size_in_bytes / logits, 2)

    return {name: units(grad) for name, grad in make_gradients().items()}


def to_json(result: Result) -> dict[str, Any]:
    """Returns what its file holds."""
    return {**result._asdict(), "device": result.device._asdict()}


def to_markdown(result: Result) -> str:
    times, memory = result.milliseconds, result.logits_reserved
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
    ]
    for name, mine in times.items():
        low, middle, high = statistics.quantiles(mine, n=4)
        lines.append(
            f"| {name} | {middle:.2f} | {middle / plain:.2f}"
            f" ({low / plain:.2f} to {high / plain:.2f})"
            f" | {LIMITS.get(name, '')} |"
        )
    lines += [
        "",
        f"One gradient of token logits {'x'.join(map(str, LOGITS))} in float32"
        " reserves this much memory beside its arguments and results, in units"
        " of the logits' own, as XLA's CPU backend compiles it; the logits are"
        " one of them. GPUs and TPUs have not been measured.",
        "",
        "| gradient | logits |",
        "| --- | ---: |",
        *[f"| {name} | {units:.1f} |" for name, units in memory.items()],
        "",
    ]
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds",
        type=common.rounds,
        default=ROUNDS,
        help="rounds of each program, 2 or more (default: %(default)s)",
    )


def measured(options: argparse.Namespace) -> Result:
    """Returns every step's times, and what gradients reserve."""
    return Result(
        **common.made_by("gal"),
        device=machine.device(),
        logits_reserved=reserved(),
        milliseconds=time_steps(options.rounds),
    )
