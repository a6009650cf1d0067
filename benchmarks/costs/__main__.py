"""Command line: ``python -m benchmarks.costs --help`` lists the costs."""

import argparse
from collections.abc import Sequence
import pathlib

from benchmarks.costs import common, device, gal, gpu, mesh, step, tpu
from benchmarks.runs import files

COSTS = {
    "step": step,
    "gal": gal,
    "mesh": mesh,
    "tpu": tpu,
    "gpu": gpu,
    "device": device,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures one cost, and writes its numbers and their page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.costs",
        description="Measures what the methods cost.",
    )
    commands = parser.add_subparsers(
        dest="cost", metavar="|".join(COSTS), required=True
    )
    for name, cost in COSTS.items():
        described = str(cost.__doc__)
        command = commands.add_parser(
            name, help=described.splitlines()[0], description=described
        )
        command.add_argument(
            "--out",
            type=pathlib.Path,
            default=common.RESULTS,
            help=f"folder for {name}_cost.json and .md (default: %(default)s)",
        )
        cost.add_options(command)
        command.set_defaults(refuse=command.error)
    options = parser.parse_args(arguments)
    cost = COSTS[options.cost]
    try:
        files.check_writable(options.out)
        result = cost.measured(options)
    except files.WriteError as error:
        options.refuse(f"--out: {error}")
    except common.RefusedError as error:
        options.refuse(str(error))
    else:
        page = cost.to_markdown(result)
        common.write(
            options.out, f"{options.cost}_cost", cost.to_json(result), page
        )


if __name__ == "__main__":
    main()
