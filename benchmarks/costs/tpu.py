"""What the TPU's compiler makes of the methods' steps; no TPU is needed.

``python -m benchmarks.costs tpu`` compiles updates and whole training steps for
one TPU chip, 8 and 256 of them, with the compiler of libtpu, which the extra
``accelerators`` installs. Nothing is run: cycles are the compiler's own
estimates for its kernels, kernels, bytes and collectives are counted in the
program. A ratio is to the same step of the baseline.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
import os
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies
from jax.sharding import AxisType
import numpy as np
import optax

from benchmarks.costs import common, programs
from benchmarks.costs.compiled import Counted, counted
from benchmarks.costs.programs import Place, Program
import optaxmods

TOPOLOGIES = ("v5e:2x2", "v5p:2x2x1", "v6e:2x2")
EIGHT, MANY = "v5e:2x4", "v5e:16x16"
# The compiler asks for these of the machine that it believes to be on.
PRETENDED = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}
RATE, GAMMA = 1e-3, 1e-8


class Row(NamedTuple):
    """One contender's program, and the baseline's beside it."""

    case: str
    topology: str
    method: str
    baseline: str
    counted: Counted
    cycles: float  # A ratio.
    moved: float  # A ratio.


class Result(NamedTuple):
    """All rows, and what made them."""

    made_by: dict[str, str]
    rows: list[Row]


class Case(NamedTuple):
    """A program of any optimizer, by name: contenders beside baselines."""

    title: str
    topology: str
    make: Callable[[Any], Program]
    contenders: Mapping[str, tuple[Any, str, Any]]


def optimizers() -> dict[str, tuple[Any, str, Any]]:
    """Each contender, its baseline's name and the baseline."""
    adamw, adan = optax.adamw(RATE), optax.adan(RATE)
    beside_adamw = {
        "chain(clip_by_global_norm, optax.adamw)": optax.chain(
            optax.clip_by_global_norm(1.0), adamw
        ),
        "chain(agr, optax.adamw)": optax.chain(optaxmods.agr(), adamw),
        "adamw_agr": optaxmods.adamw_agr(RATE),
        "chain(lga, optax.adamw)": optax.chain(
            optaxmods.lga(GAMMA, status_every=100), adamw
        ),
        "with_lga(optax.adamw)": optaxmods.with_lga(
            adamw, GAMMA, status_every=100
        ),
    }
    beside_adan = {
        "adan": optaxmods.adan(RATE),
        "adan_agr": optaxmods.adan_agr(RATE),
    }
    return {
        name: (tx, "optax.adamw", adamw) for name, tx in beside_adamw.items()
    } | {name: (tx, "optax.adan", adan) for name, tx in beside_adan.items()}


def few(*names: str) -> dict[str, tuple[Any, str, Any]]:
    chosen = optimizers()
    return {name: chosen[name] for name in names}


def cases(one_chip: tuple[str, ...]) -> Iterator[Case]:
    """All that is compiled, the cases of one chip for each of these kinds."""
    for topology in one_chip:
        yield from on_one(topology)
    yield from on_many()


def on_one(topology: str) -> Iterator[Case]:
    place = Place(devices(topology)[0])
    for leaves, size in ((4, 2048), (200, 64)):

        def alone(tx: Any, leaves: int = leaves, size: int = size) -> Program:
            tree = programs.kernels(place, leaves, (size, size))
            return programs.update(tx, tree, place)

        title = f"update, {leaves} leaves of {size}x{size}"
        yield Case(title, topology, alone, optimizers())
    for layers in (2, 3):

        def step(tx: Any, layers: int = layers) -> Program:
            return programs.perceptron(tx, place, layers)

        title = f"training step, perceptron of {layers} kernels of 2048x2048"
        yield Case(title, topology, step, optimizers())
    yield Case(
        "training step, decoder of 2 layers",
        topology,
        lambda tx: programs.decoder(tx, place, programs.Transformer()),
        optimizers(),
    )
    yield Case(
        "gradient of 8192 tokens' logits, 32000 classes",
        topology,
        lambda adjuster: programs.logits_gradient(adjuster, place),
        {
            "GradientAdjuster().loss": (
                optaxmods.GradientAdjuster(),
                "plain loss",
                None,
            )
        },
    )


