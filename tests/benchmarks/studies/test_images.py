"""What the studies of images share, and what every preset names."""

import re

import jax
import jax.numpy as jnp
import pytest

from benchmarks import data, studies
from benchmarks.contenders.makers import WithAdjuster
from benchmarks.studies import _images
from benchmarks.study import PRESETS, Job
from benchmarks.training import adjustments, classification
import optaxmods
from tests.helpers.agr_runs import updates_of


def image_studies():
    """Those that train an image classifier and nothing else."""
    return [
        name
        for name, found in studies.find_all().items()
        if getattr(found.run, "__module__", None) == _images.__name__
    ]


@pytest.fixture
def made(monkeypatch):
    """Stands in for training, and collects what would be trained."""
    calls = []

    def collect(model, make_optimizer, data, **settings):
        calls.append((model, make_optimizer, data, settings))
        ones = jnp.ones((len(settings["seeds"]), 2))
        return classification.Curves(
            *[ones] * len(classification.Curves._fields)
        )

    def collect_adjusted(*args, **settings):
        return classification.outcomes(collect(*args, **settings))

    monkeypatch.setattr(classification, "train", collect)
    monkeypatch.setattr(adjustments, "train", collect_adjusted)
    return calls


@pytest.mark.parametrize("name", image_studies())
def test_every_method_of_a_study_can_be_made(name, made, monkeypatch):
    found = studies.find(name)
    images = jnp.zeros((64, 8, 8, 1))
    split = data.Split(*[data.Examples(images, jnp.arange(64) % 10)] * 2)
    preset = found.presets["smoke"]
    at_hand = all(map(data.is_installed, found.data_sets))
    loaded = found.load(preset.settings, None) if at_hand else split
    for variant in preset.variants or found.variants:
        for method in preset.methods or found.methods:
            settings = {**preset.settings, **found.variants[variant]}
            arguments = found.methods[method].arguments
            job = Job(method, settings, [0, 1], loaded, lambda: None, arguments)
            assert len(found.run(job)) == 2
            _, make, trained_on, given = made[-1]
            assert isinstance(trained_on, data.Split | data.Validated)
            first = settings.get("first_seed", 0)
            assert given["seeds"] == [first, first + 1]
            assert given["learning_rate"] == settings["learning_rate"]
            key = {"key": jax.random.key(0), "value": 1.0}
            optimizer = make(given["learning_rate"])
            if isinstance(make, WithAdjuster):
                theta = optaxmods.adjuster_params(optimizer.init({}))
                key["adjuster_grads"] = theta
            updates_of(optimizer, steps=1, **key)
            # The same object again, or it would be compiled again.
            found.run(job)
            assert made[-1][1] is make
            baseline = found.methods[method].baseline
            assert baseline is None or baseline in found.methods


def test_other_seeds_are_those_that_nobody_saw(made):
    found = studies.find("agr-heavy-tails")
    for variant, expected in {
        "1 degrees": [0, 1],
        "1 degrees, other seeds": [100, 101],
    }.items():
        small = found.presets["small"]
        settings = {**small.settings, **found.variants[variant]}
        found.run(Job("adamw", settings, [0, 1], None, lambda: None))
        assert made[-1][-1]["seeds"] == expected
        assert small.seeds <= 100


def test_what_studies_share_is_no_study():
    assert "agr-digits" in studies.names()
    assert not [name for name in studies.names() if "images" in name]


def test_presets_of_a_study_name_what_it_has():
    for found in studies.find_all().values():
        assert {"smoke", "small", "paper"} <= set(found.presets)
        assert set(found.presets) <= set(PRESETS)
        for preset in found.presets.values():
            assert set(preset.methods or []) <= set(found.methods)
            assert set(preset.variants or []) <= set(found.variants)


def test_every_study_tells_which_table_of_which_paper_it_is():
    for name, found in studies.find_all().items():
        papers = {"agr": "AGR", "gal": "GAL", "lga": "LGA"}
        kind, _, what = found.tables.rpartition("; ")
        assert kind in ("", "none")
        assert what.startswith(papers.get(name.split("-")[0], "all three"))
        if not kind:
            assert re.search(r"(Tables?|Fig\.) [IVX0-9]", what)
            assert found.paper
