"""What the methods add to a sharded step, and to the memory of its state.

``python -m benchmarks.mesh_cost`` compiles an optimizer's step for a mesh of
4 x 2 devices and counts what travels between them. The leaves take turns in how
the mesh splits them. Nothing is run and nothing is timed: the counts are those
of the program, and the bytes are those of the state's shapes.
"""

from collections.abc import Iterable, Mapping
import itertools
import math
import os
from typing import Any

# JAX reads this when it first looks for devices; tests set their own number.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import optax

from benchmarks import cost
from benchmarks.collectives import KINDS, Collective, collectives
import optaxmods

LEAVES = (12, 100, 1000)
SPECS = (
    P("data", "model"),
    P("model", "data"),
    P("data", None),
    P(None, "model"),
    P(("data", "model"), None),
    P("model"),
    P(None, "data", "model"),
    P("data", None, None),
)
SIZE = 8  # Of each axis of a leaf.
# Larger trees take minutes to compile; these alone are, for them.
LARGE, COUNTED_IF_LARGE = 300, ("optax.adamw", "chain(agr, optax.adamw)")


def make_optimizers() -> dict[str, optax.GradientTransformation]:
    """The plain ones first, then what is set beside them."""
    rate, gamma = 1e-3, 1e-8
    adamw = optax.adamw(rate)
    return {
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
    }


def make_params(leaves: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    specs = itertools.islice(itertools.cycle(SPECS), leaves)
    return {
        f"leaf_{index}": jax.ShapeDtypeStruct(
            (SIZE,) * len(spec),
            jnp.float32,
            sharding=NamedSharding(mesh, spec),
        )
        for index, spec in enumerate(specs)
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
    tx: optax.GradientTransformation, leaves: int, axis_type: AxisType
) -> list[Collective]:
    """What the devices of the mesh send one another in one step."""
    tx = optax.with_extra_args_support(tx)

    def step(params, state, gradients):
        loss = jnp.float32(2)
        updates, state = tx.update(gradients, state, params, value=loss)
        return optax.apply_updates(params, updates), state

    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        params = make_params(leaves, mesh)
        state = sharded_state(tx, params, mesh)
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(
            params, state, params
        )
        return collectives(lowered.compile().as_text() or "")


def summarize(found: Iterable[Collective]) -> dict[str, dict[str, int]]:
    """How many there are of each kind, and the largest array in them."""
    by_kind = {kind: [x for x in found if x.kind == kind] for kind in KINDS}
    return {
        kind: {
            "count": len(mine),
            "arrays": sum(each.arrays for each in mine),
            "largest": max(each.largest for each in mine),
        }
        for kind, mine in by_kind.items()
        if mine
    }


def state_bytes(tx: optax.GradientTransformation, dtype: str) -> float:
    """Bytes of the state for each of a million parameters."""
    params = {"kernel": jax.ShapeDtypeStruct((1000, 1000), dtype)}
    sizes = [
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(jax.eval_shape(tx.init, params))
    ]
    return round(sum(sizes) / 1_000_000, 4)


def measure(leaves: Iterable[int]) -> dict[str, Any]:
    optimizers = make_optimizers()
    steps = []
    for count, axis_type, (name, tx) in itertools.product(
        leaves, (AxisType.Auto, AxisType.Explicit), optimizers.items()
    ):
        if count > LARGE and name not in COUNTED_IF_LARGE:
            continue
        print(f"{name}, {count} leaves, {axis_type.name} ...", flush=True)
        steps.append(
            {
                "method": name,
                "leaves": count,
                "axes": axis_type.name,
                "collectives": summarize(travels(tx, count, axis_type)),
            }
        )
    return {
        "steps": steps,
        "state_bytes": {
            name: {
                dtype: state_bytes(tx, dtype)
                for dtype in ("float32", "bfloat16")
            }
            for name, tx in optimizers.items()
        },
    }


def to_markdown(result: Mapping[str, Any]) -> str:
    lines = [
        "# Cost on a mesh",
        "",
        f"Made by `{result['command']}`, jax {result['jax']}, jaxlib"
        f" {result['jaxlib']}, optax {result['optax']}: optimizer steps as XLA"
        " compiles them for 8 CPU devices, a mesh of 4 x 2. The leaves take"
        " turns in eight ways of being split: by one axis, by both, on one"
        " axis of theirs or two, stacked or not, and a bias.",
        "",
        "## What travels",
        "",
        "All that the devices send one another in a step. In brackets how"
        " many arrays XLA has combined, and the entries of the largest. A sum"
        " over two mesh axes is two operations for XLA, and it combines at"
        f" most 256 arrays in one. Of trees with more than {LARGE} leaves two"
        " steps alone are compiled.",
        "",
        "| method | leaves | Auto | Explicit |",
        "| --- | ---: | --- | --- |",
    ]
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for step in result["steps"]:
        row = rows.setdefault((step["method"], step["leaves"]), {})
        row[step["axes"]] = _told(step["collectives"])
    for (method, leaves), told in sorted(rows.items(), key=lambda x: x[0][1]):
        lines.append(
            f"| {method} | {leaves} | {told['Auto']} | {told['Explicit']} |"
        )
    lines += [
        "",
        "## State",
        "",
        "Bytes for each parameter.",
        "",
        "| method | float32 | bfloat16 |",
        "| --- | ---: | ---: |",
    ]
    for method, sizes in result["state_bytes"].items():
        cells_ = " | ".join(f"{size:.2f}" for size in sizes.values())
        lines.append(f"| {method} | {cells_} |")
    return "\n".join(lines) + "\n"


def _told(found: Mapping[str, Mapping[str, int]]) -> str:
    return (
        ", ".join(
            f"{of['count']} {kind} ({of['arrays']} arrays, {of['largest']})"
            for kind, of in found.items()
        )
        or "nothing"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = cost.parser("mesh_cost", __doc__)
    parser.add_argument(
        "--leaves",
        type=int,
        nargs="+",
        default=LEAVES,
        help="how many leaves the trees have (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if min(options.leaves) < 1:
        parser.error(f"--leaves must be at least 1, got {options.leaves}")
    result = {
        **cost.made_by("mesh_cost"),
        "optax": optax.__version__,
        **measure(options.leaves),
    }
    cost.write(options.out, "mesh_cost", result, to_markdown(result))


if __name__ == "__main__":
    main()
