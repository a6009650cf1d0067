"""How fast the methods' steps are on the device at hand, beside a plain pass.

``python -m benchmarks.costs device`` runs the steps of ``step`` on JAX's first
device, a billion parameters in 4 leaves and in 1,024. A step is limited by the
memory that it moves, so that each is set beside a plain pass as well, which
reads and writes every parameter once. It is made for a GPU of 80 GB or more;
``--parameters 1e6 --leaves 4`` tries it on any other device.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
import math
import random
import statistics
import time
from typing import Any, NamedTuple

import jax
import optax

from benchmarks.costs import common, contenders, step, timing
from benchmarks.costs.contenders import RATE, Case, Optimizers, Row
from benchmarks.costs.step import Machine, Table
import optaxmods

PARAMETERS = 2**30
LEAVES = (4, 1024)
DTYPES = ("bfloat16", "float32")
ROUNDS, STEPS = 5, 5
AGR_LIMIT = 1.15  # Of AdamW's time.
PASS = "plain pass"
PASS_SHARE = 0.85  # Of the plain pass' bytes a second.
WITH_AGR = ("chain(agr, optax.adamw)", "adamw_agr", "adan_agr")
ROWS = [
    Row("optax.adamw again", "optax.adamw"),
    Row("chain(agr, optax.adamw)", "optax.adamw", AGR_LIMIT),
    Row("adamw_agr", "optax.adamw", AGR_LIMIT),
    Row("chain(lga, optax.adamw)", "optax.adamw"),
    Row("with_lga(optax.adamw)", "optax.adamw"),
    Row(PASS, "optax.adamw"),
    Row("optax.adan again", "optax.adan"),
    Row("adan", "optax.adan"),
    Row("adan_agr", "optax.adan"),
]


class Result(NamedTuple):
    """The tables, and of each the bytes a second of every method."""

    machine: Machine
    tables: Sequence[Table]
    bytes_a_second: Sequence[Mapping[str, float]]


def make_optimizers(dtype: str) -> Optimizers:
    """Moments are of the parameters' dtype, as those of optax are."""
    # Each parameter changes its sign: one word is read, and one written.
    turned = optax.stateless(
        lambda _, params: jax.tree.map(lambda param: -2 * param, params)
    )
    return contenders.make_optimizers() | {
        PASS: turned,
        "adamw_agr": optaxmods.adamw_agr(RATE, nu_dtype=dtype),
        "adan": optaxmods.adan(RATE, nu_dtype=dtype),
        "adan_agr": optaxmods.adan_agr(RATE, nu_dtype=dtype),
    }


def cases(
    parameters: int, all_leaves: Sequence[int], rounds: int
) -> list[Case]:
    found = []
    for dtype in DTYPES:
        for leaves in all_leaves:
            side = max(1, round(math.sqrt(parameters / leaves)))
            found.append(Case(leaves, (side, side), dtype, ROWS, rounds, STEPS))
    return found


def compiled_at_once(
    optimizers: Optimizers, params: Any, gradients: Any
) -> dict[str, Callable[..., Any]]:
    """All steps, each in a thread: of many leaves they take half a minute.

    The baselines' second names have the same programs.
    """

    def compiled(tx: optax.GradientTransformation) -> Callable[..., Any]:
        shapes = jax.eval_shape(tx.init, params)
        return timing.make_step(tx).lower(params, shapes, gradients).compile()

    first = {
        name: tx
        for name, tx in optimizers.items()
        if not name.endswith(" again")
    }
    with futures.ThreadPoolExecutor() as pool:
        made = dict(zip(first, pool.map(compiled, first.values()), strict=True))
    return {name: made[name.removesuffix(" again")] for name in optimizers}


def least_bytes(method: str, case: Case) -> int:
    """What a step has to read and to write.

    Parameters and moments are read and written, gradients are read; twice with
    AGR, which needs the sum of all entries before it changes the first. Adan
    with AGR needs that of the previous gradient, too.
    """
    leaf = jax.ShapeDtypeStruct(case.shape, case.dtype)
    params = [leaf] * case.leaves
    state = jax.eval_shape(make_optimizers(case.dtype)[method].init, params)
    words = sum(leaf.size * leaf.dtype.itemsize for leaf in params)
    moments = sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)
    )
    if method == PASS:
        return 2 * words
    reads = {"adan_agr": 3}.get(method, 2 if method in WITH_AGR else 1)
    return 2 * words + 2 * moments + reads * words


