"""What the methods add to an optimizer step and to its compilation.

``python -m benchmarks.costs step`` measures, in one process, a jitted step with
donated parameters and state, ``optax.apply_updates`` included. Each round runs
every contender once, in a new random order and on newly allocated buffers. The
baseline runs twice, the second time under another name, which shows the noise;
a row's ratio is the median of its times over the median of both baselines'
times. Where hundreds of small kernels make up a step, compiling the same
program again changes its time by a third, so that such a case compiles every
contender several times. Where PyTorch is installed, as the extra ``peers`` has
it, its fused AdamW is a contender, too.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
import pathlib
import platform
import random
import statistics
import time
from typing import Any, NamedTuple

import jax
import optax

from benchmarks.costs import common, timing, torch_peer
from benchmarks.costs.contenders import (
    CASES,
    FIRST,
    ONCE,
    RESERVED,
    TORCH,
    Case,
    Row,
    make_optimizers,
)
from benchmarks.runs.machine import device
import optaxmods

MEMORY = "temporary memory"


class Measured(NamedTuple):
    """A row's medians, in milliseconds, and their ratio."""

    method: str
    baseline: str
    limit: float | None
    milliseconds: float
    baseline_milliseconds: float
    ratio: float
    ratio_quartiles: Sequence[float]


class Table(NamedTuple):
    """What was measured of a case: its steps, or their compilation."""

    what: str
    case: str
    rounds: int
    programs: int
    rows: Sequence[Measured]
    milliseconds: Mapping[str, Sequence[float]]  # All times of a method.
    minutes: float


class Reserved(NamedTuple):
    """What the steps of a case reserve, in words a parameter."""

    case: str
    words: Mapping[str, float]  # Of every method.


class Machine(NamedTuple):
    """What made a result: times of another are not set beside its own."""

    command: str
    jax: str
    jaxlib: str
    optax: str
    optaxmods: str
    python: str
    torch: str
    device: str
    cores: int | str


class Result(NamedTuple):
    """The tables of one machine."""

    machine: Machine
    tables: Sequence[Table]
    reserved: Sequence[Reserved] = ()


def summarize(
    what: str, case: Case, seconds: dict[str, list[float]], minutes: float
) -> Table:
    """The table of a case; times in milliseconds, every one of them kept."""
    times = {
        name: [round(1e3 * second, 4) for second in all_]
        for name, all_ in seconds.items()
    }
    rows = []
    for row in case.rows:
        baseline = times[row.baseline]
        if row.method != f"{row.baseline} again":
            baseline = baseline + times[f"{row.baseline} again"]
        middle = statistics.median(baseline)
        low, median, high = statistics.quantiles(times[row.method], n=4)
        rows.append(
            Measured(
                *row,
                milliseconds=median,
                baseline_milliseconds=middle,
                ratio=median / middle,
                ratio_quartiles=[low / middle, high / middle],
            )
        )
    return Table(
        what, case.title, case.rounds, case.programs, rows, times, minutes
    )


def chosen(only: str) -> list[tuple[str, Case]]:
    """Returns what is measured of which case."""
    all_ = [("step", case) for case in CASES]
    all_ += [(what, case) for what, cases in ONCE.items() for case in cases]
    all_ += [(MEMORY, case) for case in RESERVED]
    return [
        (what, case) for what, case in all_ if only in f"{what}: {case.title}"
    ]


def measure(
    rounds: int | None, only: str
) -> tuple[list[Table], list[Reserved]]:
    """Measures the cases that ``only`` is a part of, one after the other."""
    order = random.Random(0)
    tables, all_reserved = [], []
    for what, case in chosen(only):
        print(f"{what}, {case.title} ...", flush=True)
        if what == MEMORY:
            words = timing.reserved(case)
            all_reserved.append(Reserved(case.title, words))
            continue
        begin = time.perf_counter()
        case = case._replace(rounds=min(case.rounds, rounds or case.rounds))
        jax.config.update("jax_enable_x64", case.dtype == "float64")
        if what != "step":
            seconds = timing.time_once(what, case, order)
        elif case.title == FIRST.title and torch_peer.is_there():
            peers = [Row(name, "optax.adamw") for name in TORCH]
            case = case._replace(rows=[*case.rows, *peers])
            seconds = timing.time_steps(case, order, make_optimizers() | TORCH)
        else:
            seconds = timing.time_steps(case, order)
        minutes = round((time.perf_counter() - begin) / 60, 1)
        tables.append(summarize(what, case, seconds, minutes))
    jax.config.update("jax_enable_x64", False)
    return tables, all_reserved


def machine() -> Machine:
    processor = device()
    return Machine(
        **common.made_by("step"),
        optax=optax.__version__,
        optaxmods=optaxmods.__version__,
        python=platform.python_version(),
        torch=common.version("torch"),
        device=processor.kind,
        cores=processor.cpu_cores,
    )


