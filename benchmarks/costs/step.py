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
from collections.abc import Callable, Mapping, Sequence
import gc
import json
import pathlib
import platform
import random
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.costs import common, torch_peer
from benchmarks.runs.machine import device
import optaxmods

Optimizers = dict[str, Any]  # Transformations, or peers with a step.
RATE = 1e-3


class Row(NamedTuple):
    """One contender beside its baseline, and the highest ratio allowed."""

    method: str
    baseline: str
    limit: float | None = None


class Case(NamedTuple):
    """A tree of equal leaves, and how often a step is repeated."""

    leaves: int
    shape: tuple[int, ...]
    dtype: str
    rows: list[Row]
    rounds: int = 31  # For each of the programs.
    steps: int = 2
    programs: int = 1  # How often each contender is compiled.

    @property
    def title(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{self.leaves} leaves of {size} {self.dtype}"


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


def agr_as_printed() -> optax.GradientTransformation:
    """The paper's three lines, written down without further thought."""

    def damp(gradient: jax.Array) -> jax.Array:
        alpha = jnp.abs(gradient) / jnp.sum(jnp.abs(gradient))
        return gradient - alpha * gradient

    return optax.stateless(lambda updates, _: jax.tree.map(damp, updates))


def lga_as_printed(gamma: float) -> optax.GradientTransformation:
    """Eq. 2 and 5, with the division, and an Omega of 1 at every step."""

    def push(gradient: jax.Array) -> jax.Array:
        phi = gradient + jnp.where(gradient >= 0, 0.01, -0.01)
        return gradient + gamma / phi

    return optax.stateless(lambda updates, _: jax.tree.map(push, updates))


def through_float32() -> optax.GradientTransformation:
    """The least that a rule formed in float32 does to a narrow gradient."""
    return optax.stateless(
        lambda updates, _: jax.tree.map(
            lambda g: (g.astype(jnp.float32) * 0.999).astype(g.dtype), updates
        )
    )


def summed() -> optax.GradientTransformation:
    """AGR's sums alone; the gradients stay as they are."""

    def after_sum(gradient: jax.Array) -> jax.Array:
        read = jax.lax.optimization_barrier(gradient)
        total = jnp.sum(jnp.abs(read.astype(jnp.float32)))
        return jax.lax.select(total < 0, -gradient, gradient)

    return optax.stateless(lambda updates, _: jax.tree.map(after_sum, updates))


def make_optimizers() -> Optimizers:
    rate, gamma = RATE, 1e-8
    return {
        "optax.adamw": optax.adamw(rate),
        "optax.adamw again": optax.adamw(rate),
        "chain(clip_by_global_norm, optax.adamw)": optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(rate)
        ),
        "chain(a product in float32, optax.adamw)": optax.chain(
            through_float32(), optax.adamw(rate)
        ),
        "chain(AGR's sums alone, optax.adamw)": optax.chain(
            summed(), optax.adamw(rate)
        ),
        "chain(agr, optax.adamw)": optax.chain(
            optaxmods.agr(), optax.adamw(rate)
        ),
        "chain(AGR as printed, optax.adamw)": optax.chain(
            agr_as_printed(), optax.adamw(rate)
        ),
        "adamw_agr": optaxmods.adamw_agr(rate),
        "optax.adan": optax.adan(rate),
        "optax.adan again": optax.adan(rate),
        "adan": optaxmods.adan(rate),
        "adan_agr": optaxmods.adan_agr(rate),
        "with_lga(optax.adamw)": optaxmods.with_lga(
            optax.adamw(rate), gamma, status_every=100
        ),
        "chain(lga, optax.adamw)": optax.chain(
            optaxmods.lga(gamma, status_every=100), optax.adamw(rate)
        ),
        "chain(LGA as printed, optax.adamw)": optax.chain(
            lga_as_printed(gamma), optax.adamw(rate)
        ),
    }


def rows(
    agr: float | None = None,
    adamw_agr: float | None = None,
    adan: float | None = None,
    adan_agr: float | None = None,
) -> list[Row]:
    """The same comparisons for every case, with the case's limits."""
    return [
        Row("optax.adamw again", "optax.adamw"),
        Row("chain(clip_by_global_norm, optax.adamw)", "optax.adamw"),
        Row("chain(agr, optax.adamw)", "optax.adamw", agr),
        Row("adamw_agr", "optax.adamw", adamw_agr),
        Row("chain(AGR as printed, optax.adamw)", "optax.adamw"),
        Row("optax.adan again", "optax.adan"),
        Row("adan", "optax.adan", adan),
        Row("adan_agr", "optax.adan", adan_agr),
    ]


def lga_rows(with_lga: float, lga: float) -> list[Row]:
    return [
        Row("with_lga(optax.adamw)", "optax.adamw", with_lga),
        Row("chain(lga, optax.adamw)", "optax.adamw", lga),
        Row("chain(LGA as printed, optax.adamw)", "optax.adamw"),
    ]


