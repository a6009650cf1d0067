"""What is counted in compiled programs, and the table of it."""

import json

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
import pytest

from benchmarks.costs import mesh, split_leaves
from benchmarks.costs.__main__ import main
from benchmarks.costs.compiled import Collective

pytestmark = pytest.mark.usual_compilation

# Before JAX 0.10 they are not.
JOINED = AxisType.Explicit if jax.__version_info__ >= (0, 10) else None


def test_kinds_are_counted():
    found = [
        Collective("all-reduce", (1,)),
        Collective("all-reduce", (8, 1)),
        Collective("all-gather", (128,)),
    ]
    assert mesh.summarize(found) == {
        "all-reduce": mesh.Counted(count=2, arrays=3, entries=10),
        "all-gather": mesh.Counted(count=1, arrays=1, entries=128),
    }


@pytest.mark.parametrize(
    ("name", "leaves", "axis_type", "numbers"),
    [
        ("chain(agr of layers, optax.adamw)", 12, AxisType.Auto, 29),
        ("chain(agr of layers, optax.adamw)", 12, AxisType.Explicit, 29),
        ("chain(agr of layers, optax.adamw)", 100, AxisType.Auto, 282),
        ("adamw_agr", 12, AxisType.Auto, 16),
        ("adamw_agr", 12, AxisType.Explicit, 16),
        ("adan_agr", 12, AxisType.Auto, 16),
        ("adan_agr", 12, AxisType.Explicit, 16),
    ],
)
def test_agr_adds_few_reductions_of_a_number_a_matrix(
    name, leaves, axis_type, numbers
):
    # A reshape makes the partitioner gather whole gradients.
    method = mesh.make_methods()[name]
    found = mesh.travels(method, leaves, axis_type)
    assert {each.kind for each in found} == {"all-reduce"}
    # A number for each matrix that is split, two where it is over two axes.
    if axis_type == JOINED:
        of_both = P(("data", "model"), None)  # XLA sums at once over these.
        first = split_leaves.SPECS.index(of_both)
        numbers += len(range(first, leaves, len(split_leaves.SPECS)))
    if name == "adan_agr":  # Of the previous gradient, too.
        numbers *= 2
    assert sum(sum(each.sizes) for each in found) == numbers
    assert len(found) == (2 if axis_type == JOINED else 4)


@pytest.mark.parametrize(
    ("leaves", "axis_type"),
    [
        (12, AxisType.Auto),
        (12, AxisType.Explicit),
        (100, AxisType.Auto),
    ],
)
def test_nothing_else_travels(leaves, axis_type):
    plain = mesh.make_methods()["optax.adamw"]
    assert not mesh.travels(plain, leaves, axis_type)


def test_the_command(monkeypatch, tmp_path):
    methods = mesh.make_methods()
    chosen = {
        name: methods[name] for name in ("optax.adamw", "adamw_agr", "adan")
    }
    monkeypatch.setattr(mesh, "make_methods", lambda: chosen)
    main(["mesh", "--out", str(tmp_path), "--leaves", "1"])
    result = json.loads((tmp_path / "mesh_cost.json").read_text())
    assert result["state_bytes"] == {
        "optax.adamw": {"float32": 8.0, "bfloat16": 4.0},
        "adamw_agr": {"float32": 8.0, "bfloat16": 6.0},
        "adan": {"float32": 16.0, "bfloat16": 10.0},
        "adamw_agr(nu_dtype=bfloat16)": {"float32": 6.0, "bfloat16": 4.0},
        "adan(nu_dtype=bfloat16)": {"float32": 14.0, "bfloat16": 8.0},
        "adan(mu_dtype=float32)": {"float32": 16.0, "bfloat16": 16.0},
    }
    assert result["steps"][0] == {
        "method": "optax.adamw",
        "leaves": 1,
        "axes": "Auto",
        "target": "CPU",
        "collectives": {},
    }
    apart = {"count": 2, "arrays": 2, "entries": 2}
    assert result["steps"][1]["collectives"] == {"all-reduce": apart}
    page = (tmp_path / "mesh_cost.md").read_text()
    assert "| optax.adamw | 1 | nothing | nothing |  |  |" in page
    # One matrix, over one axis after the other or over both.
    apart = "2 all-reduce (arrays 2, numbers 2)"
    joined = "1 all-reduce (arrays 1, numbers 1)"
    explicit = joined if JOINED else apart
    assert f"| adamw_agr | 1 | {apart} | {explicit} |" in page
    with pytest.raises(SystemExit):
        main(["mesh", "--out", str(tmp_path), "--leaves", "0"])


def test_steps_for_tpus_have_columns_of_their_own(monkeypatch):
    plain = mesh.make_methods()["optax.adamw"]
    monkeypatch.setattr(mesh, "make_methods", lambda: {"optax.adamw": plain})
    asked = []

    def travels(method, leaves, axis_type, devices):
        del method, axis_type
        asked.append((leaves, devices))
        kind = "all-gather" if devices else "all-reduce"
        return [Collective(kind, (3,))]

    monkeypatch.setattr(mesh, "travels", travels)
    result = mesh.measure((12, 100), ["a TPU"])
    assert asked == [(12, None), (12, ["a TPU"])] * 2 + [(100, None)] * 2
    here = "1 all-reduce (arrays 1, numbers 3)"
    there = "1 all-gather (arrays 1, numbers 3)"
    page = mesh.to_markdown(result)
    assert "benchmarks.costs mesh --tpu`" in page
    assert f"| 12 | {here} | {here} | {there} | {there} |" in page
    assert f"| 100 | {here} | {here} |  |  |" in page
