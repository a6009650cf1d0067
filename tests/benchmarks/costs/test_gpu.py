"""The cases of the GPU's compiler, which itself need not be there."""

import jax
from jax.experimental import topologies
import pytest

from benchmarks.costs import gpu
from benchmarks.costs.__main__ import main
from benchmarks.costs.cases import Result

MADE_BY = dict.fromkeys(("command", "jax", "jaxlib", "plugin", "optax"), "1.2")


def test_the_page_says_that_nothing_was_run():
    page = gpu.to_markdown(Result(MADE_BY, []))
    assert "jax-cuda12-pjrt 1.2" in page
    assert "**Compiled, not run**" in page


def test_the_target_goes_to_the_compiler_as_it_is_written(monkeypatch):
    asked = {}

    def topology(**arguments):
        asked.update(arguments)
        return topologies.TopologyDescription(jax.devices())

    monkeypatch.setattr(topologies, "get_topology_desc", topology)
    found = list(gpu.all_cases("a target"))
    assert asked["target_config"] == "a target"
    titles = [case.title for case in found]
    assert len(set(titles)) == len(titles)
    assert "training step, decoder, 4 x 2 devices, Explicit" in titles


def test_no_compiler_is_told_with_the_fix(monkeypatch, tmp_path, capsys):
    def absent(**arguments):
        raise RuntimeError("no plugin")

    monkeypatch.setattr(topologies, "get_topology_desc", absent)
    with pytest.raises(SystemExit):
        main(["gpu", "--out", str(tmp_path)])
    told = capsys.readouterr().err
    assert "install the extra accelerators" in told
    assert "no plugin" in told


def test_a_target_that_is_not_there_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(
            ["gpu", "--out", str(tmp_path), "--target", str(tmp_path / "none")]
        )
    assert "--target: " in capsys.readouterr().err
