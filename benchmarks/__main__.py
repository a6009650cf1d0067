"""Command line: ``python -m benchmarks list | run | report | demo``."""

import argparse
from collections.abc import Sequence
import pathlib
import sys
import tempfile
from typing import NoReturn, TypeAlias

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from benchmarks import data, report, runner, study

PROGRAM = "python -m benchmarks"
ALL = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.command(options)
    except (data.DataError, OSError, ValueError) as error:
        parser.error(" ".join(str(error).split()))
    except KeyboardInterrupt:
        print("Stopped; what was finished is kept.", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Experiments with optaxmods.",
        epilog=f"'{PROGRAM} COMMAND --help' lists a command's options.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_list(commands)
    _add_run(commands)
    _add_report(commands)
    _add_demo(commands)
    return parser


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _add_list(commands: _Commands) -> None:
    listing = commands.add_parser(
        "list", help="list the studies and the data that they need"
    )
    _add_data_dir(listing)
    listing.set_defaults(command=_list)


def _add_run(commands: _Commands) -> None:
    run = commands.add_parser(
        "run",
        help="run what is missing of a study",
        description=(
            "Trains every (method, seed) of a study that is not in --out yet;"
            " each is saved the moment it ends, so that a run which was killed"
            " goes on where it was."
        ),
        epilog=f"The studies: {', '.join(study.names())}.",
    )
    run.add_argument(
        "study",
        metavar="STUDY",
        help=f"a study's name, or '{ALL}' for those whose data come with what"
        " is installed or lie in --data-dir: it neither downloads nor looks"
        " into the cache; without an accelerator it leaves out those that"
        " would take hours",
    )
    run.add_argument(
        "--preset",
        choices=study.PRESETS,
        default="small",
        help="smoke: seconds; small: minutes on two CPU cores; paper: the"
        " paper's epochs, for an accelerator (default: %(default)s)",
    )
    _add_data_dir(run)
    _add_choices(run)
    run.add_argument(
        "--variants",
        type=_names,
        metavar="NAME[,NAME...]",
        help="the settings to compare, such as 'lr 0.01,lr 0.001', if not the"
        " preset's",
    )
    _add_out(run, "bench-out")
    run.set_defaults(command=_run)


def _add_report(commands: _Commands) -> None:
    reporting = commands.add_parser(
        "report",
        help="write tables and plots of what has been run",
    )
    _add_out(reporting, "bench-out")
    reporting.set_defaults(command=_report)


def _add_demo(commands: _Commands) -> None:
    methods = "\n".join(
        f"  {name:<10} {method.description}"
        for name, method in study.find("demo").methods.items()
    )
    demo = commands.add_parser(
        "demo",
        help="train a few methods side by side on handwritten digits",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Trains a small convolutional network on scikit-learn's digits "
            "with several\noptimizers, prints a table of test accuracy and "
            "loss, and writes the table as JSON\nand Markdown and the curves "
            f"as PNG. Nothing is downloaded. Methods:\n\n{methods}"
        ),
        epilog=f"A short look: {PROGRAM} demo --epochs 1 --seeds 2",
    )
    demo.add_argument(
        "--epochs",
        type=_positive,
        metavar="N",
        help="passes over the training images, 20 if not given",
    )
    _add_choices(demo)
    _add_out(demo, "demo-out")
    demo.set_defaults(command=_demo)


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=_existing_folder,
        metavar="DIR",
        help="where the official files of the data sets lie; without it they"
        " are downloaded into a cache",
    )


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        type=_positive,
        metavar="N",
        help="runs of each method, with seeds 0 to N - 1, if not the preset's",
    )
    parser.add_argument(
        "--methods",
        type=_names,
        metavar="NAME[,NAME...]",
        help="what to compare, if not the preset's",
    )


def _add_out(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=default,
        metavar="DIR",
        help="the folder of the results (default: %(default)s)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of 1 or more, not {text!r}"
        )
    return int(text)


