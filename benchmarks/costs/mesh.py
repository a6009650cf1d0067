"""What the methods add to a sharded step, and to the memory of its state.

``python -m benchmarks.costs mesh`` compiles an optimizer's step for a mesh of
4 x 2 devices and counts what travels between them. The leaves take turns in how
the mesh splits them. Nothing is run and nothing is timed: the counts are those
of the program, and the bytes are those of the state's shapes.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import optax

from benchmarks.costs import common, elsewhere, tpu
from benchmarks.costs.compiled import KINDS, Collective, collectives
from benchmarks.costs.split_leaves import make_params
import optaxmods

DEVICES = 8
LEAVES = (12, 100, 1000)
# The TPU's compiler takes seconds a step.
TPU, TPU_LEAVES = "v5e:2x4", 12
EXAMPLES, CLASSES = 48, 64
ADJUSTER = optaxmods.GradientAdjuster(hidden_sizes=(16,))
# A step of larger trees takes half a minute or more to compile; these are.
LARGE = 300
COUNTED_IF_LARGE = (
    "optax.adamw",
    "chain(agr, optax.adamw)",
    "adamw_agr",
    "adan_agr",
    "chain(lga, optax.adamw)",
    "loss, chain(gal, optax.adamw)",
)


class Method(NamedTuple):
    """An optimizer; ``losses`` has its step begin at the loss of logits.

    Of the state and the logits it makes the logits' gradient, and arguments
    for ``update``.
    """

    tx: optax.GradientTransformation
    losses: Callable[[Any, jax.Array], tuple[jax.Array, dict[str, Any]]] | None


class Counted(NamedTuple):
    """The operations of a kind in a step, and what they carry."""

    count: int
    arrays: int
    entries: int  # On each device.


class Step(NamedTuple):
    """What travels in a step of a method, by the kind of operation."""

    method: str
    leaves: int
    axes: str
    target: str  # CPU or TPU.
    collectives: Mapping[str, Counted]


class Result(NamedTuple):
    """What is counted of all steps and states, and what made it."""

    command: str
    jax: str
    jaxlib: str
    optax: str
    libtpu: str
    steps: Sequence[Step]
    state_bytes: Mapping[str, Mapping[str, float]]  # By method and dtype.
    network_bytes: float


def cross_entropy(logits: jax.Array) -> jax.Array:
    targets = jax.nn.one_hot(jnp.arange(EXAMPLES) % CLASSES, CLASSES)
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def plain(_, logits: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
    return jax.grad(lambda z: cross_entropy(z).mean())(logits), {}


def adjusted(state: Any, logits: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
    theta = optaxmods.adjuster_params(state)
    taught, of_logits = jax.grad(
        lambda theta, z: ADJUSTER.loss(theta, z, cross_entropy)[0],
        argnums=(0, 1),
    )(theta, logits)
    return of_logits, {"adjuster_grads": taught}


def make_methods() -> dict[str, Method]:
    """The plain ones first, then what is set beside them."""
    rate, gamma = 1e-3, 1e-8
    adamw = optax.adamw(rate)
    optimizers = {
        "optax.adamw": adamw,
        "optax.adan": optax.adan(rate),
        "chain(clip_by_global_norm, optax.adamw)": optax.chain(
            optax.clip_by_global_norm(1.0), adamw
        ),
        "chain(agr, optax.adamw)": optax.chain(optaxmods.agr(), adamw),
        "chain(agr of layers, optax.adamw)": optax.chain(
            optaxmods.agr(reduction_axes=(-2, -1)), adamw
        ),
        "adamw_agr": optaxmods.adamw_agr(rate),
        "adan": optaxmods.adan(rate),
        "adan_agr": optaxmods.adan_agr(rate),
        "with_lga(optax.adamw)": optaxmods.with_lga(
            adamw, gamma, status_every=100
        ),
        "chain(lga, optax.adamw)": optax.chain(
            optaxmods.lga(gamma, status_every=100), adamw
        ),
    }
    with_gal = optax.chain(optaxmods.gal(ADJUSTER, CLASSES), adamw)
    return {name: Method(tx, None) for name, tx in optimizers.items()} | {
        "loss, optax.adamw": Method(adamw, plain),
        "loss, chain(gal, optax.adamw)": Method(with_gal, adjusted),
    }


def other_states() -> dict[str, optax.GradientTransformation]:
    """Optimizers whose moments are told a dtype: their bytes alone count."""
    return {
        "adamw_agr(nu_dtype=bfloat16)": optaxmods.adamw_agr(
            1e-3, nu_dtype=jnp.bfloat16
        ),
        "adan(nu_dtype=bfloat16)": optaxmods.adan(1e-3, nu_dtype=jnp.bfloat16),
        "adan(mu_dtype=float32)": optaxmods.adan(1e-3, mu_dtype=jnp.float32),
    }


def sharded_state(
    tx: optax.GradientTransformation, params: Any, mesh: jax.sharding.Mesh
) -> Any:
    """The state's shapes: moments split as their parameters, scalars whole."""

    def split_as(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return optax.tree.map_params(
        tx,
        lambda leaf, param: split_as(leaf, param.sharding),
        jax.eval_shape(tx.init, params),
        params,
        transform_non_params=lambda leaf: split_as(
            leaf, NamedSharding(mesh, P())
        ),
    )


def travels(
    method: Method,
    leaves: int,
    axis_type: AxisType,
    devices: Sequence[Any] | None = None,
) -> list[Collective]:
    """What the devices of the mesh send one another in one step."""
    tx = optax.with_extra_args_support(method.tx)

    def step(params, state, gradients, logits):
        extra, of_logits = {}, None
        if method.losses:
            of_logits, extra = method.losses(state, logits)
        updates, state = tx.update(
            gradients, state, params, value=jnp.float32(2), **extra
        )
        return optax.apply_updates(params, updates), state, of_logits

    mesh = jax.make_mesh(
        (4, 2), ("data", "model"), axis_types=(axis_type,) * 2, devices=devices
    )
    split = NamedSharding(mesh, P("data", "model"))
    logits = jax.ShapeDtypeStruct(
        (EXAMPLES, CLASSES), jnp.float32, sharding=split
    )
    # Nothing may run under a mesh of devices that are not there.
    params = make_params(leaves, mesh)
    state = sharded_state(tx, params, mesh)
    with jax.set_mesh(mesh):
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(
            params, state, params, logits
        )
        return collectives(lowered.compile().as_text() or "")


def summarize(found: Iterable[Collective]) -> dict[str, Counted]:
    """How many there are of each kind, of how many arrays and numbers."""
    by_kind = {kind: [x for x in found if x.kind == kind] for kind in KINDS}
    return {
        kind: Counted(
            count=len(mine),
            arrays=sum(len(each.sizes) for each in mine),
            entries=sum(sum(each.sizes) for each in mine),
        )
        for kind, mine in by_kind.items()
        if mine
    }


def _bytes(tree: Any) -> int:
    return sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def state_bytes(tx: optax.GradientTransformation, dtype: str) -> float:
    """Bytes for each parameter of what is shaped as the parameters are."""
    params = {"kernel": jax.ShapeDtypeStruct((10, 10), dtype)}
    state = jax.eval_shape(tx.init, params)
    moments = optax.tree.map_params(
        tx, lambda leaf: leaf, state, transform_non_params=lambda _: None
    )
    return _bytes(moments) / 100


def network_bytes() -> float:
    """Bytes of GAL's state for each number of its network."""
    state = jax.eval_shape(optaxmods.gal(ADJUSTER, CLASSES).init, {})
    theta = optaxmods.adjuster_params(state)
    numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(theta))
    return round(_bytes(state) / numbers, 2)


