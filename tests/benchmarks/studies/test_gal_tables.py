"""The studies of GAL's tables and of wrong labels."""

import numpy as np
import pytest

from benchmarks import data, studies
from benchmarks.data import Nuclei
from benchmarks.studies import gal_ablation, gal_cifar10, gal_digits, gal_labels

NAMES = ("gal-cifar10", "gal-ablation", "gal-noise", "gal-nuclei-boxes")


@pytest.mark.parametrize("name", [*NAMES, "gal-labels", "gal-words"])
def test_each_names_its_test(name):
    found = studies.find(name)
    primary, small = found.primary, found.presets["small"]
    assert primary.metric == found.metrics[0].key
    contenders = found.tuning.contenders if found.tuning else {}
    places = found.tuning.variants if found.tuning else found.variants
    assert primary.variant in places
    known = {**found.methods, **contenders}
    assert known[primary.method].baseline in known
    run = small.methods or found.methods
    for contender in contenders.values():
        assert set(contender.methods) <= set(run)
        assert contender.baseline is None or contender.baseline in contenders
    if not contenders:
        assert {primary.method, known[primary.method].baseline} <= set(run)


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_rows_are_whole(name):
    paper = studies.find(name).paper
    for row in paper.rows:
        assert len(row) == len(paper.header)
        assert any(char.isdigit() for char in "".join(row))


def test_alpha_and_beta_are_the_papers():
    numbers = {
        plain: [
            gal_cifar10.METHODS[f"gal+{plain}"].arguments[name]
            for name in ("magnitude", "beta")
        ]
        for plain in gal_cifar10.PLAIN
    }
    assert numbers == {
        "sgd": [0.001, 1],
        "lookahead": [0.01, 1],
        "adabound": [0.01, 10],
    }


def test_an_ablation_changes_one_thing():
    changed = {}
    for methods in gal_ablation.OF_SGD, gal_ablation.OF_LOOKAHEAD:
        plain = next(iter(methods))
        whole = methods[f"gal+{plain}"].arguments
        for name, method in methods.items():
            if method.baseline == f"gal+{plain}":
                different = {
                    key: value
                    for key, value in method.arguments.items()
                    if whole.get(key) != value
                }
                assert whole.keys() <= method.arguments.keys()
                assert different, name
                if "cnn" in name:
                    assert different.pop("network") == "convolutions"
                assert len(different) <= 1
                changed[name] = different
    assert changed["gal-alpha-0.1+sgd"] == {"magnitude": 0.1}
    assert changed["gal-cnn-100-32-16+sgd"] == {}
    assert len(changed) == 2 * 16


def test_labels_to_choose_by_are_as_wrong_as_those_to_train_on():
    settings = gal_labels.STUDY.presets["small"].settings
    found = gal_labels.load(settings, None)
    clean = data.with_validation(data.digits(), settings["validation"])
    shares = [
        np.mean(np.asarray(ours.labels != theirs.labels))
        for ours, theirs in zip(found, clean, strict=True)
    ]
    assert shares == pytest.approx([0.1, 0.1, 0.0], abs=2e-3)
    assert [len(part.labels) for part in found] == [1150, 287, 360]


def test_the_question_of_labels_has_60_new_seeds():
    small = gal_labels.STUDY.presets["small"]
    assert small.seeds == 60
    first = small.settings["first_seed"]
    seen = [
        {**gal_digits.STUDY.presets[preset].settings, **variant}.get(
            "first_seed", 0
        )
        + gal_digits.STUDY.presets[preset].seeds
        for preset in ("small", "paper")
        for variant in gal_digits.STUDY.variants.values()
    ]
    assert first >= max(seen)


def test_gal_and_its_controls_have_as_many_numbers_to_choose():
    families = gal_labels.FAMILIES
    assert {len(names) for name, names in families.items() if "+" in name} == {
        2
    }
    assert len(families) == 5


def nuclei(places):
    maps = np.zeros((1, 40, 40), np.int32)
    for number, (rows, columns) in enumerate(places, start=1):
        maps[0, slice(*rows), slice(*columns)] = number
    images = (maps > 0).astype(np.float32)[..., None]
    return Nuclei(images, maps)


@pytest.mark.parametrize("jitter", [0, 3])
def test_a_box_is_where_its_nucleus_is(jitter):
    part = nuclei([((4, 10), (20, 24)), ((30, 34), (2, 12))])
    found = data.windows_with_boxes(
        part, side=16, window=16, jitter=jitter, limit=None
    )
    assert found.images.shape == (2, 16, 16, 1)
    for image, box in zip(found.images, found.labels, strict=True):
        rows, columns = np.nonzero(np.asarray(image)[..., 0])
        centre = [
            columns.min() + columns.max() + 1,
            rows.min() + rows.max() + 1,
        ]
        size = [np.ptp(columns) + 1, np.ptp(rows) + 1]
        np.testing.assert_allclose(
            box, [*np.divide(centre, 32), *np.divide(size, 16)]
        )
        off = np.abs(np.asarray(box[:2]) - 0.5).max() * 16
        assert off <= jitter + 0.5
        assert off > 0 or jitter == 0


def test_a_nucleus_that_does_not_fit_is_left_out():
    part = nuclei([((4, 10), (20, 24)), ((12, 36), (2, 12))])
    options = {"side": 8, "window": 16, "jitter": 0}
    found = data.windows_with_boxes(part, **options, limit=None)
    assert found.images.shape == (1, 8, 8, 1)
    both = nuclei([((4, 10), (20, 24)), ((14, 20), (2, 12))])
    assert len(data.windows_with_boxes(both, **options, limit=1).labels) == 1
