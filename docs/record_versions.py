"""Writes what a run of the tests showed into the table of versions.

Usage: record_versions.py REPORT [REPORT ...]

It runs in the environment that the tests ran in, and reads the JUnit reports
that pytest wrote. ``make test RECORD=1`` and its like call it.
"""

import csv
from importlib import metadata
import io
import os
import pathlib
import platform
import re
import sys
import xml.etree.ElementTree as ET

TABLE = pathlib.Path(__file__).with_name("versions.csv")
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
VERSIONS = ("Python", "JAX", "Flax", "Optax", "Orbax", "NumPy")
SHOWN = ("passed", "failed", "skipped", "what failed")


def read(reports):
    """Returns the counts of tests, and the modules in which one failed."""
    suites = [
        suite for path in reports for suite in ET.parse(path).iter("testsuite")
    ]
    total, errors, failures, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "errors", "failures", "skipped")
    )
    modules = {
        case.get("classname", "").removeprefix("tests.")
        for suite in suites
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }
    failed = failures + errors
    return total - failed - skipped, failed, skipped, " ".join(sorted(modules))


def main(reports):
    used = [platform.python_version(), *map(metadata.version, PACKAGES)]
    rows = {}
    if TABLE.exists():
        with TABLE.open(newline="") as lines:
            rows = {
                tuple(row[: len(VERSIONS)]): row
                for row in list(csv.reader(lines))[1:]
            }
    rows[tuple(used)] = [*used, *map(str, read(reports))]

    def by_number(versions):
        return [[int(n) for n in re.findall(r"\d+", v)] for v in versions]

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*VERSIONS, *SHOWN])
    writer.writerows(rows[key] for key in sorted(rows, key=by_number))
    replace(text.getvalue())


def replace(text):
    """Puts a text in the table's place, or leaves the table as it is."""
    new = TABLE.with_name(f".{TABLE.name}.{os.getpid()}.tmp")
    try:
        try:
            new.write_text(text, newline="")
            os.replace(new, TABLE)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        sys.exit(
            f"{TABLE}: cannot be written ({error.strerror}); it is as it was"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
