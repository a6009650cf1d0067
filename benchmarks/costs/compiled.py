"""What a compiled program sends between devices."""

import math
import re
from typing import NamedTuple

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
