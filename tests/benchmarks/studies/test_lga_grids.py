"""The studies of LGA and its controls on grids."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import studies
from benchmarks.contenders import lga
from benchmarks.data import Examples
from benchmarks.reporting import verdicts
from benchmarks.studies import _lga_grids, lga_budget, lga_decay
from benchmarks.study import Job
from tests.helpers.made_up import result_of, table_row

NAMES = ("lga-budget", "lga-decay")
EXAMPLES = Examples(jnp.zeros((12, 2)), jnp.zeros(12, jnp.int32))
GRADIENT = {"x": jnp.array([1.0, -2.0])}


@pytest.mark.parametrize("name", NAMES)
def test_every_contender_has_as_large_a_grid(name):
    found = studies.find(name)
    assert verdicts.is_grid(found)
    names = []
    for contender in found.tuning.contenders.values():
        # Five rates times five values, all of them different.
        rates = {
            (value, rate)
            for value in contender.methods
            for rate in _lga_grids.RATES
        }
        assert len(rates) == 25
        names += contender.methods
    assert set(names) == set(found.methods)
    for settings in found.tuning.variants.values():
        assert [found.variants[s]["learning_rate"] for s in settings] == [
            *_lga_grids.RATES
        ]
    small = found.presets["small"]
    assert small.methods is small.variants is None
    assert small.settings["first_seed"] == 1000
    primary = found.primary
    assert primary.variant in found.tuning.variants
    contender = found.tuning.contenders[primary.method]
    assert contender.baseline in found.tuning.contenders
    assert primary.metric == found.metrics[0].key == "test_loss"


def test_a_rate_alone_has_rates_between_those_of_the_settings():
    rates = sorted(
        rate * method.arguments["rate_factor"]
        for method in _lga_grids.alone("sgd").values()
        for rate in _lga_grids.RATES
    )
    steps = np.diff(np.log10(rates))
    assert steps.max() < 0.13
    assert steps.min() > 0.05


def optimizer_of(study, variant, name, epochs=4, **settings):
    method = study.methods[name]
    given = {
        **study.presets["small"].settings,
        **study.variants[variant],
        **{"batch_size": 4, "epochs": epochs},
        **settings,
    }
    job = Job(name, given, [0], None, lambda: None, method.arguments)
    module = lga_budget if study is lga_budget.STUDY else lga_decay
    make = getattr(module, "make", _lga_grids.make)(job, EXAMPLES)
    return make


def sizes_of(make, count, rate=1.0):
    optimizer = optax.with_extra_args_support(make(rate))
    state, seen = optimizer.init(GRADIENT), []
    for _ in range(count):
        updates, state = optimizer.update(
            GRADIENT, state, GRADIENT, value=jnp.float32(1.0)
        )
        seen.append(float(updates["x"][0]))
    return seen


def test_what_falls_falls_to_the_end_of_its_run():
    # Three steps an epoch.
    name = "falling-0.01+sgd"
    for epochs in 2, 4:
        make = optimizer_of(
            lga_budget.STUDY, "2 epochs, rate 0.1", name, epochs
        )
        steps = 3 * epochs
        sizes = -1 - np.array(sizes_of(make, steps + 1))
        expected = 0.01 * np.arange(steps, -1, -1) / steps
        np.testing.assert_allclose(sizes, expected, atol=1e-6)


def test_budgets_share_the_programs_of_what_does_not_fall():
    for name in "lga-1e-05+sgd", "sign-0.001+sgd", "momentum-0.9":
        first, second = (
            optimizer_of(lga_budget.STUDY, "2 epochs, rate 0.1", name, epochs)
            for epochs in (2, 4)
        )
        assert first is second


def test_momenta_come_as_far_as_sgd():
    far = {}
    for name in "sgd", "momentum-0.5", "momentum-0.8":
        make = optimizer_of(lga_budget.STUDY, "2 epochs, rate 0.1", name)
        far[name] = sizes_of(make, 60)[-1]
    assert far == pytest.approx(dict.fromkeys(far, -1.0), rel=1e-4)


@pytest.mark.parametrize("schedule", lga_decay.SCHEDULES)
def test_a_floor_raises_the_schedule_and_leaves_its_peak(schedule):
    found = {}
    for name in "sgd", "floor-0.3+sgd", "lga-0.0001+sgd":
        make = optimizer_of(
            lga_decay.STUDY, f"{schedule}, rate 0.1", name, epochs=10
        )
        found[name] = -np.array(sizes_of(make, 30))
    plain, raised, pushed = found.values()
    np.testing.assert_allclose(plain[0], 1.0, rtol=1e-6)
    assert plain[-1] < 0.04
    np.testing.assert_allclose(raised, 0.3 + 0.7 * plain, rtol=1e-5)
    # LGA's term does not fall with the rate: 1e-4 of 1 over 1 + 0.01, until
    # the loss's lower bound comes near.
    np.testing.assert_allclose((pushed - plain)[:3], 1e-4 / 1.01, rtol=2e-2)


def test_a_step_is_one_of_the_optimizer():
    make = optimizer_of(lga_decay.STUDY, "linear, rate 0.1", "sgd", epochs=10)
    sizes = -np.array(sizes_of(make, 30))
    np.testing.assert_allclose(sizes, 1 - np.arange(30) / 30, rtol=1e-5)


def budget_result(losses):
    """Returns made-up cells of the longest budget, chosen as they stand."""
    variant = _lga_grids.at_rate("30 epochs", 0.1)
    blank = result_of({"sgd": [0.5] * 2}).cells[0]
    cells = [
        blank._replace(
            variant=variant,
            method=name,
            seed=seed,
            curves={"test_loss": [value + 1 / (1 + e) for e in range(31)]},
            final={"test_loss": value, "valid_loss": value},
        )
        for name, values in losses.items()
        for seed, value in enumerate(values)
    ]
    return result_of({})._replace(cells=cells)


def test_what_is_stopped_early_is_told_beside_lga():
    result = budget_result(
        {
            "sgd": [0.5, 0.6, 0.5],
            "falling-0.001+sgd": [0.4, 0.4, 0.43],
            "lga-1e-05+sgd": [0.2, 0.3, 0.25],
        }
    )
    parts = lga_budget.stopped_early(lga_budget.STUDY, result)
    header = "chosen for the longest"
    row = table_row(f"\n{parts[-1]}", "falling+sgd", header)
    # 0.41 and a third.
    assert row[1] == "0.7433"
    assert row[5] == f"{0.41 + 1 / 31:.4f}"
    # Differences .2, .1, .18.
    assert row[2].startswith("+0.1600 [")
    alone = table_row(f"\n{parts[-1]}", "lga+sgd", header)
    assert alone[2::2] == ["-", "-", "-"]
    assert lga_budget.stopped_early(lga_budget.STUDY, budget_result({})) == []


def test_an_end_of_a_grid_is_told():
    def text_of(*losses):
        result = budget_result({name: [0.1, 0.2] for name in losses})
        return _lga_grids.ends_section(lga_budget.STUDY, result)[-1]

    assert "`lga+sgd, tuned`" in text_of("lga-0.0001+sgd")
    assert text_of("lga-1e-05+sgd").endswith("nothing.")
    # The first of the rates between is an end at the first rate alone.
    assert text_of("sgd").endswith("nothing.")


def test_names_are_those_of_optimizers_that_can_be_made():
    for name in NAMES:
        for method in studies.find(name).methods:
            last = method.split("+")[-1].split("-")[0]
            assert last in lga.OPTIMIZERS
