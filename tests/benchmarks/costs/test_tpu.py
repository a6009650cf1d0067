"""The page of the TPU's compiler; the compiler itself need not be there."""

import json

from jax.experimental import topologies
import pytest

from benchmarks.costs import tpu
from benchmarks.costs.__main__ import main
from benchmarks.costs.compiled import Counted
from benchmarks.costs.tpu import Result, Row

MADE_BY = {
    "command": "the command",
    "jax": "1",
    "jaxlib": "2",
    "libtpu": "3",
    "optax": "4",
}
COUNTED = Counted(1030, 12, 4_000_000, 2**21, {"all-reduce": 2})
ROW = Row("a step", "v5e:2x2", "agr", "adamw", COUNTED, 1.03, 1.024)


def test_page_and_file_have_the_numbers():
    result = Result(MADE_BY, [ROW, ROW._replace(method="adan_agr")])
    page = tpu.to_markdown(result)
    assert page.count("## v5e:2x2: a step") == 1
    assert "| agr | adamw | 1.030 | 1.024 | 12 | 2.0 | 2 all-reduce |" in page
    written = json.loads(json.dumps(tpu.to_json(result)))
    assert written["libtpu"] == "3"
    assert written["rows"][0]["counted"]["travels"] == {"all-reduce": 2}


def test_each_case_has_its_baseline_and_a_title_of_its_own(monkeypatch):
    monkeypatch.setattr(tpu, "devices", lambda topology: [None] * 256)
    monkeypatch.setattr(tpu.programs, "on_mesh", lambda *args: args[2])
    found = list(tpu.cases(("v5e:2x2", "v6e:2x2")))
    titles = [(case.topology, case.title) for case in found]
    assert len(set(titles)) == len(titles)
    assert {case.topology for case in found} == {
        *("v5e:2x2", "v6e:2x2", tpu.EIGHT, tpu.MANY)
    }


def test_no_compiler_is_told_with_the_fix(monkeypatch, tmp_path, capsys):
    def absent(**arguments):
        raise RuntimeError("no libtpu")

    monkeypatch.setattr(topologies, "get_topology_desc", absent)
    with pytest.raises(SystemExit):
        main(["tpu", "--out", str(tmp_path)])
    told = capsys.readouterr().err
    assert "install the extra accelerators" in told
    assert "no libtpu" in told
