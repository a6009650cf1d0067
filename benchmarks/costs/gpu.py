"""What the GPU's compiler makes of the methods' steps; no GPU is needed.

``python -m benchmarks.costs gpu`` compiles updates and whole training steps for
one GPU and for eight, with XLA's compiler in JAX's CUDA plugin, of which the
extra ``accelerators`` installs what compiles. ``--target`` takes the device's
description, XLA's GpuTargetConfigProto as text. Nothing is run: kernels, bytes
and collectives are counted in the program; this compiler estimates no times. A
ratio is to the same step of the baseline.
"""

import argparse
from collections.abc import Iterator
import pathlib
from typing import Any

from jax.experimental import topologies
from jax.sharding import AxisType
import numpy as np
import optax

from benchmarks.costs import cases, common, elsewhere, programs
from benchmarks.costs.cases import Case, Result
from benchmarks.costs.programs import Place

# The plugin asks for CUDA's libraries, with which nothing is done here.
PRETENDED = {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
H100 = pathlib.Path(__file__).with_name("h100.txtpb")


def all_cases(target: str) -> Iterator[Case]:
    """All that is compiled for a device, by its description."""
    found = devices(target)
    place, name = Place(found[0]), found[0].device_kind
    yield cases.update(name, place, 4, 2048)
    yield cases.update(name, place, 64, 64)
    for layers, limit in ((3, 1.03), (2, None)):
        yield cases.perceptron(name, place, layers, 2048, limit)
    yield cases.decoder(name, place, names=cases.EVERY)
    yield cases.logits(name, place)
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        mesh = programs.on_mesh(np.asarray(found), (4, 2), axis_type)
        yield cases.split_update(name, mesh)
        yield cases.decoder(name, mesh)


def devices(target: str) -> list[Any]:
    """Eight devices, which are of one process."""
    try:
        found = topologies.get_topology_desc(
            platform="cuda", topology="1x1x8", target_config=target
        )
    except Exception as error:  # Of several kinds, by version.
        raise common.RefusedError(
            "there is no compiler for the target: install the extra"
            " accelerators, '.[accelerators]', and give --target an XLA"
            f" GpuTargetConfigProto as text ({str(error).splitlines()[0]})"
        ) from None
    return list(found.devices)


def to_json(result: Result) -> dict[str, Any]:
    return cases.to_json(result)


def to_markdown(result: Result) -> str:
    made = result.made_by
    return cases.to_markdown(
        result,
        "Cost by the GPU's compiler",
        f"Made by `{made['command']}`, jax {made['jax']}, jaxlib"
        f" {made['jaxlib']}, jax-cuda12-pjrt {made['plugin']}, optax"
        f" {made['optax']}. **Compiled, not run**: no GPU was there, and"
        " XLA chose its kernels without timing them. Moved are the bytes that"
        " the program's operations read and write in the device's memory,"
        " counted in its text, caches left aside, as a ratio to the same step"
        " of the baseline. A ratio in bold is above its limit; where blocks"
        " are gone through in a loop, of which one round is counted, there is"
        " none. Kernels, temporary bytes and collectives have the baseline's"
        " own in brackets. Training steps have parameters in float32 and"
        " compute in bfloat16; on a mesh its two axes split every kernel, as"
        " FSDP and tensor parallelism do together.",
        ("moved",),
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        type=pathlib.Path,
        default=H100,
        metavar="FILE",
        help="the device, XLA's GpuTargetConfigProto as text (default:"
        " %(default)s)",
    )
    cases.add_options(parser)


def measured(options: argparse.Namespace) -> Result:
    """Returns what is counted in the programs of all cases."""
    try:
        target = options.target.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise common.RefusedError(
            f"--target: {options.target} cannot be read ({error})"
        ) from None
    made_by = {
        **common.made_by("gpu"),
        "plugin": common.version("jax-cuda12-pjrt"),
        "optax": optax.__version__,
        "sources": common.sources(),
    }
    with elsewhere.pretending(PRETENDED):
        return cases.result(
            options.out / "gpu_cost.json",
            made_by,
            all_cases(target),
            options.only,
        )