def to_json(result: Result) -> dict[str, Any]:
    """Returns what its file holds."""
    tables = [
        {**table._asdict(), "rows": [row._asdict() for row in table.rows]}
        for table in result.tables
    ]
    return {
        **result.machine._asdict(),
        "tables": tables,
        "reserved": [each._asdict() for each in result.reserved],
    }


def earlier(path: pathlib.Path, here: Machine) -> Result:
    """Returns a result; nothing of one that was made elsewhere."""
    if not path.exists():
        return Result(here, [])
    old = json.loads(path.read_text("utf-8"))
    if any(old.get(key) != value for key, value in here._asdict().items()):
        return Result(here, [])
    tables = [
        Table(**{**table, "rows": [Measured(**row) for row in table["rows"]]})
        for table in old["tables"]
    ]
    kept = [Reserved(**each) for each in old.get("reserved", [])]
    return Result(here, tables, kept)


def to_markdown(result: Result) -> str:
    here = result.machine
    lines = [
        "# Cost of an optimizer step",
        "",
        f"Made by `{here.command}` on {here.cores} cores of {here.device}, jax"
        f" {here.jax}, jaxlib {here.jaxlib}, optax {here.optax}, torch"
        f" {here.torch}. Medians of"
        " interleaved rounds in one process, in brackets the ratio's"
        " quartiles. Each baseline runs twice: *again* shows the noise, and"
        " the other rows are measured against both. A ratio above the limit"
        " that the project set itself is bold. Two controls stand beside the"
        " narrow dtypes: a product in float32 before the optimizer, rounded"
        " back, and AGR's sums without AGR. GPUs and TPUs have not been"
        " measured.",
    ]
    for table in result.tables:
        lines += [
            "",
            f"## {table.what.capitalize()}: {table.case}"
            f" ({table.rounds} rounds of {table.programs} programs each)",
            "",
            "| method | ms | baseline | ms | ratio | limit |",
            "| --- | ---: | --- | ---: | ---: | ---: |",
        ]
        for row in table.rows:
            limit, ratio = "", f"{row.ratio:.2f}"
            if row.limit:
                limit = f"{row.limit:.2f}"
                ratio = f"**{ratio}**" if row.ratio > row.limit else ratio
            low, high = row.ratio_quartiles
            lines.append(
                f"| {row.method} | {row.milliseconds:.1f}"
                f" | {row.baseline} | {row.baseline_milliseconds:.1f}"
                f" | {ratio} ({low:.2f} to {high:.2f}) | {limit} |"
            )
    if result.reserved:
        lines += _reserved_lines(result.reserved)
    return "\n".join(lines) + "\n"


def _reserved_lines(reserved: Sequence[Reserved]) -> list[str]:
    """A method a line, a case a column."""
    cases = [each.case for each in reserved]
    methods = dict.fromkeys(name for each in reserved for name in each.words)
    lines = [
        "",
        f"## {MEMORY.capitalize()} of a compiled step",
        "",
        "In words a parameter, each as wide as the parameters: 1 is a copy of"
        " all of them.",
        "",
        f"| method | {' | '.join(cases)} |",
        f"| --- |{' ---: |' * len(cases)}",
    ]
    for name in methods:
        if not name.endswith(" again"):
            words = (f"{each.words[name]:.2f}" for each in reserved)
            lines.append(f"| {name} | {' | '.join(words)} |")
    return lines


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds",
        type=common.rounds,
        help="at most so many rounds a case, 2 or more, for a trial",
    )
    parser.add_argument(
        "--only",
        type=_part_of_a_title,
        default="",
        metavar="TEXT",
        help="measure the cases whose titles have this in them, such as"
        " 'step: 4 leaves of 2048x2048 float32', and keep the others' tables",
    )


def _part_of_a_title(text: str) -> str:
    if not chosen(text):
        raise argparse.ArgumentTypeError(f"no case has {text!r} in its title")
    return text


def measured(options: argparse.Namespace) -> Result:
    """Returns the tables of all cases, those not measured as they were."""
    path, here = options.out / "step_cost.json", machine()
    kept = earlier(path, here) if options.only else Result(here, [])
    if options.only and not kept.tables:
        raise common.RefusedError(
            f"{path} has no tables of these versions on this device to keep:"
            " measure all cases, without --only"
        )
    tables, reserved = measure(options.rounds, options.only)
    by_title = {
        (table.what, table.case): table for table in [*kept.tables, *tables]
    }
    by_case = {each.case: each for each in [*kept.reserved, *reserved]}
    return Result(here, list(by_title.values()), list(by_case.values()))
