"""Command line: ``python -m benchmarks demo``."""

import argparse
from collections.abc import Sequence
import pathlib
import shlex
import sys
import tempfile
import time
from typing import NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks import report
from benchmarks.studies import digits_demo

PROGRAM = "python -m benchmarks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    return options.command(options)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


class _HelpFormatter(
    argparse.ArgumentDefaultsHelpFormatter,
    argparse.RawDescriptionHelpFormatter,
):
    """Shows defaults and keeps the line breaks of descriptions."""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Experiments with optaxmods.",
        epilog=f"'{PROGRAM} COMMAND --help' lists a command's options.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    return parser


def _add_demo(commands: "argparse._SubParsersAction[_Parser]") -> None:
    methods = "\n".join(
        f"  {name:<10} {method.description}"
        for name, method in digits_demo.METHODS.items()
    )
    demo = commands.add_parser(
        "demo",
        help="train five methods side by side on handwritten digits",
        formatter_class=_HelpFormatter,
        description=(
            "Trains a small convolutional network on scikit-learn's digits "
            "with several\noptimizers, prints a table of test accuracy and "
            "loss, and writes demo.json,\ndemo.md and demo.png. Nothing is "
            f"downloaded. Methods:\n\n{methods}"
        ),
        epilog=f"A short look: {PROGRAM} demo --epochs 1 --seeds 2",
    )
    demo.add_argument(
        "--out",
        type=_writable_folder,
        default="demo-out",
        metavar="FOLDER",
        help="where the files go; made if it is not there",
    )
    demo.add_argument(
        "--seeds",
        type=_positive,
        default=digits_demo.DEFAULT_SEEDS,
        metavar="N",
        help="runs of each method, with seeds 0 to N - 1",
    )
    demo.add_argument(
        "--epochs",
        type=_positive,
        default=digits_demo.DEFAULT_EPOCHS,
        metavar="N",
        help="passes over the training images",
    )
    demo.add_argument(
        "--methods",
        type=_methods,
        default=",".join(digits_demo.METHODS),
        metavar="NAME[,NAME...]",
        help="what to compare",
    )
    demo.set_defaults(command=_demo)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of 1 or more, not {text!r}"
        )
    return int(text)


def _methods(text: str) -> list[str]:
    # A dictionary drops repetitions and keeps the order.
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in digits_demo.METHODS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"there is no method {', '.join(map(repr, unknown))}; "
            f"the methods are {', '.join(digits_demo.METHODS)}"
        )
    return names


def _writable_folder(text: str) -> pathlib.Path:
    # Checked before minutes of training, by doing it: permission bits do not
    # tell of read-only or full file systems.
    folder = pathlib.Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"cannot write to a folder {text!r}: {error.strerror}"
        ) from error
    return folder


def _progress_bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs,"),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        # A log gets the table, not the bar.
        disable=not console.is_terminal,
        # Each method compiles before its first epoch; an estimate from the
        # last seconds alone would forget that the next one will, too.
        speed_estimate_period=600,
        transient=True,
    )


def _demo(options: argparse.Namespace) -> int:
    seeds = range(options.seeds)
    start = time.perf_counter()
    with _progress_bar() as progress:
        bar = progress.add_task("", total=len(options.methods) * options.epochs)
        curves = digits_demo.run(
            options.methods,
            seeds=seeds,
            epochs=options.epochs,
            on_progress=lambda name, epochs: progress.update(
                bar, advance=epochs, description=name
            ),
        )
    results = report.document(
        digits_demo.configuration(
            options.methods, seeds=seeds, epochs=options.epochs
        ),
        curves,
        wall_seconds=time.perf_counter() - start,
    )
    caption = digits_demo.caption(seeds, options.epochs)
    command = [
        ".venv/bin/python",
        "-m",
        "benchmarks",
        "demo",
        "--seeds",
        str(options.seeds),
    ]
    command += ["--epochs", str(options.epochs)]
    command += ["--methods", ",".join(options.methods)]
    paths = report.write(
        options.out,
        "demo",
        results,
        title="Optimizers side by side on 8x8 digits",
        caption=caption,
        command=shlex.join(command),
    )
    report.print_table(results, caption)
    print(f"Wrote {', '.join(map(str, paths))}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