def measure(
    leaves: Iterable[int], tpu_devices: Sequence[Any] | None = None
) -> Result:
    """Counts the steps and the states; on TPUs those of few leaves."""
    methods = make_methods()
    states = {name: method.tx for name, method in methods.items()}
    steps = []
    for count, axis_type, (name, method) in itertools.product(
        leaves, (AxisType.Auto, AxisType.Explicit), methods.items()
    ):
        if count > LARGE and name not in COUNTED_IF_LARGE:
            continue
        print(f"{name}, {count} leaves, {axis_type.name} ...", flush=True)
        targets: dict[str, Any] = {"CPU": None}
        if tpu_devices and count == TPU_LEAVES:
            targets["TPU"] = tpu_devices
        steps += [
            Step(
                method=name,
                leaves=count,
                axes=axis_type.name,
                target=target,
                collectives=summarize(
                    travels(method, count, axis_type, devices)
                ),
            )
            for target, devices in targets.items()
        ]
    return Result(
        **common.made_by("mesh --tpu" if tpu_devices else "mesh"),
        optax=optax.__version__,
        libtpu=common.version("libtpu") if tpu_devices else "none",
        steps=steps,
        state_bytes={
            name: {
                dtype: state_bytes(tx, dtype)
                for dtype in ("float32", "bfloat16")
            }
            for name, tx in (states | other_states()).items()
        },
        network_bytes=network_bytes(),
    )


