"""The table of versions, and the workflow that runs what it is made of."""

import csv
import errno
import os
import pathlib
import re
import sys

import jax
import pytest
import yaml

import optaxmods

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs"))

import record_versions  # noqa: E402

REPORT = """<?xml version="1.0" encoding="utf-8"?><testsuites name="tests">
<testsuite name="pytest" errors="{errors}" failures="1" skipped="2" tests="9">
<testcase classname="tests.test_b" name="test_x"><failure/></testcase>
<testcase classname="tests.test_c" name="test_y"><skipped/></testcase>
{more}</testsuite></testsuites>"""
BROKEN = '<testcase classname="tests.test_a" name=""><error/></testcase>'


@pytest.fixture
def table(tmp_path, monkeypatch):
    path = tmp_path / "versions.csv"
    monkeypatch.setattr(record_versions, "TABLE", path)
    return path


def write(folder, name, **parts):
    path = folder / name
    path.write_text(REPORT.format(**parts))
    return path


def rows_of(table):
    with table.open(newline="") as lines:
        return list(csv.reader(lines))


def test_a_run_is_a_row(table, tmp_path):
    reports = (
        write(tmp_path, "usual.xml", errors=0, more=""),
        write(tmp_path, "quick.xml", errors=1, more=BROKEN),
    )
    record_versions.main(reports)
    header, row = rows_of(table)
    assert header == [*record_versions.VERSIONS, *record_versions.SHOWN]
    assert row[1] == jax.__version__
    assert row[-4:] == ["11", "3", "4", "test_a test_b"]


def test_a_run_takes_the_place_of_its_last_and_others_stay(table, tmp_path):
    found = ["0.12.8", "0.2.8", "0.12.8", "2.4.6", "7", "0", "0", ""]
    others = [["3.9", "0.9.2", *found], ["3.100", "0.100.0", *found]]
    with table.open("w", newline="") as lines:
        csv.writer(lines).writerows([["header"], *reversed(others)])
    for errors in (1, 0):
        report = write(tmp_path, "usual.xml", errors=errors, more="")
        record_versions.main([report])
    header, first, mine, last = rows_of(table)
    assert [first, last] == others
    assert header[0] == "Python"
    assert mine[-4:] == ["6", "1", "2", "test_b"]


@pytest.mark.parametrize("call", ["write_text", "replace"])
def test_a_full_disk_leaves_the_table_as_it_is(
    call, table, tmp_path, monkeypatch
):
    table.write_text("Python\n3.9\n")
    report = write(tmp_path, "usual.xml", errors=0, more="")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = record_versions.os if call == "replace" else pathlib.Path
    with monkeypatch.context() as patched:
        patched.setattr(owner, call, full)
        with pytest.raises(SystemExit) as exit_info:
            record_versions.main([report])
    assert str(table) in str(exit_info.value.code)
    assert "No space left" in str(exit_info.value.code)
    assert table.read_text() == "Python\n3.9\n"
    assert sorted(tmp_path.iterdir()) == [report, table]


def test_the_workflow_runs_the_targets_of_make():
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    commands = [
        step["run"]
        for job in jobs.values()
        for step in job["steps"]
        if "run" in step
    ]
    targets = {command.split()[1] for command in commands}
    assert {"test", "test-min", "test-newest"} <= targets
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert targets <= set(made)
    assert all(command.startswith("make ") for command in commands)


def test_a_release_has_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == optaxmods.__version__
    assert citation["license"] == "Apache-2.0"
    titles = [each["title"] for each in citation["references"]]
    text = (ROOT / "README.md").read_text()
    assert titles[2] in text  # The one that has no number.
    changes = (ROOT / "CHANGELOG.md").read_text()
    newest, *_ = re.findall(r"^## (\S+) \(", changes, re.MULTILINE)
    assert newest == optaxmods.__version__
