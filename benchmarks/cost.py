"""What the measurements of cost share: options, versions and the files."""

import argparse
from collections.abc import Mapping
import importlib.metadata
import pathlib
from typing import Any

import jax

from benchmarks import cells

RESULTS = pathlib.Path(__file__).parent / "results"


def parser(
    name: str,
    description: str | None,
    rounds: int | None,
    rounds_help: str,
) -> argparse.ArgumentParser:
    """Returns a parser of the options that each measurement has."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=description
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=RESULTS,
        help=f"folder for {name}.json and .md (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=rounds, help=rounds_help)
    return parser


def parse(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> argparse.Namespace:
    """Returns the options; quartiles need two rounds."""
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 2:
        parser.error(f"--rounds must be at least 2, got {options.rounds}")
    return options


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