def on_many() -> Iterator[Case]:
    some = few(
        "chain(clip_by_global_norm, optax.adamw)",
        "chain(agr, optax.adamw)",
        "adamw_agr",
        "with_lga(optax.adamw)",
        "adan_agr",
    )
    for topology, shape in ((EIGHT, (4, 2)), (MANY, (32, 8))):
        for axis_type in (AxisType.Auto, AxisType.Explicit):
            place = programs.on_mesh(
                np.asarray(devices(topology)), shape, axis_type
            )
            sizes = programs.Transformer(examples=4 * shape[0])
            title = (
                f"training step, decoder of 2 layers, {shape[0]} x {shape[1]}"
                f" chips, {axis_type.name}"
            )
            yield Case(
                title,
                topology,
                lambda tx, place=place, sizes=sizes: programs.decoder(
                    tx, place, sizes
                ),
                some,
            )
            if topology == MANY:
                yield Case(
                    f"update, 7B parameters, {shape[0]} x {shape[1]} chips,"
                    f" {axis_type.name}",
                    topology,
                    lambda tx, place=place: programs.update(
                        tx, programs.of_7_billion(place), place
                    ),
                    some,
                )


def devices(topology: str) -> list[Any]:
    try:
        found = topologies.get_topology_desc(
            platform="tpu", topology_name=topology
        )
    except Exception as error:  # Of several kinds, by version.
        raise common.RefusedError(
            f"{topology} is no topology that can be compiled for: install the"
            " extra accelerators, '.[accelerators]', and name one such as"
            f" v5e:2x4 ({str(error).splitlines()[0]})"
        ) from None
    return list(found.devices)


def compiled(program: Program) -> Counted:
    lowered = jax.jit(program.function, donate_argnums=program.donated).lower(
        *program.arguments
    )
    return counted(lowered.compile())


def measure(one_chip: tuple[str, ...], only: str) -> list[Row]:
    rows = []
    for case in cases(one_chip):
        if only not in f"{case.topology} {case.title}":
            continue
        baselines: dict[str, Counted] = {}
        for name, (contender, of, baseline) in case.contenders.items():
            print(f"{case.topology}, {case.title}: {name}", flush=True)
            if of not in baselines:
                baselines[of] = compiled(case.make(baseline))
            found, plain = compiled(case.make(contender)), baselines[of]
            rows.append(
                Row(
                    case.title,
                    case.topology,
                    name,
                    of,
                    found,
                    round(found.cycles / plain.cycles, 3),
                    round(found.moved / plain.moved, 3),
                )
            )
    return rows


def to_json(result: Result) -> dict[str, Any]:
    rows = [
        row._replace(counted=row.counted._asdict())._asdict()
        for row in result.rows
    ]
    return {**result.made_by, "rows": rows}


def to_markdown(result: Result) -> str:
    made = result.made_by
    lines = [
        "# Cost by the TPU's compiler",
        "",
        f"Made by `{made['command']}`, jax {made['jax']}, jaxlib"
        f" {made['jaxlib']}, libtpu {made['libtpu']}, optax"
        f" {made['optax']}. **Compiled, not run**: no TPU was there. Cycles"
        " are the compiler's own estimates of its kernels' times, which leave"
        " out what chips wait for one another; moved are the bytes that the"
        " program's operations read and write in HBM, counted in its text; both"
        " as ratios to the same step of the baseline. Kernels, temporary bytes"
        " and collectives are the contender's own.",
    ]
    shown = None
    for row in result.rows:
        if (row.topology, row.case) != shown:
            shown = row.topology, row.case
            lines += [
                "",
                f"## {row.topology}: {row.case}",
                "",
                "| method | beside | cycles | moved | kernels | temporary MiB"
                " | collectives |",
                "| --- | --- | ---: | ---: | ---: | ---: | --- |",
            ]
        own = row.counted
        travels = ", ".join(f"{n} {kind}" for kind, n in own.travels.items())
        lines.append(
            f"| {row.method} | {row.baseline} | {row.cycles:.3f}"
            f" | {row.moved:.3f} | {own.kernels}"
            f" | {own.temporary / 2**20:.1f} | {travels or 'none'} |"
        )
    return "\n".join(lines) + "\n"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topology",
        nargs="+",
        default=TOPOLOGIES,
        help="kinds of chip for the cases of one (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="compile the cases that have this in their topology and title",
    )


def measured(options: argparse.Namespace) -> Result:
    """Returns what is counted in the programs of all cases."""
    for name, value in PRETENDED.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")
    made_by = {
        **common.made_by("tpu"),
        "libtpu": common.version("libtpu"),
        "optax": optax.__version__,
    }
    return Result(made_by, measure(tuple(options.topology), options.only))
