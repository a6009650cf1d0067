"""What is printed for a terminal: at no width is a name cut."""

import re

import pytest

from benchmarks import __main__ as command_line
from benchmarks import data, studies
from benchmarks.reporting import report
from benchmarks.study import Method
from tests.helpers.made_up import (
    BETTER,
    NAME,
    PLAIN,
    STUDY,
    result_of,
)

LONG = "regularized-with-a-name-that-is-long"
WIDTHS = ["1", "20", "40", "61", "63", "66", "71", "80", "200"]


def words_of(text):
    """Returns what stands between spaces and the lines of tables."""
    return set(re.split(r"[\s│,.:;]+", text))


def listed(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    assert command_line.main(["list"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", WIDTHS)
def test_list_cuts_no_name(width, monkeypatch, capsys):
    printed = listed(width, monkeypatch, capsys)
    assert "…" not in printed
    firsts = [line.strip("│ ").split(" ")[0] for line in printed.splitlines()]
    for name in [*studies.names(), *data.SETS]:
        assert firsts.count(name) >= 1
    for found in studies.find_all().values():
        assert set(found.data_sets) <= words_of(printed)
        for told in found.question, found.tables:
            assert set(told.split()) <= set(printed.split())
    tables = printed.count("┏")
    assert tables == 2 or int(width) <= 80
    assert tables == 0 or int(width) > 40
    for line in printed.splitlines():
        # Nor is a table cut at its right.
        assert not line.startswith("│") or line.endswith("│")


@pytest.mark.parametrize("width", ["20", "40", "80"])
def test_the_words_of_narrow_lines_fit(width, monkeypatch, capsys):
    for line in listed(width, monkeypatch, capsys).splitlines():
        # But for one word that is wider than the terminal.
        assert len(line) <= int(width) or len(line.split()) <= 2


@pytest.mark.parametrize("width", WIDTHS)
def test_a_result_cuts_no_name_and_no_number(width, monkeypatch, capsys):
    methods = STUDY.methods | {LONG: Method("another", "plain")}
    changed = STUDY._replace(methods=methods)
    monkeypatch.setenv("COLUMNS", width)
    scores = {"plain": PLAIN, LONG: BETTER}
    report.print_table(changed, result_of(scores, variant="slow"))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "slow" in printed
    # In the table, in the sentences and among what is compared.
    assert len(re.findall(rf"(?<!\S){LONG}(?!\S)", printed)) >= 3
    together = " ".join(re.sub("[│┃]", " ", printed).split())
    assert "71.3 ± 10.5" in together
    assert f"Compared: {LONG} with plain." in together
    assert NAME not in printed


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", ["run", "list", "report", "demo"])
def test_help_cuts_no_name_and_no_option(command, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    with pytest.raises(SystemExit):
        command_line.main([command, "--help"])
    words = words_of(capsys.readouterr().out)
    # A line that ends in a hyphen ended in the midst of a name.
    assert not [word for word in words if word[:-1] and word[-1] == "-"]
    if command == "run":
        assert set(studies.names()) <= words
