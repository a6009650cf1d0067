"""What the TPU's compiler makes of the methods' steps; no TPU is needed.

``python -m benchmarks.costs tpu`` compiles updates and whole training steps for
one TPU chip, 8 and 256 of them, with the compiler of libtpu, which the extra
``accelerators`` installs. Nothing is run: cycles are the compiler's own
estimates for its kernels; kernels, bytes and collectives are counted in the
program. A ratio is to the same step of the baseline.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from jax.experimental import topologies
from jax.sharding import AxisType
import numpy as np
import optax

from benchmarks.costs import cases, common, elsewhere, programs
from benchmarks.costs.cases import Case, Result
from benchmarks.costs.programs import Place

# One chip of each kind; the first one has all cases.
TOPOLOGIES = ("v5e:2x2", "v5p:2x2x1", "v6e:2x2")
FEW = *cases.PEERS, cases.ONE_REDUCTION
EIGHT, MANY = "v5e:2x4", "v5e:16x16"
# The compiler asks for these of the machine that it believes to be on.
PRETENDED = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}


def all_cases(one_chip: tuple[str, ...]) -> Iterator[Case]:
    """All that is compiled, the cases of one chip for each of these kinds."""
    for topology in one_chip:
        place = Place(devices(topology)[0])
        if topology == one_chip[0]:
            yield from first(topology, place)
        else:
            yield cases.update(topology, place, 4, 2048, 1.2, FEW)
    for topology, shape in ((EIGHT, (4, 2)), (MANY, (32, 8))):
        for axis_type in (AxisType.Auto, AxisType.Explicit):
            place = programs.on_mesh(
                np.asarray(devices(topology)), shape, axis_type
            )
            if topology == MANY:
                yield cases.large_update(topology, place, 1.2)
            else:
                yield cases.split_update(topology, place)
                yield cases.logits(topology, place)
            limit = 1.03 if topology == MANY else None
            examples = 2048 * shape[0]  # As many a chip as on one.
            yield cases.perceptron(
                topology, place, 3, examples, names=cases.ONE_OF_EACH
            )
            yield cases.decoder(topology, place, limit)


def first(topology: str, place: Place) -> Iterator[Case]:
    names = *cases.EVERY, cases.ONE_REDUCTION
    yield cases.update(topology, place, 4, 2048, 1.12, names)
    few = *cases.PEERS, "with_lga(optax.adamw)", "adan_agr"
    for leaves in (100, 400):
        names = cases.EVERY if leaves == 100 else cases.PEERS
        yield cases.update(topology, place, leaves, 64, 1.1, names)
    for layers, examples, limit in ((3, 2048, 1.03), (2, 2048, 1.15)):
        yield cases.perceptron(topology, place, layers, examples, limit, few)
    for layers, limit in ((3, 1.03), (2, 1.15)):
        yield cases.perceptron(topology, place, layers, 8192, limit, FEW)
    yield cases.decoder(topology, place)
    yield cases.logits(topology, place)


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


def to_json(result: Result) -> dict[str, Any]:
    return cases.to_json(result)


def to_markdown(result: Result) -> str:
    made = result.made_by
    return cases.to_markdown(
        result,
        "Cost by the TPU's compiler",
        f"Made by `{made['command']}`, jax {made['jax']}, jaxlib"
        f" {made['jaxlib']}, libtpu {made['libtpu']}, optax"
        f" {made['optax']}. **Compiled, not run**: no TPU was there. Cycles"
        " are the sum of the compiler's own estimates of its kernels' times,"
        " which leave out plain copies and what chips wait for one another;"
        " moved are the bytes that the program's operations read and write in"
        " HBM, counted in its text; both are ratios to the same step of the"
        " baseline. A ratio in bold is above its limit; where blocks are gone"
        " through in a loop, of which one round is counted, there is none."
        " Kernels, temporary bytes and collectives have the baseline's own in"
        " brackets. Training steps have parameters in float32 and compute in"
        " bfloat16; on a mesh its two axes split every kernel, as FSDP and"
        " tensor parallelism do together.",
        ("cycles", "moved"),
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topology",
        nargs="+",
        default=TOPOLOGIES,
        help="kinds of chip for the cases of one, the first for all of them"
        " (default: %(default)s)",
    )
    cases.add_options(parser)


def measured(options: argparse.Namespace) -> Result:
    """Returns what is counted in the programs of all cases."""
    made_by = {
        **common.made_by("tpu"),
        "libtpu": common.version("libtpu"),
        "optax": optax.__version__,
        "sources": common.sources(),
    }
    with elsewhere.pretending(PRETENDED):
        return cases.result(
            options.out / "tpu_cost.json",
            made_by,
            all_cases(tuple(options.topology)),
            options.only,
        )