def _names(text: str) -> list[str]:
    # A dictionary drops repetitions and keeps the order.
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _existing_folder(text: str) -> pathlib.Path:
    folder = pathlib.Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return folder


def _check_writable(folder: pathlib.Path) -> None:
    # Checked before minutes of training, by doing it: permission bits do not
    # tell of read-only or full file systems.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write to a folder {str(folder)!r}: {error.strerror}"
        ) from error


def _list(options: argparse.Namespace) -> int:
    experiments = Table("study", "question", "data")
    for name in study.names():
        found = study.find(name)
        experiments.add_row(name, found.question, ", ".join(found.data_sets))
    sets = Table("data", "what", "licence", "state")
    for name, each in data.SETS.items():
        state = _state(name, options.data_dir)
        sets.add_row(name, each.description, each.licence, state)
    console = Console(highlight=False, markup=False)
    console.print(experiments, sets)
    return 0


def _state(data_set: str, data_dir: pathlib.Path | None) -> str:
    if data.available(data_set, data_dir):
        return "here"
    if data_dir:
        return "not in --data-dir"
    if data.is_downloadable(data_set):
        return "needs a download"
    return "needs --data-dir"


def _run(options: argparse.Namespace) -> int:
    if options.study != ALL:
        _run_one(options, options.study, study.find(options.study))
        return 0
    for choice in ("methods", "variants"):
        if getattr(options, choice):
            raise ValueError(f"--{choice} goes with one study, not with 'all'")
    for name in study.names():
        found = study.find(name)
        why = _why_not_in_all(found, options)
        if why:
            print(f"{name}: not run, {why}")
            continue
        try:
            _run_one(options, name, found)
        except data.DataError as error:  # The others can run all the same.
            print(f"{name}: not run, {error}")
    return 0


def _why_not_in_all(found: study.Study, options: argparse.Namespace) -> str:
    """Returns why ``run all`` leaves a study out; nothing where it does not.

    What was downloaded for one study makes no difference to the others.
    """
    preset = found.presets[options.preset]
    if preset.accelerator and jax.default_backend() == "cpu":
        return "made for an accelerator"
    if options.data_dir:
        missing = [
            s
            for s in found.data_sets
            if not data.available(s, options.data_dir)
        ]
        where = "not in --data-dir"
    else:
        missing = [s for s in found.data_sets if not data.is_installed(s)]
        where = f"has to be in --data-dir for '{ALL}'"
    return f"{', '.join(missing)} {where}" if missing else ""


def _run_one(
    options: argparse.Namespace, name: str, found: study.Study
) -> runner.Done:
    plan = runner.plan(
        found,
        name,
        options.preset,
        out=options.out,
        seeds=options.seeds,
        methods=options.methods,
        variants=getattr(options, "variants", None),
        data_dir=options.data_dir,
        overrides=getattr(options, "overrides", None),
    )
    _check_writable(options.out)
    with _progress_bar() as progress:
        bar = progress.add_task(name, total=None)
        done = runner.run(
            plan,
            start=lambda total: progress.update(bar, total=total),
            advance=lambda label, steps: progress.update(
                bar, advance=steps, description=f"{name}: {label}"
            ),
        )
    print(f"{name}: {done.finished} trained, {done.found} found finished")
    return done


def _progress_bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
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


def _report(options: argparse.Namespace) -> int:
    if options.out.exists():
        _check_writable(options.out)
    paths = report.write_all(options.out)
    if not paths:
        raise ValueError(
            f"nothing has been run into {options.out}; see '{PROGRAM} run'"
        )
    for path in paths:
        print(path)
    return 0


def _demo(options: argparse.Namespace) -> int:
    options.preset, options.data_dir = "small", None
    if options.epochs:
        options.overrides = {"epochs": options.epochs}
    done = _run_one(options, "demo", study.find("demo"))
    if not done.finished:
        print(f"To train again, delete {done.folder}.")
    result = report.collect(done.folder)
    paths = report.write(result, done.folder.parent, name="demo")
    report.print_table(result)
    print(f"Wrote {', '.join(map(str, paths))}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
