"""The studies of LGA's tables."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import data, studies
from benchmarks.contenders import lga
from benchmarks.data import Examples, Nuclei, Validated
from benchmarks.studies import _lga, lga_nuclei, lga_schedulers
from benchmarks.study import Job

NAMES = (
    *("lga-autoencoder", "lga-autoeval", "lga-cifar10", "lga-schedulers"),
    *("lga-nuclei", "lga-bounds", "lga-mnist-optimizers"),
)
STEPS, EPOCHS = 3, 8


def examples_of(shape, labels):
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Examples(jnp.asarray(images), jnp.asarray(labels))


@pytest.mark.parametrize("name", NAMES)
def test_gamma_is_the_papers_for_as_many_steps(name):
    found = studies.find(name)
    for preset in found.presets.values():
        for variant in preset.variants or found.variants:
            settings = {**preset.settings, **found.variants[variant]}
            steps = settings["paper_steps"]
            assert _lga.gamma_of(settings, steps) == 1e-8
            assert _lga.gamma_of(settings, steps // 10) == pytest.approx(1e-7)


def test_a_control_has_several_times_the_rate():
    gradient = {"x": jnp.array([1.0, -2.0])}
    moved = {}
    for name, method in lga.with_faster("sgd", "adam").items():
        make = lga.maker(name, 1e-8, 10, **method.arguments)
        optimizer = optax.with_extra_args_support(make(0.1))
        state = optimizer.init(gradient)
        moved[name], _ = optimizer.update(gradient, state, gradient, value=1.0)
    for plain in "sgd", "adam":
        for factor in 3, 10:
            np.testing.assert_allclose(
                moved[f"{plain}-{factor}x"]["x"],
                factor * moved[plain]["x"],
                rtol=1e-5,
            )


def test_bounds_reach_the_library():
    found = lga.with_bounds("sgd")
    assert [
        found[name].arguments["lga"].get("lower_bound")
        for name in ("lga+sgd", "lga-average+sgd", "lga-momentum+sgd")
    ] == [None, "average", "momentum"]
    assert found["lga-average+sgd"].baseline == "lga+sgd"


def rates_of(variant, losses):
    """Returns SGD's rate at each step, over the one that it begins with."""
    settings = {
        **lga_schedulers.STUDY.presets["small"].settings,
        **lga_schedulers.VARIANTS[variant],
        **{"epochs": EPOCHS, "batch_size": 4},
    }
    images = examples_of((4 * STEPS, 2), np.zeros(4 * STEPS, np.int32))
    job = Job("sgd", settings, [0], None, lambda: None)
    make = lga_schedulers.make(job, images)
    assert lga_schedulers.make(job, images) is make
    optimizer = optax.with_extra_args_support(make(0.5))
    gradient = {"x": jnp.ones(2)}
    state, rates = optimizer.init(gradient), []
    for loss in losses:
        updates, state = optimizer.update(
            gradient, state, gradient, value=jnp.asarray(loss, jnp.float32)
        )
        rates.append(-float(updates["x"][0]) / 0.5)
    return rates


def test_rates_fall_as_pytorchs_do():
    epochs = np.arange(STEPS * EPOCHS) // STEPS
    expected = {
        "CosineAnnealingLR": (1 + np.cos(np.pi * epochs / EPOCHS)) / 2,
        "ExponentialLR": 0.9**epochs,
        "StepLR": np.where(epochs < EPOCHS // 2, 1.0, 0.1),
    }
    for variant, rates in expected.items():
        losses = np.ones(len(epochs))
        np.testing.assert_allclose(
            rates_of(variant, losses), rates, rtol=1e-5, atol=1e-6
        )


def test_a_plateau_is_one_of_epochs():
    # Falling for an epoch, then 14 that bring nothing.
    losses = np.repeat([1.0, *[0.9] * 15], STEPS)
    rates = np.asarray(rates_of("ReduceLROnPlateau", losses))
    np.testing.assert_allclose(rates[: STEPS * 11], 1.0)
    assert rates[-1] == pytest.approx(0.1)


def test_turned_images_are_told_by_how_often():
    labels = np.arange(40, dtype=np.int32) % 10
    part = examples_of((40, 6, 6, 1), labels)
    found = _lga.turned(Validated(part, part, part))
    for each in found:
        np.testing.assert_array_equal(each.labels[:, 0], labels)
        np.testing.assert_array_equal(each.images[..., :1], part.images)
        for image, other, turn in zip(
            part.images, each.images[..., 1], each.labels[:, 1], strict=True
        ):
            back = np.rot90(np.asarray(other), -int(turn))
            np.testing.assert_array_equal(back, image[..., 0])
        assert set(np.asarray(each.labels[:, 1])) == {0, 1, 2, 3}
    assert np.any(found.train.labels[:, 1] != found.test.labels[:, 1])


def test_an_autoencoders_images_are_from_0_to_1():
    parts = Validated(*[examples_of((20, 4, 4, 3), np.zeros(20))] * 3)
    found = _lga.on_unit_interval(parts)
    for each in found:
        np.testing.assert_array_equal(each.images, each.labels)
    np.testing.assert_allclose(found.train.images.min((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(found.train.images.max((0, 1, 2)), 1, rtol=1e-6)


def test_nuclei_are_means_of_windows():
    images = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
    maps = np.zeros((2, 4, 4), np.int32)
    maps[0, :2, :2] = [[3, 3], [0, 0]]  # Half of a window.
    maps[1, 2:, :2] = [[5, 0], [0, 0]]  # A quarter.
    found = lga_nuclei.pooled(Nuclei(images, jnp.asarray(maps)), 2)
    np.testing.assert_allclose(
        found.images[1, 0, 1, 0], images[1, :2, 2:, 0].mean(), rtol=1e-5
    )
    np.testing.assert_array_equal(found.labels[0], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(found.labels[1], np.zeros((2, 2)))


@pytest.mark.parametrize("count", [0, 10])
def test_validation_takes_some_and_leaves_some(count):
    part = examples_of((10, 2), np.arange(10) % 2)
    with pytest.raises(ValueError, match=f"{count} of 10 training examples"):
        data.with_validation(data.Split(part, part), count)
