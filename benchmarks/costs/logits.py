"""Token logits: ways to their gradient with GAL, in memory and in time.

The memory is what XLA reserves beside arguments and results, in units of the
logits' own bytes, and so is what a program without a loop touches. Times are
taken in turn, in a new random order each round, and are ratios to the gradient
without GAL, which runs twice to show the noise.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import math
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.costs import common
from optaxmods import GradientAdjuster, adjuster_params, gal

# Sequences, tokens, vocabulary; the first is compiled alone, the other one run.
RESERVED, TIMED = (4, 512, 32768), (2, 128, 32768)
# Small, so that the kernel's gradient is next to nothing beside the logits.
WIDTH = 64
DTYPES = ("float32", "bfloat16")
PROGRAMS, ROUNDS = 3, 5
# Tokens in a block of a user's own: as many as GAL takes of this vocabulary.
BLOCK = 64
PLAIN, AGAIN = "without GAL", "without GAL again"
WITHOUT = "the same without GAL"
USUAL = "with GAL"
DIRECT = "with GAL, direct route, gradients given"
ONCE = "with GAL, direct route, gradients its own"
ALONE = "of the logits alone"
TARGETS, HEAD = "with GAL, `targets`", "with GAL, `head`"
LIMITS = {
    "float32": {TARGETS: 2.3, HEAD: 0.3},
    "bfloat16": {TARGETS: 5.2},
}
# Of logits that are given, in float32.
TIME_LIMITS = {TARGETS: 2.5, f"{TARGETS}, {ALONE}": 2.5}
TOUCHED_LIMIT = 40
Function = Callable[..., Any]
Times = Mapping[str, Sequence[float]]  # Milliseconds of every round.


class Result(NamedTuple):
    """What was measured, by the name of a way to the gradient."""

    # The gradient of a last layer, by the dtype of its logits.
    reserved: Mapping[str, Mapping[str, float]]
    milliseconds: Mapping[str, Times]
    # The gradient of float32 logits that are given: its times, and of programs
    # without a loop the bytes that XLA counts, in units of the logits.
    given: Times
    touched: Mapping[str, float]


def losses_of(z: jax.Array, labels: jax.Array) -> jax.Array:
    z = z.astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(z, labels)


def printed_losses_of(z: jax.Array, labels: jax.Array) -> jax.Array:
    """The cross-entropy as many write it, which touches more than optax's."""
    logs = jax.nn.log_softmax(z.astype(jnp.float32))
    return -jnp.take_along_axis(logs, labels[..., None], axis=-1)[..., 0]


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


def mapped(loss: Function, *arrays: jax.Array) -> jax.Array:
    """The mean of a loss of blocks of tokens, computed again to go back."""
    size = min(BLOCK, arrays[0].shape[0] * arrays[0].shape[1])
    blocks = [array.reshape(-1, size, *array.shape[2:]) for array in arrays]
    return jax.lax.map(
        jax.checkpoint(lambda block: loss(*block)), blocks
    ).mean()


def make_losses(losses_of: Function = losses_of) -> dict[str, Function]:
    """Returns ways to the mean loss, functions of theta, logits and labels."""
    adjuster = GradientAdjuster()

    def plain(theta, z, labels):
        del theta
        return losses_of(z, labels).mean()

    def with_gal(adjuster, theta, z, labels):
        return adjuster.loss(theta, z, lambda z: losses_of(z, labels))[0]

    usual, finite = (
        functools.partial(with_gal, GradientAdjuster(remainder=remainder))
        for remainder in ("auto", "finite")
    )

    def with_targets(theta, z, labels):
        loss_fn: Any = losses_of
        return adjuster.loss(theta, z, loss_fn, targets=labels)[0]

    def written(theta, z, labels):
        z = z.astype(jnp.float32)
        return as_written(adjuster, theta, z, lambda z: losses_of(z, labels))

    return {
        PLAIN: plain,
        AGAIN: plain,
        USUAL: usual,
        'with GAL, `remainder="finite"`': finite,
        TARGETS: with_targets,
        "the paper's equations as written": written,
        "`lax.map` and `jax.checkpoint` around `adjuster.loss`": (
            lambda theta, z, labels: mapped(
                functools.partial(usual, theta), z, labels
            )
        ),
    }


