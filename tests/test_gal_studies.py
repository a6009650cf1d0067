"""What the studies of GAL are made of: methods, theta by seed, regression."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import datasets, metrics, model_selection

from benchmarks import (
    data,
    gal_methods,
    models,
    regression,
    runner,
    study,
    train,
)
from benchmarks.studies import demo, gal_digits, gal_regression
import optaxmods

pytestmark = pytest.mark.usefixtures("quick_compilation")

RATE, SEEDS = 0.01, (0, 5)
CLASSES, WIDTH = 3, 4

# The arguments of GradientAdjuster that a form is to stand for.
FORMS = {
    "gal": {},
    "gal-frozen": {},
    "gal-noise": {"network": gal_methods.NOISE},
    "gal-released": {"convention": "released"},
}
FROZEN = ("gal-frozen", "gal-noise")


def maker(name, num_features=CLASSES, magnitude=0.05, step=0.5, **arguments):
    return gal_methods.maker(
        name, num_features, (8,), magnitude, step, **arguments
    )


def examples(count=24):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, WIDTH)).astype(np.float32)
    labels = rng.integers(0, CLASSES, size=count).astype(np.int32)
    return data.Examples(jnp.asarray(images), jnp.asarray(labels))


def rows(count=40):
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(count, WIDTH)).astype(np.float32)
    targets = inputs[:, 0] - 2 * inputs[:, 1] ** 2 + 3
    return data.Rows(jnp.asarray(inputs), jnp.asarray(targets))


def runs_of(make, model=None, given=None, seeds=SEEDS, **settings):
    """Returns all seeds' runs before training and after each epoch."""
    if model is None:
        model, given = models.MLP(sizes=(5,), num_classes=CLASSES), examples()
    return list(
        train.epochs_of(
            model,
            make,
            given,
            learning_rate=RATE,
            seeds=seeds,
            **{"epochs": 2, "batch_size": 8, **settings},
        )
    )


def theta_of(runs):
    return jax.vmap(optaxmods.adjuster_params)(runs.opt_state)


def at(tree, row):
    return jax.tree.map(lambda leaf: leaf[row], tree)


def assert_close(actual, expected, rtol=1e-4, atol=1e-6):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol),
        actual,
        expected,
    )


def is_same(a, b):
    equal = jax.tree.map(np.array_equal, a, b)
    return all(jax.tree.leaves(equal))


@pytest.mark.parametrize(
    ("form", "vmapped"), [("gal", True), *((form, False) for form in FORMS)]
)
def test_training_is_the_forms_written_out(form, vmapped):
    """One epoch against a loop of optaxmods' documented step."""
    seed = SEEDS[1]
    start, end = runs_of(maker(f"{form}+adam"), epochs=1, vmapped=vmapped)
    adjuster = optaxmods.GradientAdjuster((8,), 0.05, 0.5, **FORMS[form])
    teacher = optax.set_to_zero() if form in FROZEN else optax.adam(RATE)
    key = jax.random.fold_in(jax.random.key(seed), 3)
    tx = optax.chain(
        optaxmods.gal(adjuster, CLASSES, optimizer=teacher, key=key),
        optax.adam(RATE),
    )
    model, given = models.MLP(sizes=(5,), num_classes=CLASSES), examples()
    params = at(start.params, 1)
    state = tx.init(params)
    batches = train.batch_indices(jnp.array([seed], jnp.uint32), 0, 24, 8)[0]
    keys = jax.random.split(train._step_keys(jnp.array([seed]), 0)[0], 3)

    def objective(params, theta, batch, key):
        return adjuster.loss(
            theta,
            model.apply({"params": params}, given.images[batch]),
            lambda z: optax.softmax_cross_entropy_with_integer_labels(
                z, given.labels[batch]
            ),
            key=jax.random.split(key)[0],
        )

    @jax.jit
    def step(params, state, batch, key):
        theta = optaxmods.adjuster_params(state)
        (grads, adjuster_grads), _ = jax.grad(
            objective, argnums=(0, 1), has_aux=True
        )(params, theta, batch, key)
        updates, state = tx.update(
            grads, state, params, adjuster_grads=adjuster_grads
        )
        return optax.apply_updates(params, updates), state

    for batch, key in zip(batches, keys, strict=True):
        params, state = step(params, state, batch, key)
    assert_close(at(end.params, 1), params)
    assert_close(at(theta_of(end), 1), optaxmods.adjuster_params(state))
    plain = runs_of(maker("adam"), epochs=1, vmapped=vmapped)[-1]
    assert not is_same(at(plain.params, 1), params)


def test_theta_is_drawn_by_the_seed_alone():
    drawn = {
        form: theta_of(runs_of(maker(f"{form}+adam"), epochs=0)[0])
        for form in ("gal", "gal-frozen", "gal-released")
    }
    for theta in drawn.values():
        assert is_same(theta, drawn["gal"])
        kernels = theta["layer_0"]["kernel"]
        assert np.all(kernels[0] != kernels[1])
    alone = runs_of(maker("gal+adam"), epochs=0, seeds=SEEDS[1:])[0]
    assert is_same(at(theta_of(alone), 0), at(drawn["gal"], 1))


