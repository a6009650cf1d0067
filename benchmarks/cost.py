"""What the measurements of cost share: options, versions and files."""

import argparse
from collections.abc import Mapping
import importlib.metadata
import pathlib
from typing import Any

import jax

from benchmarks import cells

RESULTS = pathlib.Path(__file__).parent / "results"


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the option that each measurement has."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=description
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=RESULTS,
        help=f"folder for {name}.json and .md (default: %(default)s)",
    )
    return parser


def rounds(text: str) -> int:
    """Returns a number of rounds; quartiles need two."""
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2, got {number}")
    return number


def made_by(name: str) -> dict[str, str]:
    """The command and the versions that every result is marked with."""
    return {
        "command": f".venv/bin/python -m benchmarks.{name}",
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
    }


def write(
    folder: pathlib.Path, name: str, result: Mapping[str, Any], markdown: str
) -> None:
    """Writes a result and its page, and prints the page."""
    path = folder / f"{name}.json"
    cells.write_atomically(path, cells.to_json(result))
    cells.write_atomically(path.with_suffix(".md"), markdown.encode())
    print(markdown)