def of_given() -> dict[str, Function]:
    """Ways to the gradient of logits that are given, and theta's if any."""

    def gradient(loss, argnums):
        return lambda z, state, labels: jax.grad(loss, argnums)(
            adjuster_params(state), z, labels
        )

    losses = make_losses(printed_losses_of)
    ways = {
        name: gradient(loss, (1,) if name in (PLAIN, AGAIN) else (0, 1))
        for name, loss in losses.items()
    }
    for name in (USUAL, TARGETS):
        ways[f"{name}, {ALONE}"] = gradient(losses[name], (1,))
    return ways


def of_layer(name: str, loss: Function) -> Function:
    """The gradient of a layer, of what goes into it, and of theta.

    ``loss`` sees theta, the kernel, the hidden states and the labels.
    """
    argnums = (1, 2) if name in (PLAIN, AGAIN, WITHOUT) else (0, 1, 2)

    def gradient(kernel, hidden, state, labels):
        theta = adjuster_params(state)
        return jax.grad(loss, argnums)(theta, kernel, hidden, labels)

    return gradient


def make_gradients() -> dict[str, Function]:
    """Returns ways to the gradient of a language model's last layer."""
    adjuster = GradientAdjuster()

    def logits_of(kernel, hidden):
        return hidden @ kernel

    def outside(loss):
        def whole(theta, kernel, hidden, labels):
            return loss(theta, logits_of(kernel, hidden), labels)

        return whole

    def inside(loss):
        def in_blocks(theta, kernel, hidden, labels):
            return mapped(
                lambda *block: outside(loss)(theta, kernel, *block),
                hidden,
                labels,
            )

        return in_blocks

    def head(theta, kernel, hidden, labels):
        loss_fn: Any = losses_of
        layer = logits_of, kernel
        return adjuster.loss(
            theta, hidden, loss_fn, targets=labels, head=layer
        )[0]

    def direct(is_given, kernel, hidden, state, labels):
        inputs = kernel, hidden
        z, pullback = jax.vjp(lambda inputs: logits_of(*inputs), inputs)
        grads: Any = None
        if is_given:
            (grads,) = pullback(
                jax.grad(lambda z: losses_of(z, labels).mean())(z)
            )
        return transformation(adjuster, z.shape[-1]).update(
            grads,
            state,
            inputs,
            features=z,
            loss_fn=losses_of,
            targets=labels,
            pullback=pullback,
        )

    losses = make_losses()
    ways = {
        **{name: outside(loss) for name, loss in losses.items()},
        HEAD: head,
        "the layer in `lax.map` and `jax.checkpoint`, with GAL": inside(
            losses[USUAL]
        ),
        WITHOUT: inside(losses[PLAIN]),
    }
    gradients = {name: of_layer(name, loss) for name, loss in ways.items()}
    return {
        **gradients,
        DIRECT: functools.partial(direct, True),
        ONCE: functools.partial(direct, False),
    }


def transformation(
    adjuster: GradientAdjuster, num_features: int
) -> optax.GradientTransformationExtraArgs:
    """``gal`` with an optimizer that costs next to nothing."""
    return gal(adjuster, num_features, optimizer=optax.sgd(1.0))


def arguments_of(shape: Sequence[int], dtype: str) -> tuple[Any, ...]:
    """Shapes of a kernel, hidden states, GAL's state and labels."""
    array = jax.ShapeDtypeStruct
    *examples, vocabulary = shape
    tx = transformation(GradientAdjuster(), vocabulary)
    return (
        array((WIDTH, vocabulary), dtype),
        array((*examples, WIDTH), dtype),
        jax.eval_shape(tx.init, ()),
        array(tuple(examples), jnp.int32),
    )


def reserved() -> dict[str, dict[str, float]]:
    """Temporary memory of a layer's gradient, in units of the logits."""

    def units(gradient: Function, dtype: str) -> float:
        arguments = arguments_of(RESERVED, dtype)
        compiled = jax.jit(gradient).lower(*arguments).compile()
        memory: Any = compiled.memory_analysis()
        logits = math.prod(RESERVED) * jnp.dtype(dtype).itemsize
        return round(memory.temp_size_in_bytes / logits, 2)

    return {
        dtype: {
            name: units(gradient, dtype)
            for name, gradient in make_gradients().items()
            if name != AGAIN
        }
        for dtype in DTYPES
    }


