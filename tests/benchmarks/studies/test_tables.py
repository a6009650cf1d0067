"""The tests that studies name before they are run, and the papers' rows."""

import pytest

from benchmarks import studies

FOUND = studies.find_all()


@pytest.mark.parametrize("name", [n for n in FOUND if FOUND[n].primary])
def test_a_primary_test_is_of_a_tested_metric_and_is_run(name):
    found = FOUND[name]
    tuning = found.tuning
    assert found.primary.metric in [each.key for each in found.tested]
    known = {**found.methods, **(tuning.contenders if tuning else {})}
    assert known[found.primary.method].baseline in known
    chosen = tuning.variants if tuning else {}
    assert found.primary.variant in {**found.variants, **chosen}
    for setting in chosen.values():
        assert set(setting) <= set(found.variants)
    for contender in tuning.contenders.values() if tuning else ():
        assert set(contender.methods) <= set(found.methods)
    # Also where a preset has not all of them.
    for size, preset in found.presets.items():
        variants = set(preset.variants or found.variants)
        methods = set(preset.methods or found.methods)
        if size == "smoke":
            continue
        places, contenders = [found.primary.variant], [found.primary.method]
        if found.primary.variant in chosen:
            places = chosen[found.primary.variant]
            contenders.append(known[found.primary.method].baseline)
            contenders = [
                method
                for contender in contenders
                for method in tuning.contenders[contender].methods
            ]
        else:
            contenders.append(known[found.primary.method].baseline)
        assert variants & set(places)
        assert methods & set(contenders)


@pytest.mark.parametrize("name", [n for n in FOUND if FOUND[n].paper])
def test_a_papers_rows_are_as_long_as_its_header(name):
    paper = FOUND[name].paper
    for row in paper.rows:
        assert len(row) == len(paper.header)
        assert any(char.isdigit() for char in "".join(row))


@pytest.mark.parametrize(
    "name", [n for n in FOUND if n.startswith("agr") and FOUND[n].tuning]
)
def test_every_method_of_agr_is_tuned_alike(name):
    found = FOUND[name]
    tuning = found.tuning
    assert tuning is not None
    key, contenders, _ = tuning
    assert key == "valid_loss"
    for method, built in found.methods.items():
        tuned = contenders[f"{method}, tuned"]
        assert tuned.methods == [method]
        base = built.baseline
        assert tuned.baseline == (f"{base}, tuned" if base else None)
    # A better rate and a clip are among what is chosen from.
    for preset in found.presets.values():
        rates = [each["learning_rate"] for each in found.variants.values()]
        assert len(set(rates)) > 1
        assert "learning_rate" not in preset.settings or name.endswith("tuned")
    methods = found.presets["small"].methods or list(found.methods)
    assert any(method.startswith("clip+") for method in methods)
