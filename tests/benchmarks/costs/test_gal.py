"""The page of GAL's cost, from made-up times and from a trial of two rounds."""

import json

import jax
import pytest

from benchmarks.costs import gal
from benchmarks.costs.__main__ import main
from benchmarks.runs import machine
from benchmarks.study import Device

DEVICE = Device("cpu", "abacus", 1)
RESULT = gal.Result(
    command="made up",
    jax="0.0.1",
    jaxlib="0.0.1",
    device=DEVICE,
    logits_reserved={"without": 2.0, "with": 9.04},
    milliseconds={
        "plain": [1.0, 2.0, 3.0],
        "plain again": [2.0, 3.0, 4.0],
        "loss": [4.0, 5.0, 6.0],
    },
)


def test_ratios_are_to_the_median_of_both_plain_runs():
    page = gal.to_markdown(RESULT)
    assert "Made by `made up` on 1 cores of abacus, jax 0.0.1." in page
    assert "medians of 3 interleaved rounds, of 6 programs" in page
    # The median of 1, 2, 2, 3, 3, 4 is 2.5.
    assert "| plain | 2.00 | 0.80 (0.40 to 1.20) |  |" in page
    assert "| plain again | 3.00 | 1.20 (0.80 to 1.60) |  |" in page
    assert "| loss | 5.00 | 2.00 (1.60 to 2.40) | 1.3 |" in page
    assert "| without | 2.0 |" in page
    assert "| with | 9.0 |" in page


@pytest.fixture
def small(monkeypatch):
    """A model and logits that compile and run at once."""
    monkeypatch.setattr(gal, "SIZES", (3, 4, 5))
    monkeypatch.setattr(gal, "BATCH", 2)
    monkeypatch.setattr(gal, "LOGITS", (2, 3, 4))
    monkeypatch.setattr(gal, "WIDTH", 3)
    monkeypatch.setattr(gal, "STEPS", 1)
    monkeypatch.setattr(gal, "PROGRAMS", 1)
    monkeypatch.setattr(machine, "device", lambda: DEVICE)


@pytest.mark.usefixtures("small")
def test_a_trial_writes_the_numbers_and_their_page(tmp_path, capsys):
    main(["gal", "--out", str(tmp_path), "--rounds", "2"])
    result = json.loads((tmp_path / "gal_cost.json").read_text())
    assert result["command"] == ".venv/bin/python -m benchmarks.costs gal"
    assert result["device"] == DEVICE._asdict()
    contenders = ["plain", "plain again", "loss", "direct"]
    assert list(result["milliseconds"]) == contenders
    for times in result["milliseconds"].values():
        assert len(times) == 2
    # The gradient of the logits has to stand somewhere.
    assert 1 <= result["logits_reserved"]["without GAL"] < 100
    page = (tmp_path / "gal_cost.md").read_text()
    written = gal.Result(**{**result, "device": DEVICE})
    assert page == gal.to_markdown(written)
    assert "A perceptron 3-4-5 at batch size 2" in page
    assert "token logits 2x3x4" in page
    assert page in capsys.readouterr().out


@pytest.mark.skipif(
    jax.__version_info__ < (0, 10, 2),
    reason="what XLA reserves differs between its releases",
)
def test_gal_reserves_an_array_less_than_its_equations_as_written(monkeypatch):
    # Compiled only, for enough logits that all else is small.
    gradients = gal.make_gradients()
    fewer = {
        "with GAL": 1,
        'with `remainder="quadratic"`': 1,
        'with `remainder="finite"`': 0,
    }
    written = "the same, as the paper's equations are written"
    chosen = {name: gradients[name] for name in (*fewer, written)}
    monkeypatch.setattr(gal, "make_gradients", lambda: chosen)
    reserved = gal.reserved()
    for name, count in fewer.items():
        assert reserved[name] < reserved[written] - count + 0.1


@pytest.mark.parametrize("rounds", ["1", "0", "many"])
def test_too_few_rounds_are_refused(rounds, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["gal", "--out", str(tmp_path), "--rounds", rounds])
    assert "--rounds" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