def filled(arguments: Any) -> Any:
    """Arrays of these shapes: all labels are the first, hidden states drawn."""
    keys = iter(jax.random.split(jax.random.key(0), 64))

    def values(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        scale = leaf.shape[0] ** -0.5
        return scale * jax.random.normal(next(keys), leaf.shape, leaf.dtype)

    return jax.tree.map(values, arguments)


def timed(make: Callable[[], dict[str, Function]], arguments: Any, rounds: int):
    """Milliseconds of every gradient, one number a round."""

    def runners() -> dict[str, Callable[[], float]]:
        return {
            name: functools.partial(run, jax.jit(gradient))
            for name, gradient in make().items()
        }

    def run(gradient: Function) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(gradient(*arguments))
        return 1e3 * (time.perf_counter() - begin)

    return common.interleaved(runners, PROGRAMS, rounds)


def measured(rounds: int) -> Result:
    """Returns what gradients reserve, and the times of each."""
    layers = {dtype: filled(arguments_of(TIMED, dtype)) for dtype in DTYPES}
    kernel, hidden, state, labels = layers["float32"]
    given = hidden @ kernel, state, labels
    return Result(
        reserved=reserved(),
        milliseconds={
            dtype: timed(make_gradients, arguments, rounds)
            for dtype, arguments in layers.items()
        },
        given=timed(of_given, given, rounds),
        touched=touched(given),
    )


def touched(arguments: Any) -> dict[str, float]:
    """Bytes by XLA's count; of a loop it counts one round alone."""
    found = {}
    for name, gradient in of_given().items():
        compiled = jax.jit(gradient).lower(*arguments).compile()
        if " while(" not in (compiled.as_text() or ""):
            analysis: Any = compiled.cost_analysis()
            logits = arguments[0].size * arguments[0].dtype.itemsize
            found[name] = round(analysis["bytes accessed"] / logits, 1)
    return found


def to_markdown(result: Result) -> list[str]:
    """Returns the tables' lines, and what stands before them."""
    rounds = len(result.given[PLAIN])
    lines = [
        f"One gradient of a last layer of width {WIDTH}: of its kernel, of what"
        " goes into it and, with GAL, of theta, by the default adjuster."
        f" *Reserved* is for token logits {sized(RESERVED)}, beside arguments"
        " and results, in units of the logits' own bytes, as XLA's CPU backend"
        " compiles it; the logits are one of them where they are made at once."
        f" *Time* is for {sized(TIMED)}, the ratio to the gradient without GAL:"
        f" medians of {rounds} interleaved rounds, of {PROGRAMS} programs of"
        " each. The loss sees float32 in all of them. GPUs and TPUs have not"
        " been measured.",
        "",
        "|"
        + "".join(f" | {dtype}: reserved | limit | time" for dtype in DTYPES)
        + " |",
        "| --- |" + " ---: | ---: | ---: |" * len(DTYPES),
    ]
    for name in result.milliseconds[DTYPES[0]]:
        row = f"| {name} |"
        for dtype in DTYPES:
            times = result.milliseconds[dtype]
            units = result.reserved[dtype].get(name)
            limit = LIMITS[dtype].get(name)
            reserved = "" if units is None else common.beside(units, limit)
            row += f" {reserved} |"
            row += f" {limit or ''} |"
            row += f" {statistics.median(times[name]) / plain_of(times):.2f} |"
        lines.append(row)
    lines += [
        "",
        f"The gradient of float32 logits {sized(TIMED)} that are given, and of"
        " theta where nothing else is said, for a cross-entropy that indexes"
        " `log_softmax`; in brackets the ratio's quartiles. *Touched* are the"
        " bytes that XLA counts in a program, in units of the logits; the limit"
        f" for GAL is {TOUCHED_LIMIT}. Of a loop it counts one round alone, so"
        " that a program with one has no number. Above its limit a number is"
        " bold.",
        "",
        "| gradient | ms | ratio to plain | limit | touched |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    rows = common.ratios(result.given, plain_of(result.given), TIME_LIMITS)
    for name, row in zip(result.given, rows, strict=True):
        units = result.touched.get(name)
        limit = None if name in (PLAIN, AGAIN) else TOUCHED_LIMIT
        touched = "" if units is None else common.beside(units, limit)
        lines.append(f"{row} {touched} |")
    return [*lines, ""]


def plain_of(times: Times) -> float:
    return statistics.median([*times[PLAIN], *times[AGAIN]])


def sized(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
