"""Command line: ``python -m benchmarks list | run | report | demo``."""

import argparse
from collections.abc import Sequence
import pathlib
import sys
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

from benchmarks import data, studies
from benchmarks.reporting import report, terminal
from benchmarks.reporting.terminal import Column
from benchmarks.runs import files, names, results, runner
from benchmarks.study import PRESETS, Study

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
        formatter_class=_Formatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_list(commands)
    _add_run(commands)
    _add_report(commands)
    _add_demo(commands)
    return parser


class _Formatter(argparse.HelpFormatter):
    """Breaks lines between words alone: a name or option has hyphens in it."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return terminal.fill(" ".join(text.split()), width).splitlines()

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return terminal.fill(" ".join(text.split()), width, indent)


class _RawFormatter(argparse.RawDescriptionHelpFormatter, _Formatter):
    """Leaves the description's lines as they are."""


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _add_list(commands: _Commands) -> None:
    listing = commands.add_parser(
        "list",
        help="list the studies and the data that they need",
        formatter_class=_Formatter,
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
        epilog=f"The studies: {', '.join(studies.names())}.",
        formatter_class=_Formatter,
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
        choices=PRESETS,
        default="small",
        help="smoke: seconds; small: minutes on two CPU cores; paper: the"
        " paper's epochs, for an accelerator; device, of a few studies: ten"
        " minutes on one H200 (default: %(default)s)",
    )
    _add_data_dir(run)
    _add_choices(run)
    run.add_argument(
        "--variants",
        action="append",
        metavar="NAME[,NAME...]",
        help="the settings to compare, such as 'lr 0.01,lr 0.001', if not the"
        " preset's; a name may have a comma in it, as 'diabetes, 200 epochs'"
        " has; may be given several times",
    )
    _add_out(run, "bench-out")
    run.set_defaults(command=_run)


def _add_report(commands: _Commands) -> None:
    reporting = commands.add_parser(
        "report",
        help="write tables and plots of what has been run",
        formatter_class=_Formatter,
    )
    _add_out(reporting, "bench-out")
    reporting.set_defaults(command=_report)


def _add_demo(commands: _Commands) -> None:
    methods = "\n".join(
        f"  {name:<10} {method.description}"
        for name, method in studies.find("demo").methods.items()
    )
    demo = commands.add_parser(
        "demo",
        help="train a few methods side by side on handwritten digits",
        formatter_class=_RawFormatter,
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
        action="append",
        metavar="NAME[,NAME...]",
        help="what to compare, if not the preset's; may be given several times",
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


def _existing_folder(text: str) -> pathlib.Path:
    folder = pathlib.Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return folder


def _list(options: argparse.Namespace) -> int:
    found = studies.find_all()
    terminal.print_table(
        [
            Column("study", no_wrap=True),
            Column("question", min_width=20),
            Column("table", min_width=12),
            Column("data", min_width=max(map(len, data.SETS))),
        ],
        [
            (name, each.question, each.tables, ", ".join(each.data_sets))
            for name, each in found.items()
        ],
    )
    terminal.print_table(
        [
            Column("data", no_wrap=True),
            Column("what", min_width=16),
            Column("licence", min_width=10),
            Column("state", min_width=10),
        ],
        [
            (
                name,
                each.description,
                each.licence,
                _state(name, options.data_dir),
            )
            for name, each in data.SETS.items()
        ],
    )
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
        _run_one(options, options.study, studies.find(options.study))
        return 0
    for choice in ("methods", "variants"):
        if getattr(options, choice):
            raise ValueError(f"--{choice} goes with one study, not with 'all'")
    for name, found in studies.find_all().items():
        why = _why_not_in_all(found, options)
        if why:
            print(f"{name}: not run, {why}")
            continue
        try:
            _run_one(options, name, found)
        except data.DataError as error:  # The others can run all the same.
            print(f"{name}: not run, {error}")
    return 0


def _why_not_in_all(found: Study, options: argparse.Namespace) -> str:
    """Returns why ``run all`` leaves a study out; nothing where it does not.

    What was downloaded for one study makes no difference to the others.
    """
    preset = found.presets.get(options.preset)
    if preset is None:
        return f"has no preset {options.preset!r}"
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
    options: argparse.Namespace, name: str, found: Study
) -> runner.Done:
    plan = runner.plan(
        found,
        name,
        options.preset,
        out=options.out,
        seeds=options.seeds,
        methods=names.chosen(options.methods or [], found.methods),
        variants=names.chosen(
            getattr(options, "variants", None) or [], found.variants
        ),
        data_dir=options.data_dir,
        overrides=getattr(options, "overrides", None),
    )
    files.check_writable(options.out)
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
        files.check_writable(options.out)
    paths = report.write_all(studies.find_all(), options.out)
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
    study = studies.find("demo")
    done = _run_one(options, "demo", study)
    if not done.finished:
        print(f"To train again, delete {done.folder}.")
    result = results.collect(study, done.folder)
    report.print_table(study, result)
    paths = report.write(study, result, done.folder.parent, name="demo")
    print(f"Wrote {', '.join(map(str, paths))}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
