"""Steps beside a plain pass, at a size for any device."""

import json

import jax
import jax.numpy as jnp
import optax
import pytest

from benchmarks.costs import contenders, device, step, timing
from benchmarks.costs.__main__ import main
from benchmarks.costs.device import PASS, Result

CASE = contenders.Case(3, (40, 40), "float32", device.ROWS, rounds=2)
MACHINE = step.Machine("made up", *["0.0.1"] * 6, device="abacus", cores=1)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (PASS, 2),
        ("optax.adamw", 7),
        ("chain(agr, optax.adamw)", 8),
        ("adamw_agr", 8),
        ("with_lga(optax.adamw)", 7),
        ("optax.adan", 11),
        ("adan_agr", 13),
    ],
)
def test_words_that_a_step_has_to_move(method, words):
    found = device.least_bytes(method, CASE) / (3 * 40 * 40 * 4)
    assert words <= found < words + 0.1  # Beside it, a few scalars.


def test_a_plain_pass_writes_what_it_reads():
    tx = device.make_optimizers("float32")[PASS]
    params = {"kernel": jnp.array([[1.0, -2.0]])}
    after, _ = timing.make_step(tx)(
        jax.tree.map(jnp.copy, params), tx.init(params), params
    )
    assert after["kernel"].tolist() == [[-1.0, 2.0]]


def test_what_misses_its_limit_is_bold():
    methods = contenders.methods_of(CASE)
    seconds = {name: [0.001, 0.001] for name in methods}
    seconds["adamw_agr"] = [0.002, 0.002]
    rates = {name: 90e9 for name in methods} | {
        PASS: 100e9,
        "adamw_agr": 45e9,
    }
    table = step.summarize("step", CASE, seconds, 0.1)
    page = device.to_markdown(Result(MACHINE, [table], [rates]))
    adamw = "optax.adamw"
    assert f"| adamw_agr | 2.000 | {adamw} | **2.00** | 1.15 | 45.0 |" in page
    assert "| **0.45** |" in page
    assert (
        f"| chain(agr, {adamw}) | 1.000 | {adamw} | 1.00 | 1.15 | 90.0 | 0.90 |"
        in page
    )


def test_the_cases_have_so_many_parameters():
    found = device.cases(device.PARAMETERS, device.LEAVES, 2)
    assert [case.title for case in found] == [
        "4 leaves of 16384x16384 bfloat16",
        "1024 leaves of 1024x1024 bfloat16",
        "4 leaves of 16384x16384 float32",
        "1024 leaves of 1024x1024 float32",
    ]


def test_the_command_at_a_size_for_any_device(monkeypatch, tmp_path):
    rows = [
        row for row in device.ROWS if row.method in (PASS, "optax.adamw again")
    ]
    monkeypatch.setattr(device, "ROWS", [*rows, device.ROWS[2]])
    options = ["--parameters=8", "--leaves", "2", "--rounds=2"]
    main(["device", *options, "--out", str(tmp_path)])
    written = json.loads((tmp_path / "device_cost.json").read_text())
    assert [table["case"] for table in written["tables"]] == [
        "2 leaves of 2x2 bfloat16",
        "2 leaves of 2x2 float32",
    ]
    assert all(
        rate > 0
        for table in written["tables"]
        for rate in table["bytes_a_second"].values()
    )
    assert optax.__version__ in (tmp_path / "device_cost.md").read_text()


def test_no_parameters_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["device", "--out", str(tmp_path), "--parameters", "0"])
    assert "must be at least 1, got 0" in capsys.readouterr().err
