"""The table of a step's cost, from made-up times."""

import json
import random
import sys
import types

import chex
import jax
import numpy as np
import pytest

from benchmarks.costs import step, torch_peer
from benchmarks.costs.__main__ import main
from benchmarks.costs.step import Case, Machine, Result, Row

CASE = Case(
    2,
    (3, 4),
    "float32",
    [Row("plain again", "plain"), Row("slow", "plain", 1.5)],
    rounds=3,
)
SECONDS = {
    "plain": [0.001, 0.002, 0.003],
    "plain again": [0.002, 0.003, 0.004],
    "slow": [0.004, 0.005, 0.006],
}
MACHINE = Machine("made up", *["0.0.1"] * 6, device="abacus", cores=1)
TABLE = step.summarize("step", CASE, SECONDS, 0.1)


@pytest.fixture
def measured(monkeypatch):
    """Has nothing measured; returns the times, which may be changed."""
    times = dict(SECONDS)
    monkeypatch.setattr(step, "CASES", [CASE])
    monkeypatch.setattr(step, "ONCE", {"compilation": [CASE]})
    monkeypatch.setattr(step, "machine", lambda: MACHINE)
    monkeypatch.setattr(step, "time_steps", lambda case, order: times)
    monkeypatch.setattr(step, "time_once", lambda what, case, order: times)
    return times


def test_a_row_is_set_against_both_runs_of_its_baseline():
    assert TABLE.case == "2 leaves of 3x4 float32"
    assert TABLE.milliseconds["slow"] == [4.0, 5.0, 6.0]
    again, slow = TABLE.rows
    # The median of 1, 2, 3 is 2; that of 1, 2, 2, 3, 3, 4 is 2.5.
    assert again.baseline_milliseconds == 2.0
    assert again.ratio == 1.5
    assert slow.milliseconds == 5.0
    assert slow.baseline_milliseconds == 2.5
    assert slow.ratio == 2.0
    assert slow.ratio_quartiles == [4 / 2.5, 6 / 2.5]


def page_of(tables):
    return step.to_markdown(Result(MACHINE, tables))


def test_a_ratio_above_its_limit_is_bold():
    page = page_of([TABLE])
    assert "on 1 cores of abacus, jax 0.0.1" in page
    assert "## Step: 2 leaves of 3x4 float32 (3 rounds of 1 programs" in page
    assert (
        "| slow | 5.0 | plain | 2.5 | **2.00** (1.60 to 2.40) | 1.50 |" in page
    )
    assert (
        "| plain again | 3.0 | plain | 2.0 | 1.50 (1.00 to 2.00) |  |" in page
    )
    slow = TABLE.rows[1]._replace(ratio=1.5)
    assert "| 1.50 (1.60" in page_of([TABLE._replace(rows=[slow])])


def medians(folder):
    result = json.loads((folder / "step_cost.json").read_text())
    return {
        table["what"]: table["rows"][1]["milliseconds"]
        for table in result["tables"]
    }


def test_only_replaces_what_is_measured_again(measured, tmp_path):
    main(["step", "--out", str(tmp_path)])
    assert medians(tmp_path) == {"step": 5.0, "compilation": 5.0}
    measured["slow"] = [0.007, 0.008, 0.009]
    main(["step", "--out", str(tmp_path), "--only", "compilation"])
    assert medians(tmp_path) == {"step": 5.0, "compilation": 8.0}
    page = (tmp_path / "step_cost.md").read_text()
    assert page.index("| slow | 5.0") < page.index("| slow | 8.0")


def test_only_keeps_no_tables_of_another_machine(
    measured, tmp_path, monkeypatch, capsys
):
    with pytest.raises(SystemExit):
        main(["step", "--out", str(tmp_path), "--only", "step"])
    main(["step", "--out", str(tmp_path)])
    path = tmp_path / "step_cost.json"
    before = path.read_bytes()
    assert len(step.earlier(path, MACHINE)) == 2
    another = MACHINE._replace(device="slide rule")
    assert step.earlier(path, another) == []
    monkeypatch.setattr(step, "machine", lambda: another)
    with pytest.raises(SystemExit):
        main(["step", "--out", str(tmp_path), "--only", "step"])
    assert (
        "no tables of these versions on this device" in capsys.readouterr().err
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("wrong", [["--rounds", "1"], ["--only", "nonsense"]])
def test_what_cannot_be_measured_is_refused(wrong, measured, tmp_path):
    with pytest.raises(SystemExit):
        main(["step", "--out", str(tmp_path), *wrong])
    assert list(tmp_path.iterdir()) == []


TOY = Case(2, (4, 8), "float32", step.rows(), rounds=2, steps=1)
OPTIMIZERS = step.make_optimizers()


@pytest.mark.parametrize("what", step.ONCE)
def test_what_is_done_once_is_done_for_each_contender(what):
    found = step.time_once(what, TOY, random.Random(0))
    assert set(found) == set(step.methods_of(TOY))
    assert all(len(seconds) == TOY.rounds for seconds in found.values())


def test_a_tracing_ends_before_the_compiler():
    params, gradients = step.make_trees(TOY)
    tx = OPTIMIZERS["chain(agr, optax.adamw)"]
    traced = step.trace_step(tx, params, gradients)()
    shapes = step.abstract_init(tx, params, gradients)()
    assert traced.lower().compile()(params, tx.init(params), gradients)
    assert all(
        isinstance(leaf, jax.ShapeDtypeStruct)
        for leaf in jax.tree.leaves(shapes)
    )


@pytest.mark.parametrize(
    "control", ["a product in float32", "AGR's sums alone"]
)
def test_a_control_leaves_the_gradients_but_for_rounding(control):
    params, gradients = step.make_trees(TOY._replace(dtype="bfloat16"))
    tx = OPTIMIZERS[f"chain({control}, optax.adamw)"]
    plain = OPTIMIZERS["optax.adamw"]
    expected, _ = plain.update(gradients, plain.init(params), params)
    updates, _ = tx.update(gradients, tx.init(params), params)
    chex.assert_trees_all_close(updates, expected, rtol=2**-7)


class Tensor(np.ndarray):
    """An array with the few methods of PyTorch's tensors that are used."""

    grad = None

    def abs(self):
        return abs(self)


class Sgd:
    """In the place of PyTorch's optimizer: subtracts the gradients."""

    def __init__(self, parameters, **arguments):
        assert arguments["fused"]
        self.parameters = parameters

    def step(self):
        for parameter in self.parameters:
            parameter[...] -= parameter.grad


@pytest.fixture
def torch(monkeypatch):
    """Stands in for PyTorch, which need not be there."""

    def tensor(array):
        return np.array(array).view(Tensor)

    stub = types.SimpleNamespace(
        nn=types.SimpleNamespace(Parameter=tensor),
        optim=types.SimpleNamespace(AdamW=Sgd),
        from_numpy=tensor,
    )
    monkeypatch.setitem(sys.modules, "torch", stub)


@pytest.mark.parametrize("with_agr", [False, True])
def test_the_peer_steps_by_the_same_gradients_each_time(torch, with_agr):
    params, gradients = step.make_trees(TOY)
    peer = torch_peer.AdamW(step.RATE, with_agr)
    state = peer.init(params)
    for _ in range(2):
        _, state = peer.step(params, state, gradients)
    for own, leaf, gradient in zip(
        state.parameters, params.values(), gradients.values(), strict=True
    ):
        g = np.asarray(gradient, np.float64)
        moved = g - abs(g) / abs(g).sum() * g if with_agr else g
        np.testing.assert_allclose(own, leaf - 2 * moved, rtol=1e-5, atol=1e-6)
