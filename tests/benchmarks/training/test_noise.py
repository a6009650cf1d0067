"""Wrong labels and heavy-tailed gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import data, studies
from benchmarks.training import noise
from benchmarks.training.classification import CURVES, METRICS
from tests.helpers.agr_runs import random_tree


@pytest.mark.parametrize("share", [0.0, 0.2, 0.45, 1.0])
def test_mislabelling_changes_the_share_of_labels(share):
    count, classes = 1000, 7
    labels = np.arange(count, dtype=np.int32) % classes
    clean = data.Examples(jnp.zeros((count, 1)), jnp.asarray(labels))
    dirty = noise.mislabel(clean, share, classes)
    wrong = np.asarray(dirty.labels)
    assert wrong.dtype == labels.dtype
    assert wrong.min() >= 0
    assert wrong.max() < classes
    assert np.sum(wrong != labels) == round(share * count)
    again = noise.mislabel(clean, share, classes)
    np.testing.assert_array_equal(again.labels, wrong)
    np.testing.assert_array_equal(clean.labels, labels)
    assert dirty.images is clean.images


def test_every_wrong_class_is_as_likely():
    count, classes = 20000, 5
    labels = np.arange(count, dtype=np.int32) % classes
    clean = data.Examples(jnp.zeros((count, 1)), jnp.asarray(labels))
    wrong = np.asarray(noise.mislabel(clean, 1.0, classes).labels)
    shares = np.bincount((wrong - labels) % classes, minlength=classes) / count
    assert shares[0] == 0
    # Six standard deviations of a share of 20,000 draws.
    np.testing.assert_allclose(shares[1:], 0.25, atol=0.02)


def noise_of(updates, key, scale=1.0, degrees=3.0):
    transformation = noise.student_t_noise(scale, degrees)
    state = transformation.init(updates)
    noisy, _ = transformation.update(updates, state, key=key, value=1.0)
    return jax.tree.map(lambda a, b: np.asarray(a - b), noisy, updates)


def test_noise_has_the_scale_of_each_leaf():
    updates = {"large": 100 * jnp.ones((40, 50)), "small": jnp.ones((2000,))}
    updates["small"] = updates["small"] * jnp.array(1e-3)
    drawn = noise_of(updates, jax.random.key(0), scale=0.5)
    # The quartiles of Student's t with 3 degrees of freedom are +-0.7649; the
    # variance of so heavy a tail would take far more draws.
    for name, size in ("large", 100.0), ("small", 1e-3):
        low, high = np.quantile(drawn[name], [0.25, 0.75])
        np.testing.assert_allclose(
            [low, high], np.array([-0.7649, 0.7649]) * 0.5 * size, rtol=0.15
        )
    double = noise_of(updates, jax.random.key(0), scale=1.0)
    np.testing.assert_allclose(
        double["large"], 2 * drawn["large"], rtol=1e-3, atol=1e-3
    )


def test_few_degrees_make_heavy_tails():
    updates = jnp.ones((100, 100))

    def extreme(degrees):
        drawn = noise_of(updates, jax.random.key(1), degrees=degrees)
        return np.max(np.abs(drawn)) / np.median(np.abs(drawn))

    assert extreme(1.0) > 1000 > 30 > extreme(30.0)


def test_noise_follows_its_key():
    updates = random_tree(0)
    drawn = [noise_of(updates, jax.random.key(seed)) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(drawn[0]["kernel"], drawn[1]["kernel"])
    assert np.all(drawn[0]["kernel"] != drawn[2]["kernel"])
    # Leaves draw apart.
    same = {"a": jnp.ones(8), "b": jnp.ones(8)}
    drawn = noise_of(same, jax.random.key(5))
    assert np.all(drawn["a"] != drawn["b"])


def test_training_losses_are_said_to_be_on_wrong_labels():
    for shown in (METRICS, CURVES):
        labels = {e.key: e.label for e in noise.labelled_wrongly(shown)}
        for each in shown:
            wrong = ", wrong labels included" * (each.key == "train_loss")
            assert labels[each.key] == each.label + wrong
    for name in ("agr-label-noise", "gal-digits"):
        found = studies.find(name)
        for each in (*found.metrics, *found.curves):
            told = "wrong labels included" in each.label
            assert told == (each.key == "train_loss")
