"""Programs of contenders and baselines, compiled side by side, and their page.

What compiles them, and for which device, is told by a :class:`Place`.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
import json
import math
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
import optax

from benchmarks.costs import common, programs, split_leaves
from benchmarks.costs.compiled import Counted, counted
from benchmarks.costs.programs import Place, Program
import optaxmods

RATE, GAMMA = 1e-3, 1e-8
AGR = "chain(agr, optax.adamw)", "adamw_agr"
ONE_REDUCTION = "chain(AGR of one reduction, optax.adamw)"


class Contender(NamedTuple):
    """What a program is made of, and what its baseline is made of."""

    own: Any
    baseline: str
    plain: Any


class Case(NamedTuple):
    """A program of any optimizer, for one kind of device."""

    target: str
    title: str
    make: Callable[[Any], Program]
    contenders: Mapping[str, Contender]
    limit: float | None = None  # Of AGR's ratios.


class Row(NamedTuple):
    """One contender's program, and the baseline's beside it."""

    target: str
    case: str
    method: str
    baseline: str
    limit: float | None
    counted: Counted
    plain: Counted

    def ratio(self, what: str) -> float:
        """Of "cycles" or "moved"; no number where that is not known."""
        own, plain = getattr(self.counted, what), getattr(self.plain, what)
        if not plain or self.counted.loops > self.plain.loops:
            return math.nan
        return round(own / plain, 3)


class Result(NamedTuple):
    """All rows, and what made them."""

    made_by: dict[str, str]
    rows: list[Row]


def agr_of_one_reduction() -> optax.GradientTransformation:
    """AGR's Eq. 1 and 2 of matrices whose sums are one reduction.

    Alone it costs a kernel instead of one a leaf. No product that makes a
    gradient can form a part of it, so that a training step reads them once
    more.
    """

    def damped(updates: Any) -> Any:
        gradients, treedef = jax.tree.flatten(updates)
        sizes = tuple(map(jnp.abs, gradients))
        totals = jax.lax.reduce(
            sizes,
            (jnp.zeros((), jnp.float32),) * len(sizes),
            lambda a, b: jax.tree.map(jnp.add, a, b),
            range(sizes[0].ndim),
        )
        return treedef.unflatten(
            g * (1 - size * (1 / total))
            for g, size, total in zip(gradients, sizes, totals, strict=True)
        )

    return optax.stateless(lambda updates, _: damped(updates))


def optimizers() -> dict[str, Contender]:
    adamw, adan = optax.adamw(RATE), optax.adan(RATE)
    beside_adamw = {
        "chain(clip_by_global_norm, optax.adamw)": optax.chain(
            optax.clip_by_global_norm(1.0), adamw
        ),
        "chain(agr, optax.adamw)": optax.chain(optaxmods.agr(), adamw),
        "adamw_agr": optaxmods.adamw_agr(RATE),
        ONE_REDUCTION: optax.chain(agr_of_one_reduction(), adamw),
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
        name: Contender(tx, "optax.adamw", adamw)
        for name, tx in beside_adamw.items()
    } | {
        name: Contender(tx, "optax.adan", adan)
        for name, tx in beside_adan.items()
    }


def few(*names: str) -> dict[str, Contender]:
    chosen = optimizers()
    return {name: chosen[name] for name in names}


EVERY = tuple(name for name in optimizers() if name != ONE_REDUCTION)
PEERS = EVERY[:2]  # Clipping, and AGR.
# A decoder takes the TPU's compiler a minute: one contender of each method.
ONE_OF_EACH = "chain(agr, optax.adamw)", "with_lga(optax.adamw)", "adan_agr"


def update(
    target: str,
    place: Place,
    leaves: int,
    size: int,
    limit: float | None = None,
    names: Sequence[str] = EVERY,
) -> Case:
    """The update alone of equal leaves."""

    def make(tx: Any) -> Program:
        tree = programs.kernels(place, leaves, (size, size))
        return programs.update(tx, tree, place)

    title = f"update, {leaves} leaves of {size}x{size}"
    return Case(target, title, make, few(*names), limit)


def perceptron(
    target: str,
    place: Place,
    layers: int,
    examples: int,
    limit: float | None = None,
    names: Sequence[str] = EVERY,
) -> Case:
    """The whole step of a perceptron, on one device or on a mesh."""
    return Case(
        target,
        f"training step, perceptron of {layers} kernels of 2048x2048,"
        f" {examples} examples{on(place)}",
        lambda tx: programs.perceptron(tx, place, layers, examples=examples),
        few(*names),
        limit,
    )


def decoder(
    target: str,
    place: Place,
    limit: float | None = None,
    names: Sequence[str] = ONE_OF_EACH,
) -> Case:
    """The whole step of a decoder, on one device or on a mesh."""
    sizes = programs.Transformer()
    if place.mesh:
        sizes = sizes._replace(examples=4 * place.mesh.shape["data"])
    return Case(
        target,
        f"training step, decoder{on(place)}",
        lambda tx: programs.decoder(tx, place, sizes),
        few(*names),
        limit,
    )


def on(place: Place) -> str:
    """The mesh, as titles have it."""
    if place.mesh is None:
        return ""
    data, model = place.mesh.devices.shape
    axes = AxisType.Explicit if place.is_explicit else AxisType.Auto
    return f", {data} x {model} devices, {axes.name}"


def large_update(target: str, place: Place, limit: float) -> Case:
    """The update alone of a decoder of 7B parameters."""
    return Case(
        target,
        f"update, 7B parameters{on(place)}",
        lambda tx: programs.update(tx, programs.of_7_billion(place), place),
        few(*PEERS, "adan_agr"),
        limit,
    )


def split_update(target: str, place: Place) -> Case:
    """The update alone of small leaves that take turns in how they are split.

    They are those of the page of the mesh.
    """

    def make(tx: Any) -> Program:
        assert place.mesh is not None
        return programs.update(
            tx, split_leaves.make_params(12, place.mesh), place
        )

    title = f"update, 12 leaves split in eight ways{on(place)}"
    return Case(target, title, make, few(*PEERS, "adan_agr"))


def logits(target: str, place: Place) -> Case:
    """The gradient of a last layer, with GAL and without."""
    name = "GradientAdjuster().loss"
    ways = {
        name: {},
        f"{name}, targets": {"in_blocks": True},
        f"{name}, targets and head": {"with_head": True},
    }

    def make(way: Mapping[str, bool] | None) -> Program:
        adjuster = None if way is None else optaxmods.GradientAdjuster()
        return programs.logits_gradient(adjuster, place, **(way or {}))

    return Case(
        target,
        f"gradient of 8192 tokens' logits, 32000 classes{on(place)}",
        make,
        {
            name: Contender(way, "plain loss", None)
            for name, way in ways.items()
        },
    )


def compiled(program: Program) -> Counted:
    lowered = jax.jit(program.function, donate_argnums=program.donated).lower(
        *program.arguments
    )
    return counted(lowered.compile())


def measure(cases: Iterable[Case], only: str) -> list[Row]:
    """Compiles the cases that ``only`` is a part of, one after the other."""
    rows = []
    for case in cases:
        if only not in f"{case.target}: {case.title}":
            continue
        baselines: dict[str, Counted] = {}
        for name, (own, baseline, plain) in case.contenders.items():
            print(f"{case.target}: {case.title}: {name} ...", flush=True)
            if baseline not in baselines:
                baselines[baseline] = compiled(case.make(plain))
            rows.append(
                Row(
                    case.target,
                    case.title,
                    name,
                    baseline,
                    case.limit if name in AGR else None,
                    compiled(case.make(own)),
                    baselines[baseline],
                )
            )
    return rows


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="compile the cases whose titles have this in them, such as"
        " 'update, 4 leaves', and keep the others' rows",
    )


def result(
    path: pathlib.Path,
    made_by: dict[str, str],
    cases: Iterable[Case],
    only: str,
) -> Result:
    """What is counted in the cases' programs; the others' rows stay.

    Raises:
      RefusedError: ``only`` is in no title.
    """
    cases = list(cases)
    rows = measure(cases, only)
    kept = earlier(path, made_by) if only else []
    if not rows:
        raise common.RefusedError(f"--only: no case has {only!r} in its title")
    measured = {(row.target, row.case) for row in rows}
    order = dict.fromkeys(
        [(case.target, case.title) for case in cases]
        + [(row.target, row.case) for row in kept]
    )
    by_case = {
        case: [
            row
            for row in (rows if case in measured else kept)
            if (row.target, row.case) == case
        ]
        for case in order
    }
    return Result(made_by, [row for all_ in by_case.values() for row in all_])


def earlier(path: pathlib.Path, made_by: dict[str, str]) -> list[Row]:
    """The rows of a result; none where other versions made it."""
    if not path.exists():
        return []
    written = json.loads(path.read_text())
    if {name: written.get(name) for name in made_by} != made_by:
        return []
    return [
        Row(
            **row
            | {name: Counted(**row[name]) for name in ("counted", "plain")}
        )
        for row in written["rows"]
    ]


def to_json(result: Result) -> dict[str, Any]:
    """Returns what its file holds."""
    rows = [
        row._replace(
            counted=row.counted._asdict(), plain=row.plain._asdict()
        )._asdict()
        for row in result.rows
    ]
    return {**result.made_by, "rows": rows}


def to_markdown(
    result: Result, title: str, intro: str, ratios: Sequence[str]
) -> str:
    """The page; of the ratios the first one has the limits.

    What counts comes first, where a narrow screen shows it.
    """
    lines = [f"# {title}", "", intro]
    shown = None
    for row in result.rows:
        is_many = bool(row.counted.travels or row.plain.travels)
        if (row.target, row.case) != shown:
            shown = row.target, row.case
            heads = ["method", ratios[0], "limit", *ratios[1:]]
            heads += ["kernels", "temporary MiB"]
            rules = ["---"] + ["---:"] * (len(heads) - 1)
            heads += ["collectives"] * is_many + ["baseline"]
            rules += ["---"] * (is_many + 1)
            lines += ["", f"## {row.target}: {row.case}", ""]
            lines += [_line(heads), _line(rules)]
        limit, ratio = "", _number(row.ratio(ratios[0]))
        if row.limit:
            limit = f"{row.limit:.2f}"
            ratio = f"**{ratio}**" if float(ratio) > row.limit else ratio
        cells = [row.method, ratio, limit]
        cells += [_number(row.ratio(what)) for what in ratios[1:]]
        both = row.counted, row.plain
        cells.append(_beside(str(each.kernels) for each in both))
        cells.append(_beside(f"{x.temporary / 2**20:.1f}" for x in both))
        if is_many:
            cells.append(_beside(_told(each.travels) for each in both))
        lines.append(_line([*cells, row.baseline]))
    return "\n".join(lines) + "\n"


def _beside(both: Iterable[str]) -> str:
    own, plain = both
    return f"{own} ({plain})"


def _number(ratio: float) -> str:
    return "in a loop" if math.isnan(ratio) else f"{ratio:.3f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _told(travels: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in travels.items()) or "none"
