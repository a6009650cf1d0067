"""What was measured is kept, or nothing is measured."""

import pytest

from benchmarks.costs import common
from benchmarks.costs.__main__ import COSTS, main
from tests.helpers.full_disk import largest_file


def test_what_a_cost_measured_is_printed_whatever_the_disk_says(
    tmp_path, capsys
):
    page = "| a step | 5 ms |\n"
    with largest_file(1000), pytest.raises(SystemExit) as exit_info:
        common.write(tmp_path, "step_cost", {"times": "5" * 1000}, page)
    assert str(tmp_path / "step_cost.json") in str(exit_info.value.code)
    assert page in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cost", COSTS)
def test_a_cost_is_not_measured_where_it_cannot_be_kept(cost, tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SystemExit) as exit_info:
        main([cost, "--out", str(tmp_path / "file")])
    assert exit_info.value.code == 2
    assert "--out: cannot write to a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "precious"
