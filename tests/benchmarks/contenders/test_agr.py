"""What the studies of AGR share: methods, noise and schedules."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import (
    agr_methods,
    classification,
    data,
    noise,
    study,
    train,
)
from benchmarks.studies import agr_small_matrices, agr_suspension
import optaxmods

RATE, DECAY = 0.01, 0.1

# Each method written out, as its description has it.
COMPOSED = {
    "adamw": lambda: optax.adamw(RATE, weight_decay=DECAY),
    "agr+adamw": lambda: optax.chain(
        optaxmods.agr(), optax.adamw(RATE, weight_decay=DECAY)
    ),
    "adamw_agr": lambda: optaxmods.adamw_agr(RATE, weight_decay=DECAY),
    "agr-all+adamw": lambda: optax.chain(
        optaxmods.agr(reduction_axes="all"),
        optax.adamw(RATE, weight_decay=DECAY),
    ),
    "clip+adamw": lambda: optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(RATE, weight_decay=DECAY)
    ),
    "adan": lambda: optaxmods.adan(RATE, weight_decay=DECAY),
    "agr+adan": lambda: optax.chain(
        optaxmods.agr(), optaxmods.adan(RATE, weight_decay=DECAY)
    ),
    "adan_agr": lambda: optaxmods.adan_agr(RATE, weight_decay=DECAY),
    "adan_agr-printed": lambda: optaxmods.adan_agr(
        RATE, weight_decay=DECAY, difference="printed"
    ),
    "clip+adan": lambda: optax.chain(
        optax.clip_by_global_norm(1.0), optaxmods.adan(RATE, weight_decay=DECAY)
    ),
}


def maker(name, weight_decay=DECAY, **others):
    arguments = agr_methods.METHODS[name].arguments
    return agr_methods.maker(name, weight_decay, **arguments, **others)


@functools.cache
def random_tree(seed):
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (3, 4), "bias": (4,)}
    return {
        name: jnp.asarray(rng.normal(size=shape), jnp.float32)
        for name, shape in shapes.items()
    }


def updates_of(optimizer, steps=3, **extra_args):
    """Returns the updates of the first few steps."""
    optimizer = optax.with_extra_args_support(optimizer)
    params = random_tree(0)
    state, updates = optimizer.init(params), []
    for step in range(steps):
        update, state = optimizer.update(
            random_tree(step + 1), state, params, **extra_args
        )
        params = optax.apply_updates(params, update)
        updates.append(update)
    return updates


def assert_close(actual, expected):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-8),
        actual,
        expected,
    )


@pytest.mark.parametrize("name", agr_methods.METHODS)
def test_method_is_what_its_description_says(name):
    made = updates_of(maker(name)(RATE))
    assert_close(made, updates_of(COMPOSED[name]()))


def test_methods_differ():
    kernels = [
        tuple(np.ravel(updates_of(COMPOSED[name]())[-1]["kernel"]).tolist())
        for name in agr_methods.METHODS
        if name not in ("agr-all+adamw",)  # Differs in the bias alone.
    ]
    assert len(set(kernels)) == len(kernels)
    biases = [
        np.asarray(updates_of(COMPOSED[name]())[-1]["bias"])
        for name in ("agr+adamw", "agr-all+adamw")
    ]
    assert np.any(biases[0] != biases[1])


def test_a_method_is_one_object_and_names_a_baseline():
    for name, method in agr_methods.METHODS.items():
        made = maker(name)
        assert made is maker(name)
        assert made is not maker(name, 2 * DECAY)
        assert method.baseline is None or method.baseline in agr_methods.METHODS
        assert not (method.claimed and method.baseline is None)


def test_noise_stands_in_front_of_every_method():
    key = jax.random.key(3)
    first = functools.partial(noise.student_t_noise, 0.5, 2.0)
    made = maker("agr+adamw", first=first)(RATE)
    expected = optax.chain(first(), COMPOSED["agr+adamw"]())
    noisy = updates_of(made, key=key, value=1.0)
    assert_close(noisy, updates_of(expected, key=key, value=1.0))
    plain = updates_of(COMPOSED["agr+adamw"]())
    assert np.any(np.asarray(noisy[1]["kernel"] != plain[1]["kernel"]))


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


@pytest.mark.parametrize("share", agr_suspension.SHARES)
@pytest.mark.parametrize("plain", agr_suspension.PLAIN)
def test_agr_is_suspended_at_the_right_step(share, plain):
    # 12 steps, 4 an epoch; the ninth example is in no batch.
    examples = data.Examples(jnp.zeros((9, 1)), jnp.zeros(9, jnp.int32))
    settings = {"batch_size": 2, "epochs": 3, "weight_decay": DECAY}
    name = agr_suspension.name_of(share, plain)
    job = study.Job(
        name,
        settings,
        [0],
        data.Split(examples, examples),
        lambda: None,
        agr_suspension.METHODS[name].arguments,
    )
    steps = 12 * share // 100
    made = updates_of(agr_suspension.make(job)(RATE), steps=12)

    def with_agr_for(steps):
        def strength(count):
            return jnp.where(count < steps, 1.0, 0.0)

        return optax.chain(optaxmods.agr(strength), COMPOSED[plain]())

    assert_close(made, updates_of(with_agr_for(steps), steps=12))
    one_less = updates_of(with_agr_for(steps - 1), steps=12)
    assert np.any(np.asarray(made[-1]["kernel"] != one_less[-1]["kernel"]))


def image_studies():
    """Those that train an image classifier and nothing else."""
    return [
        name
        for name in study.names()
        if getattr(study.find(name).run, "__module__", None)
        == classification.__name__
    ]


@pytest.fixture
def made(monkeypatch):
    """Stands in for training, and collects what would be trained."""
    calls = []

    def collect(model, make_optimizer, data, **settings):
        calls.append((model, make_optimizer, data, settings))
        ones = jnp.ones((len(settings["seeds"]), 2))
        return train.Curves(ones, ones, ones, ones)

    monkeypatch.setattr(train, "train", collect)
    return calls


@pytest.mark.parametrize("name", image_studies())
def test_every_method_of_a_study_can_be_made(name, made, monkeypatch):
    found = study.find(name)
    images = jnp.zeros((64, 8, 8, 1))
    split = data.Split(*[data.Examples(images, jnp.arange(64) % 10)] * 2)
    preset = found.presets["smoke"]
    at_hand = all(map(data.is_installed, found.data_sets))
    loaded = found.load(preset.settings, None) if at_hand else split
    for variant in preset.variants or found.variants:
        for method in preset.methods or found.methods:
            settings = {**preset.settings, **found.variants[variant]}
            arguments = found.methods[method].arguments
            job = study.Job(
                method, settings, [0, 1], loaded, lambda: None, arguments
            )
            assert len(found.run(job)) == 2
            _, make, trained_on, given = made[-1]
            assert isinstance(trained_on, data.Split)
            assert given["seeds"] == [0, 1]
            assert given["learning_rate"] == settings["learning_rate"]
            key = {"key": jax.random.key(0), "value": 1.0}
            optimizer = make(given["learning_rate"])
            if isinstance(make, train.WithAdjuster):
                theta = optaxmods.adjuster_params(optimizer.init({}))
                key["adjuster_grads"] = theta
            updates_of(optimizer, steps=1, **key)
            # The same object again, or it would be compiled again.
            found.run(job)
            assert made[-1][1] is make
            baseline = found.methods[method].baseline
            assert baseline is None or baseline in found.methods


def test_other_seeds_are_those_that_nobody_saw(made):
    found = study.find("agr-heavy-tails")
    for variant, expected in {
        "1 degrees": [0, 1],
        "1 degrees, other seeds": [100, 101],
    }.items():
        small = found.presets["small"]
        settings = {**small.settings, **found.variants[variant]}
        found.run(study.Job("adamw", settings, [0, 1], None, lambda: None))
        assert made[-1][-1]["seeds"] == expected
        assert small.seeds <= 100


def test_presets_of_a_study_name_what_it_has():
    for name in study.names():
        found = study.find(name)
        assert set(found.presets) == set(study.PRESETS)
        for preset in found.presets.values():
            assert set(preset.methods or []) <= set(found.methods)
            assert set(preset.variants or []) <= set(found.variants)


def test_columns_become_one_of_their_bins():
    rows = np.random.default_rng(0).standard_cauchy((320, 3))
    rows[:, 2] = rows[:, 2] > 0
    targets = jnp.arange(320.0)
    split = data.Split(
        data.Rows(jnp.asarray(rows, jnp.float32), targets),
        data.Rows(jnp.asarray([[1e9, -1e9, 1.0]]), jnp.ones(1)),
    )
    train, test = agr_small_matrices.one_hot(split, [0, 2])
    assert set(np.unique(train.inputs)) == {0, 1}
    np.testing.assert_array_equal(train.inputs.sum(axis=1), 2)
    # Sixteen bins of 20 rows each; of a column of two values no more than 3.
    np.testing.assert_array_equal(train.inputs[:, :16].sum(axis=0), 20)
    assert train.inputs.shape[1] <= 16 + 3
    np.testing.assert_array_equal(test.inputs[0, :16], np.eye(16)[15])
    assert train.targets is targets


def test_small_matrices_come_with_and_without_the_bound():
    methods = agr_small_matrices.METHODS
    halved = [name for name in methods if "-half" in name]
    assert len(halved) == 5
    for name in halved:
        method, whole = methods[name], methods[name.replace("-half", "")]
        assert method.arguments == {**whole.arguments, "max_alpha": 0.5}
        assert method.baseline == whole.baseline


@pytest.mark.parametrize("name", agr_small_matrices.DATA)
def test_targets_are_in_deviations(name):
    split = agr_small_matrices.load({}, None)[name]
    train = np.asarray(split.train.targets, np.float64)
    np.testing.assert_allclose([train.mean(), train.std()], [0, 1], atol=1e-5)
    inputs = np.asarray(split.train.inputs)
    columns = {"column": 1, "table": 10}.get(name)
    if columns:
        np.testing.assert_array_equal(inputs.sum(axis=1), columns)
    else:
        assert inputs.shape == (1437, 64)