def measure(found: Sequence[Case]) -> tuple[list[Table], list[dict[str, Any]]]:
    order, tables, bytes_a_second = random.Random(0), [], []
    for case in found:
        print(f"{case.title} ...", flush=True)
        begin = time.perf_counter()
        seconds = timing.time_steps(
            case, order, make_optimizers(case.dtype), compiled_at_once
        )
        minutes = round((time.perf_counter() - begin) / 60, 1)
        tables.append(step.summarize("step", case, seconds, minutes))
        bytes_a_second.append(
            {
                name: least_bytes(name, case) / statistics.median(times)
                for name, times in seconds.items()
            }
        )
        jax.clear_caches()
    return tables, bytes_a_second


def to_json(result: Result) -> dict[str, Any]:
    """Returns what its file holds."""
    tables = [
        {
            **table._asdict(),
            "rows": [row._asdict() for row in table.rows],
            "bytes_a_second": dict(rates),
        }
        for table, rates in zip(
            result.tables, result.bytes_a_second, strict=True
        )
    ]
    return {**result.machine._asdict(), "tables": tables}


def to_markdown(result: Result) -> str:
    made = result.machine
    lines = [
        "# Cost of a step on a device",
        "",
        f"Made by `{made.command}` on {made.device}, jax {made.jax}, jaxlib"
        f" {made.jaxlib}, optax {made.optax}, optaxmods {made.optaxmods}."
        " Medians of interleaved rounds; GB/s are the bytes that a step has to"
        " read and write, over its time, and the share is that of the plain"
        " pass' GB/s, which reads and writes every parameter once. A ratio"
        f" above its limit, and a share of AdamW's or AGR's below"
        f" {PASS_SHARE:.2f}, is bold.",
    ]
    for table, rates in zip(result.tables, result.bytes_a_second, strict=True):
        lines += [
            "",
            f"## {table.case} ({table.rounds} rounds, {table.minutes} minutes)",
            "",
            "| method | ms | baseline | ratio | limit | GB/s | share |",
            "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
        ]
        middles = {
            row.baseline: row.baseline_milliseconds for row in table.rows
        }
        rows = [
            (baseline, ms, baseline, 1.0, None)
            for baseline, ms in middles.items()
        ] + [
            (row.method, row.milliseconds, row.baseline, row.ratio, row.limit)
            for row in table.rows
        ]
        for method, milliseconds, baseline, ratio, limit in rows:
            share = rates[method] / rates[PASS]
            judged = method == "optax.adamw" or limit is not None
            lines.append(
                f"| {method} | {milliseconds:.3f} | {baseline}"
                f" | {_bold(f'{ratio:.2f}', bool(limit) and ratio > limit)}"
                f" | {f'{limit:.2f}' if limit else ''}"
                f" | {rates[method] / 1e9:.1f}"
                f" | {_bold(f'{share:.2f}', judged and share < PASS_SHARE)} |"
            )
    return "\n".join(lines) + "\n"


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parameters",
        type=_parameters,
        default=PARAMETERS,
        metavar="N",
        help="so many in all, such as 1e6 (default: 2^30)",
    )
    parser.add_argument(
        "--leaves",
        type=common.positive,
        nargs="+",
        default=LEAVES,
        help="how many leaves the trees have (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=common.rounds,
        default=ROUNDS,
        help="rounds of each case, 2 or more (default: %(default)s)",
    )


def _parameters(text: str) -> int:
    number = float(text)
    if not 1 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(number)


def measured(options: argparse.Namespace) -> Result:
    """Returns the times of all cases on the first device."""
    made = step.machine()._replace(**common.made_by("device"))
    return Result(
        made,
        *measure(cases(options.parameters, options.leaves, options.rounds)),
    )
