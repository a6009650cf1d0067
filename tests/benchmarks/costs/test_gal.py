"""The page of GAL's cost, from made-up times and from a trial of two rounds."""

import json

import pytest

from benchmarks.costs import gal, logits
from benchmarks.costs.__main__ import main
from benchmarks.runs import machine
from benchmarks.study import Device

DEVICE = Device("cpu", "abacus", 1)
LOGITS_TIMES = {"without GAL": [1.0, 3.0], "without GAL again": [2.0, 2.0]}
RESULT = gal.Result(
    command="made up",
    jax="0.0.1",
    jaxlib="0.0.1",
    device=DEVICE,
    logits=logits.Result(
        reserved={dtype: {"without GAL": 2.0} for dtype in logits.DTYPES},
        milliseconds=dict.fromkeys(logits.DTYPES, LOGITS_TIMES),
        given=LOGITS_TIMES,
        touched={"without GAL": 13.2},
    ),
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
    assert "| loss | 5.00 | **2.00** (1.60 to 2.40) | 1.06 |" in page
    assert "\n".join(logits.to_markdown(RESULT.logits)) in page


@pytest.fixture
def small(monkeypatch):
    """A model that compiles and runs at once, and no token logits."""
    monkeypatch.setattr(gal, "SIZES", (3, 4, 5))
    monkeypatch.setattr(gal, "BATCH", 2)
    monkeypatch.setattr(gal, "STEPS", 1)
    monkeypatch.setattr(logits, "measured", {3: RESULT.logits}.get)
    monkeypatch.setattr(gal, "PROGRAMS", 1)
    monkeypatch.setattr(machine, "device", lambda: DEVICE)


@pytest.mark.usefixtures("small")
def test_a_trial_writes_the_numbers_and_their_page(tmp_path, capsys):
    rounds = ["--rounds", "2", "--logits-rounds", "3"]
    main(["gal", "--out", str(tmp_path), *rounds])
    result = json.loads((tmp_path / "gal_cost.json").read_text())
    assert result["command"] == ".venv/bin/python -m benchmarks.costs gal"
    assert result["device"] == DEVICE._asdict()
    contenders = ["plain", "plain again", "loss", "direct"]
    contenders.append("direct, gradients given")
    assert list(result["milliseconds"]) == contenders
    for times in result["milliseconds"].values():
        assert len(times) == 2
    token_logits = logits.Result(**result["logits"])
    assert token_logits == RESULT.logits
    page = (tmp_path / "gal_cost.md").read_text()
    written = gal.Result(**{**result, "device": DEVICE, "logits": token_logits})
    assert page == gal.to_markdown(written)
    assert "A perceptron 3-4-5 at batch size 2" in page
    assert page in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--rounds", "--logits-rounds"])
@pytest.mark.parametrize("rounds", ["1", "0", "many"])
def test_too_few_rounds_are_refused(rounds, option, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["gal", "--out", str(tmp_path), option, rounds])
    assert f"argument {option}: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
