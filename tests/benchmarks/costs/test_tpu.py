"""The cases of the TPU's compiler, which itself need not be there."""

from jax.experimental import topologies
import pytest

from benchmarks.costs import cases, tpu
from benchmarks.costs.__main__ import main
from benchmarks.costs.cases import Result

MADE_BY = dict.fromkeys(("command", "jax", "jaxlib", "libtpu", "optax"), "1.2")


def test_the_page_says_that_nothing_was_run():
    page = tpu.to_markdown(Result(MADE_BY, []))
    assert "libtpu 1.2" in page
    assert "**Compiled, not run**" in page


def test_each_case_has_a_title_of_its_own(monkeypatch):
    monkeypatch.setattr(tpu, "devices", lambda topology: [None] * 256)

    def on_mesh(devices, shape, axis_type):
        del devices
        return shape, axis_type

    monkeypatch.setattr(tpu.programs, "on_mesh", on_mesh)
    for name in (
        *("decoder", "large_update", "split_update", "perceptron", "logits"),
    ):
        monkeypatch.setattr(
            cases,
            name,
            lambda target, place, *sizes, name=name, **others: cases.Case(
                target, f"{name} {place} {sizes}", None, {}
            ),
        )
    found = list(tpu.all_cases(("v5e:2x2", "v6e:2x2")))
    titles = [(case.target, case.title) for case in found]
    assert len(set(titles)) == len(titles)
    assert {case.target for case in found} == {
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