def test_theta_learns_unless_it_is_frozen():
    for form in FORMS:
        start, *_, end = runs_of(maker(f"{form}+adam"))
        still = is_same(theta_of(start), theta_of(end))
        assert still == (form in FROZEN)


def test_noise_is_drawn_anew_and_for_each_example():
    init, apply = gal_methods.NOISE
    features = jnp.zeros((50, 60))
    theta = init(jax.random.key(0), features)
    drawn = [apply(theta, features, jax.random.key(k)) for k in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.mean(drawn[0] == drawn[2]) < 0.01
    assert np.unique(drawn[0]).size > 2900
    np.testing.assert_allclose(np.std(drawn[0]), 1, atol=0.06)


def test_seeds_start_and_shuffle_alike_whatever_the_method():
    # A magnitude of zero leaves nothing of GAL but its theta.
    nothing = runs_of(maker("gal+adam", magnitude=0.0))
    for ours, theirs in zip(nothing, runs_of(maker("adam")), strict=True):
        assert_close(ours.params, theirs.params)


def test_methods_are_one_object_and_name_their_baseline():
    for plain in "adam", "sgd":
        contenders = gal_methods.methods(*FORMS, plain=plain)
        assert list(contenders) == [plain, *(f"{f}+{plain}" for f in FORMS)]
        for name, method in contenders.items():
            assert maker(name) is maker(name)
            assert method.baseline == (None if name == plain else plain)
            claimed = name.split("+")[0] in ("gal", "gal-released")
            assert method.claimed == claimed


def test_sgd_has_a_rate_of_its_own():
    params = {"w": jnp.array([1.0, -2.0])}
    sgd = maker("sgd")(0.001)
    updates, _ = sgd.update(params, sgd.init(params))
    np.testing.assert_allclose(updates["w"], [-0.1, 0.2], rtol=1e-6)


def test_digits_have_a_tenth_of_wrong_labels():
    settings = gal_digits.STUDY.presets["small"].settings
    loaded, clean = gal_digits.load(settings, None), data.digits()
    wrong = np.mean(np.asarray(loaded.train.labels != clean.train.labels))
    assert wrong == pytest.approx(0.1, abs=1e-3)
    np.testing.assert_array_equal(loaded.test.labels, clean.test.labels)
    assert gal_digits.STUDY.metrics[0].key == "test_loss"
    assert not gal_digits.STUDY.metrics[0].larger_is_better
    assert gal_digits.STUDY.presets["small"].seeds == 20


def test_demo_has_gal_before_adamw():
    settings = demo.STUDY.presets["small"].settings
    job = study.Job("gal+adamw", settings, [0], None, lambda: None)
    made = demo.make(job)
    assert made is demo.make(job)
    assert isinstance(made, train.WithAdjuster)
    assert made.adjuster == optaxmods.GradientAdjuster((100, 32, 16), 0.01, 1.0)
    assert demo.METHODS["gal+adamw"].baseline == "adamw"


@pytest.mark.parametrize("sizes", [(6,), (6, 5)])
def test_regression_is_gradient_descent_on_the_squared_error(sizes):
    model, given = models.Regressor(sizes=sizes), rows(16)

    def mse(params):
        predicted = model.apply({"params": params}, given.inputs)
        return jnp.mean((predicted - given.targets) ** 2)

    start, *_, end = runs_of(
        optax.sgd,
        model,
        given,
        batch_size=16,  # One step an epoch, whose order does not matter.
        objective=regression.LAST_HIDDEN_LAYER,
    )
    params = at(start.params, 0)
    for _ in range(2):
        step = jax.tree.map(lambda g: -RATE * g, jax.grad(mse)(params))
        params = optax.apply_updates(params, step)
    assert_close(at(end.params, 0), params)


def test_gal_adjusts_the_last_hidden_layer():
    model, given, step = models.Regressor(sizes=(6, 5)), rows(16), 1e-3
    make = gal_methods.maker("gal+adam", 5, (8,), 0.05, step)

    def first_updates(objective):
        start = runs_of(make, model, given, epochs=0)[0]
        params, theta = at(start.params, 0), at(theta_of(start), 0)
        gradient = jax.jit(jax.grad(objective, has_aux=True))
        return params, gradient(params, theta)[0]

    def written_out(params, theta):
        weights = params["output"]
        hidden = model.apply(
            {"params": params}, given.inputs, method="features"
        )

        def losses(z):
            predicted = z @ weights["kernel"][:, 0] + weights["bias"][0]
            return (predicted - given.targets) ** 2

        return make.adjuster.loss(theta, hidden, losses)

    params, expected = first_updates(written_out)
    # Adam's first step is the sign of the gradient, times the rate: SGD shows
    # more of it.
    descend = train.WithAdjuster(
        make.adjuster,
        lambda rate, key: optax.chain(
            optaxmods.gal(make.adjuster, 5, key=key), optax.sgd(rate)
        ),
    )
    end = runs_of(
        descend,
        model,
        given,
        epochs=1,
        batch_size=16,
        objective=regression.LAST_HIDDEN_LAYER,
    )[-1]
    moved = jax.tree.map(lambda p, g: p - RATE * g, params, expected)
    assert_close(at(end.params, 0), moved)

    def plain(params, theta):
        return written_out(params, theta)[0] * 0 + jnp.mean(
            (model.apply({"params": params}, given.inputs) - given.targets) ** 2
        ), None

    # The output layer learns as without GAL, those before it do not.
    _, unadjusted = first_updates(plain)
    assert_close(expected["output"], unadjusted["output"])
    kernels = [g["hidden_1"]["kernel"] for g in (expected, unadjusted)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


def test_regression_is_measured_as_scikit_learn_does(monkeypatch):
    monkeypatch.setattr(train, "MEASURED_TRAIN", 7)
    model, split = models.Regressor(sizes=(6,)), data.Split(rows(30), rows(11))
    epochs = []
    outcomes = regression.train_and_measure(
        model,
        optax.sgd,
        split,
        learning_rate=RATE,
        seeds=SEEDS,
        epochs=4,
        batch_size=8,
        measure_every=2,
        on_epoch=lambda: epochs.append(1),
    )
    assert len(epochs) == 4
    end = runs_of(
        optax.sgd,
        model,
        split.train,
        epochs=4,
        objective=regression.LAST_HIDDEN_LAYER,
    )[-1]
    for row, outcome in enumerate(outcomes):
        variables = {"params": at(end.params, row)}
        tested = split.test.targets, model.apply(variables, split.test.inputs)
        first = model.apply(variables, split.train.inputs[:7])
        expected = {
            "test_r2": metrics.r2_score(*tested),
            "test_mse": metrics.mean_squared_error(*tested),
            "test_mae": metrics.mean_absolute_error(*tested),
            "train_mse": metrics.mean_squared_error(
                split.train.targets[:7], first
            ),
        }
        assert set(outcome.final) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(outcome.final[name], value, rtol=1e-4)
        for curve in regression.CURVES:
            assert len(outcome.curves[curve.key]) == 3
            assert outcome.curves[curve.key][-1] == outcome.final[curve.key]


def test_split_is_scikit_learns_and_the_papers():
    inputs, targets = datasets.load_diabetes(return_X_y=True, scaled=False)
    train_inputs, test_inputs, train_targets, test_targets = (
        model_selection.train_test_split(inputs, targets, random_state=1)
    )
    split = data.diabetes(split=data.quarter_indices)
    np.testing.assert_allclose(split.test.targets, test_targets)
    np.testing.assert_allclose(split.train.targets, train_targets)
    mean, deviation = train_inputs.mean(axis=0), train_inputs.std(axis=0)
    np.testing.assert_allclose(
        split.test.inputs,
        (test_inputs - mean) / deviation,
        rtol=1e-4,
        atol=1e-5,
    )
    # MSE / (1 - R2) is the variance of what is tested on.
    papers = [r for r in gal_regression.PAPER.rows if r[1][0] in "BP"][2:4]
    for row in papers:
        mse, r2 = (float(x.strip("*").split("±")[0]) for x in row[3:])
        assert mse / (1 - r2) == pytest.approx(np.var(test_targets), rel=3e-4)


def test_a_row_alone_cannot_be_split():
    with pytest.raises(data.DataError, match="one: 1 example"):
        data.quarter_indices(1, "one")


def test_regression_takes_the_papers_settings(monkeypatch):
    calls = []
    monkeypatch.setattr(
        regression,
        "train_and_measure",
        lambda model, make, split, **given: calls.append((model, make, given)),
    )
    settings = gal_regression.STUDY.presets["small"].settings
    job = study.Job(
        "gal+adam",
        {**settings, **gal_regression.VARIANTS["Boston, 100 epochs"]},
        [0],
        {"boston": None},
        lambda: None,
    )
    gal_regression.run(job)
    gal_regression.run(job._replace(method="gal-larger+adam"))
    gal_regression.run(job._replace(method="gal-released+adam"))
    adjusters = [make.adjuster for _, make, _ in calls]
    assert [a.magnitude for a in adjusters] == [0.001, 0.01, 0.001]
    assert [a.tentative_step for a in adjusters] == [1e-6, 1e-3, 1e-6]
    assert [a.convention for a in adjusters] == ["paper", "paper", "released"]
    assert {a.hidden_sizes for a in adjusters} == {(16, 4)}
    for model, _, given in calls:
        assert model.sizes == (100, 50)
        assert given["learning_rate"] == 1e-3


def test_the_scalar_output_is_listed_and_not_run():
    found = gal_regression.STUDY
    for preset in found.presets:
        plan = runner.plan(found, "gal-regression", preset, out=None)
        assert gal_regression.SCALAR not in plan.methods
    assert "theta" in found.methods[gal_regression.SCALAR].not_run
    with pytest.raises(ValueError, match="last hidden layer"):
        optaxmods.GradientAdjuster().init(jax.random.key(0), 1)


def test_papers_table_is_whole():
    paper = gal_regression.PAPER
    assert len(paper.rows) == 9
    assert {len(row) for row in paper.rows} == {len(paper.header)}