def to_json(result: Result) -> dict[str, Any]:
    """Returns what its file holds."""
    steps = [
        step._asdict()
        | {
            "collectives": {
                kind: counted._asdict()
                for kind, counted in step.collectives.items()
            }
        }
        for step in result.steps
    ]
    return {**result._asdict(), "steps": steps}


def to_markdown(result: Result) -> str:
    lines = [
        "# Cost on a mesh",
        "",
        f"Made by `{result.command}`, jax {result.jax}, jaxlib"
        f" {result.jaxlib}, optax {result.optax}, libtpu {result.libtpu}:"
        " optimizer steps as XLA compiles them for 8 CPU devices, a mesh of"
        f" 4 x 2, and for as many TPUs, {TPU}, which need not be there. The"
        " leaves take turns in eight ways of being split: by one axis, by both,"
        " on one axis of theirs or two, stacked or not, and a bias.",
        "",
        "## What travels",
        "",
        "All that the devices send one another in a step. In brackets:"
        " how many arrays these are, and how many numbers on each device."
        " A sum over two mesh axes is two operations for the CPU's XLA and one"
        " for the TPU's. The CPU's combines at most 256 arrays in one. AGR"
        " joins its sums before that on explicit axes. For TPUs the steps of"
        f" {TPU_LEAVES} leaves alone are compiled, and of trees with more than"
        f" {LARGE} leaves"
        f" {len(COUNTED_IF_LARGE)} steps alone are compiled. A step called"
        " *loss* begins with the gradient of the cross-entropy of"
        f" {EXAMPLES} x {CLASSES} logits, which the mesh splits on both axes;"
        " the others are given their gradients. What GAL gathers is the"
        " gradient of its own network, which is whole on every device.",
        "",
        "| method | leaves | Auto | Explicit | TPU, Auto | TPU, Explicit |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    rows: dict[tuple[str, int], dict[tuple[str, str], str]] = {}
    for step in result.steps:
        row = rows.setdefault((step.method, step.leaves), {})
        row[step.target, step.axes] = _told(step.collectives)
    columns = list(itertools.product(("CPU", "TPU"), ("Auto", "Explicit")))
    for (method, leaves), told in sorted(rows.items(), key=lambda x: x[0][1]):
        cells = (told.get(column, "") for column in columns)
        lines.append(f"| {method} | {leaves} | {' | '.join(cells)} |")
    lines += [
        "",
        "## State",
        "",
        "Bytes for each parameter, by its dtype; beside them are a few"
        " scalars. AGR's and Adan's optimizers keep second moments in float32"
        " unless `nu_dtype` says otherwise. GAL has"
        f" {result.network_bytes:.0f} bytes for each number of its network,"
        " however many parameters there are.",
        "",
        "| method | float32 | bfloat16 |",
        "| --- | ---: | ---: |",
    ]
    for method, sizes in result.state_bytes.items():
        cells_ = " | ".join(f"{size:.2f}" for size in sizes.values())
        lines.append(f"| {method} | {cells_} |")
    return "\n".join(lines) + "\n"


def _told(found: Mapping[str, Counted]) -> str:
    return (
        ", ".join(
            f"{of.count} {kind} (arrays {of.arrays}, numbers {of.entries})"
            for kind, of in found.items()
        )
        or "nothing"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--leaves",
        type=common.positive,
        nargs="+",
        default=LEAVES,
        help="how many leaves the trees have (default: %(default)s)",
    )
    parser.add_argument(
        "--tpu",
        action="store_true",
        help=f"compile those of {TPU_LEAVES} leaves for TPUs, too, with the"
        " compiler that the extra accelerators installs",
    )


def measured(options: argparse.Namespace) -> Result:
    """Returns what is counted of steps and states, on eight CPU devices."""
    if jax.config.values["jax_num_cpu_devices"] != DEVICES:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", DEVICES)
    if not options.tpu:
        return measure(options.leaves)
    with elsewhere.pretending(tpu.PRETENDED):
        return measure(options.leaves, tpu.devices(TPU))
