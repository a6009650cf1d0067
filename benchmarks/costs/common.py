"""What the measurements of cost share: options, versions and files."""

import argparse
from collections.abc import Callable, Mapping, Sequence
import hashlib
import importlib.metadata
import pathlib
import random
import statistics
import sys
from typing import Any

import jax

from benchmarks.runs import files
import optaxmods

RESULTS = pathlib.Path(__file__).parents[1] / "results"
LIBRARY = pathlib.Path(optaxmods.__file__).parent


class RefusedError(Exception):
    """What cannot be measured as it was asked for, in one sentence."""


def rounds(text: str) -> int:
    """Returns a number of rounds; quartiles need two."""
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2, got {number}")
    return number


def positive(text: str) -> int:
    """Returns a number of things, of which there is one at least."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def made_by(cost: str) -> dict[str, str]:
    """The command and the versions that every result is marked with."""
    return {
        "command": f".venv/bin/python -m benchmarks.costs {cost}",
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
    }


def interleaved(
    make: Callable[[], Mapping[str, Callable[[], float]]],
    programs: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Milliseconds of every contender, one number a round.

    Each round runs all of them once, in a new random order. They are made
    again for each of the programs, and run once before, to be compiled.
    """
    order = random.Random(0)
    times: dict[str, list[float]] = {}
    for _ in range(programs):
        contenders = make()
        for number in range(rounds + 1):
            for name in order.sample(list(contenders), len(contenders)):
                elapsed = round(contenders[name](), 4)
                if number:
                    times.setdefault(name, []).append(elapsed)
    return {name: times[name] for name in contenders}


def ratios(
    times: Mapping[str, Sequence[float]],
    plain: float,
    limits: Mapping[str, float],
) -> list[str]:
    """Rows of a table: milliseconds, their ratio to plain ones, the limit."""
    rows = []
    for name, mine in times.items():
        low, middle, high = statistics.quantiles(mine, n=4)
        limit = limits.get(name)
        rows.append(
            f"| {name} | {middle:.2f} | {beside(middle / plain, limit)}"
            f" ({low / plain:.2f} to {high / plain:.2f})"
            f" | {limit or ''} |"
        )
    return rows


def beside(number: float, limit: float | None) -> str:
    """A number with two digits, bold where it is above its limit."""
    is_above = limit is not None and number > limit
    return f"**{number:.2f}**" if is_above else f"{number:.2f}"


def sources() -> str:
    """A digest of the library, and of what is compiled with it."""
    digest = hashlib.sha256()
    here = pathlib.Path(__file__)
    names = "programs.py", "cases.py", "split_leaves.py"
    own = [here.with_name(name) for name in names]
    for path in [*sorted(LIBRARY.rglob("*.py")), *own]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def version(package: str) -> str:
    """Of a package that need not be there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def write(
    folder: pathlib.Path, name: str, result: Mapping[str, Any], markdown: str
) -> None:
    """Prints a result's page, and writes both.

    First of all it is printed: minutes of measurements outlast a full disk.
    """
    print(markdown)
    path = folder / f"{name}.json"
    try:
        files.write_atomically(path, files.to_json(result))
        files.write_atomically(path.with_suffix(".md"), markdown.encode())
    except files.WriteError as error:
        sys.exit(str(error))