TORCH = {
    "torch AdamW(fused=True)": torch_peer.AdamW(RATE, with_agr=False),
    "AGR as printed, torch AdamW(fused=True)": torch_peer.AdamW(
        RATE, with_agr=True
    ),
}
# What a narrow gradient costs whoever writes the rule.
NARROW = [
    Row("chain(a product in float32, optax.adamw)", "optax.adamw"),
    Row("chain(AGR's sums alone, optax.adamw)", "optax.adamw"),
]
LARGE, SMALL, LOW_RANK = (2048, 2048), (64, 64), (8, 512)
FIRST = Case(
    4, LARGE, "float32", rows(1.35, 1.35, 0.75, 0.85) + lga_rows(1.15, 1.4)
)
CASES = [
    FIRST,
    *[
        Case(
            200,
            shape,
            "float32",
            rows(1.2, 1.2, 1.2, 1.2) + lga_rows(1.2, 1.2),
            rounds=5,
            steps=10,
            programs=8,
        )
        for shape in (SMALL, LOW_RANK)
    ],
    Case(4, LARGE, "bfloat16", rows(1.25) + NARROW, rounds=9),
    Case(4, LARGE, "float16", rows(1.5) + NARROW, rounds=9),
    Case(4, LARGE, "float64", rows(), rounds=9),
    Case(4, LARGE, "complex64", rows(), rounds=9),
]


def once(limit: float | None, lga: float, adan: float, adan_agr: float):
    """What is done once a run, all of it beside AdamW."""
    return [
        Row("optax.adamw again", "optax.adamw"),
        Row("chain(agr, optax.adamw)", "optax.adamw", limit),
        Row("adamw_agr", "optax.adamw", limit),
        Row("chain(AGR as printed, optax.adamw)", "optax.adamw"),
        Row("chain(lga, optax.adamw)", "optax.adamw", lga),
        Row("optax.adan", "optax.adamw"),
        Row("adan", "optax.adamw", adan),
        Row("adan_agr", "optax.adamw", adan_agr),
    ]


ONCE = {
    "compilation": [
        Case(100, (16, 16), "float32", once(1.5, 1.5, 2.1, 2.4), rounds=5),
        Case(1000, (16, 16), "float32", once(1.5, 1.5, 2.1, 2.4), rounds=3),
    ],
    "tracing": [
        Case(1000, (16, 16), "float32", once(1.5, 1.5, 2.2, 2.4), rounds=5)
    ],
    "abstract init": [
        Case(1000, (16, 16), "float32", once(1.5, 1.5, 2.2, 2.2), rounds=9)
    ],
}


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


def methods_of(case: Case) -> list[str]:
    named = [name for row in case.rows for name in (row.baseline, row.method)]
    return list(dict.fromkeys(named))


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
    return [
        (what, case) for what, case in all_ if only in f"{what}: {case.title}"
    ]


def measure(rounds: int | None, only: str) -> list[Table]:
    """Measures the cases that ``only`` is a part of, one after the other."""
    order = random.Random(0)
    tables = []
    for what, case in chosen(only):
        print(f"{what}, {case.title} ...", flush=True)
        begin = time.perf_counter()
        case = case._replace(rounds=min(case.rounds, rounds or case.rounds))
        jax.config.update("jax_enable_x64", case.dtype == "float64")
        if what != "step":
            seconds = time_once(what, case, order)
        elif case.title == FIRST.title and torch_peer.is_there():
            peers = [Row(name, "optax.adamw") for name in TORCH]
            case = case._replace(rows=[*case.rows, *peers])
            seconds = time_steps(case, order, make_optimizers() | TORCH)
        else:
            seconds = time_steps(case, order)
        minutes = round((time.perf_counter() - begin) / 60, 1)
        tables.append(summarize(what, case, seconds, minutes))
    jax.config.update("jax_enable_x64", False)
    return tables


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
    return {**result.machine._asdict(), "tables": tables}


def earlier(path: pathlib.Path, here: Machine) -> list[Table]:
    """Returns the tables of a result; none where it was made elsewhere."""
    if not path.exists():
        return []
    old = json.loads(path.read_text("utf-8"))
    if any(old.get(key) != value for key, value in here._asdict().items()):
        return []
    return [
        Table(**{**table, "rows": [Measured(**row) for row in table["rows"]]})
        for table in old["tables"]
    ]


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
    return "\n".join(lines) + "\n"


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
    tables = earlier(path, here) if options.only else []
    if options.only and not tables:
        raise common.RefusedError(
            f"{path} has no tables of these versions on this device to keep:"
            " measure all cases, without --only"
        )
    by_title = {
        (table.what, table.case): table
        for table in tables + measure(options.rounds, options.only)
    }
    return Result(here, list(by_title.values()))
