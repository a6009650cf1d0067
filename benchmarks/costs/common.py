"""What the measurements of cost share: options, versions and files."""

import argparse
from collections.abc import Mapping
import importlib.metadata
import pathlib
import sys
from typing import Any

import jax

from benchmarks import cells, writing

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


def check(parser: argparse.ArgumentParser, folder: pathlib.Path) -> None:
    """Ends the program where what it will measure cannot be kept."""
    try:
        writing.check_writable(folder)
    except writing.WriteError as error:
        parser.error(f"--out: {error}")


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
    """Prints a result's page, and writes both.

    First of all it is printed: minutes of measurements outlast a full disk.
    """
    print(markdown)
    path = folder / f"{name}.json"
    try:
        writing.write_atomically(path, cells.to_json(result))
        writing.write_atomically(path.with_suffix(".md"), markdown.encode())
    except writing.WriteError as error:
        sys.exit(str(error))
