"""What a compiled program does: its kernels, bytes, and what it sends."""

from collections.abc import Iterator
import math
import re
from typing import NamedTuple

import jax

KINDS = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "collective-permute",
    "reduce-scatter",
)


class Collective(NamedTuple):
    """One operation; XLA combines several arrays into one."""

    kind: str
    sizes: tuple[int, ...]  # Entries of each of its results on one device.


def collectives(program: str) -> list[Collective]:
    """Reads them in the text of a compiled program, ``compiled.as_text()``."""
    found = []
    for result, kind in re.findall(
        rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(", program
    ):
        sizes = (
            math.prod(int(size) for size in shape.split(",") if size)
            for shape in re.findall(r"\[([\d,]*)\]", result)
        )
        found.append(Collective(kind, tuple(sizes)))
    return found


# What a device starts. ConcatBitcast only names slices that lie side by side.
KERNEL = re.compile(
    r" (?:fusion|convolution|dot|custom-call)\((?!.*\"ConcatBitcast\")"
)


class Counted(NamedTuple):
    """What the text and the analyses of a compiled program tell."""

    # The TPU compiler's own estimates; 0 where it gives none.
    cycles: int
    kernels: int  # Fusions and products, of which a device starts each apart.
    moved: int  # Bytes that they read from main memory and write to it.
    temporary: int  # Bytes beside arguments and results.
    travels: dict[str, int]  # How many collectives of each kind.
    loops: int = 0  # Of whose bodies one round is counted, or nothing.


def counted(compiled: jax.stages.Compiled) -> Counted:
    text = compiled.as_text() or ""
    found = collectives(text)
    memory = compiled.memory_analysis()
    entry = text.split("\nENTRY", 1)[-1].split("\n}", 1)[0]
    return Counted(
        sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text))),
        sum(bool(KERNEL.search(line)) for line in entry.splitlines()),
        moved(entry),
        memory.temp_size_in_bytes if memory else 0,
        {
            kind: sum(each.kind == kind for each in found)
            for kind in KINDS
            if any(each.kind == kind for each in found)
        },
        text.count(" while("),
    )


BYTES = {
    **dict.fromkeys(("pred", "s8", "u8"), 1),
    **dict.fromkeys(("bf16", "f16", "s16", "u16"), 2),
    **dict.fromkeys(("f64", "s64", "u64", "c64"), 8),
    "c128": 16,
}
# They only name memory.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}
# Their results hold both ends.
BOTH_ENDS = {
    *("all-gather-start", "all-to-all-start", "async-start"),
    *("collective-permute-start", "reduce-scatter-start"),
}


def moved(entry: str) -> int:
    """Bytes that a program's own operations read and write in main memory.

    Of an array in a memory of its own, such as a TPU's S(1), nothing is moved
    but what comes into it and leaves it.
    """
    sizes, total = {}, 0
    for line in entry.splitlines():
        match = re.match(r"\s*(?:ROOT )?(%\S+) = (.*?) ([\w-]+)\((.*)", line)
        if not match:
            continue
        name, result, kind, rest = match.groups()
        arrays = list(_arrays(result))
        sizes[name] = sum(size for size, is_main in arrays if is_main)
        if kind in ("copy-start", "slice-start"):
            # Both ends are in the result, and a flag.
            total += min(size for size, _ in arrays[:2])
        elif kind in BOTH_ENDS:
            total += sizes[name]
        elif kind not in FREE and not kind.endswith("-done"):
            operands = re.findall(r"%[\w.-]+", rest.split(")")[0])
            total += sizes[name] + sum(sizes.get(each, 0) for each in operands)
    return total


def _arrays(result: str) -> Iterator[tuple[int, bool]]:
    """Each array's bytes, and whether it is in main memory."""
    for dtype, shape, layout in re.findall(
        r"(\w+)\[([\d,]*)\](\{[^}]*\})?", result
    ):
        entries = math.prod(int(size) for size in shape.split(",") if size)
        size = 1 if dtype.startswith("f8") else BYTES.get(dtype, 4)
        yield entries * size, "S(" not in layout
