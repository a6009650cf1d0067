"""The demo's command line, files and training loop."""

import json
import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import __main__ as command_line
from benchmarks import data, report, train
from benchmarks.studies import digits_demo

METHODS = ["adamw", "adan_agr"]
CURVES = ["train_loss", "test_loss", "test_accuracy"]


class ZeroLinear(nn.Module):
    """Softmax regression from all-zero weights."""

    @nn.compact
    def __call__(self, images):
        features = images.reshape(images.shape[0], -1)
        return nn.Dense(3, kernel_init=nn.initializers.zeros)(features)


class Linear(nn.Module):
    """Softmax regression from random weights."""

    @nn.compact
    def __call__(self, images):
        return nn.Dense(3)(images.reshape(images.shape[0], -1))


def small_split():
    rng = np.random.default_rng(0)

    def examples(count):
        images = rng.normal(size=(count, 2, 2, 1)).astype(np.float32)
        labels = rng.integers(0, 3, size=count).astype(np.int32)
        return data.Examples(jnp.asarray(images), jnp.asarray(labels))

    return data.Split(train=examples(24), test=examples(10))


def descent_scaled_by_value(learning_rate):
    def update(updates, state, params=None, **extra_args):
        del params
        step = -learning_rate * extra_args["value"]
        return jax.tree.map(lambda g: step * g, updates), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), update
    )


def test_demo_writes_what_it_measured(tmp_path, capsys):
    arguments = ["--epochs", "1", "--seeds", "2", "--out", str(tmp_path)]
    arguments += ["--methods", ",".join(METHODS)]
    assert command_line.main(["demo", *arguments]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""  # No progress bar where there is no terminal.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "demo.json",
        "demo.md",
        "demo.png",
    ]
    assert (tmp_path / "demo.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    results = json.loads((tmp_path / "demo.json").read_text())
    assert list(results["methods"]) == METHODS
    assert results["configuration"]["seeds"] == [0, 1]
    assert results["configuration"]["learning_rate"] == 1e-3
    assert results["versions"]["jax"] == jax.__version__
    assert results["device"]["platform"] == jax.default_backend()
    markdown = (tmp_path / "demo.md").read_text()
    starts = set()
    for name, method in results["methods"].items():
        for curve in CURVES:
            values = np.array(method["curves"][curve])
            assert values.shape == (2, 2)
            final = method["final"][curve]
            assert final["per_seed"] == values[:, -1].tolist()
            assert final["mean"] == pytest.approx(values[:, -1].mean())
            # Of two values the sample deviation is |a - b| / sqrt(2).
            assert final["std"] == pytest.approx(
                abs(values[0, 1] - values[1, 1]) / 2**0.5
            )
        starts.add(tuple(np.ravel(method["curves"]["train_loss"])[[0, 2]]))
        accuracy = method["final"]["test_accuracy"]
        cell = f"{100 * accuracy['mean']:.2f} ± {100 * accuracy['std']:.2f}"
        for text in captured.out, markdown:
            assert any(
                name in line and cell in line for line in text.splitlines()
            )
    # All methods start alike, and the seeds do not.
    assert len(starts) == 1
    assert len(set(starts.pop())) == 2
    adamw, adan_agr = results["methods"].values()
    assert adamw["curves"] != adan_agr["curves"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["demonstration"], "demo"),
        (["demo", "--methods", "adamv"], ", ".join(digits_demo.METHODS)),
        (["demo", "--methods", "adamw,adamv"], "no method 'adamv'"),
        (["demo", "--methods", ""], ", ".join(digits_demo.METHODS)),
        (["demo", "--seeds", "0"], "--seeds: must be a whole number of 1"),
        (["demo", "--seeds", "two"], "not 'two'"),
        (["demo", "--epochs", "-1"], "--epochs: must be a whole number of 1"),
        (["demo", "--epochs", "1.5"], "not '1.5'"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_info:
        command_line.main(arguments)
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.endswith("\n")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["file", "file/folder"])
def test_out_that_is_no_folder_is_one_line(out, tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SystemExit) as exit_info:
        command_line.main(["demo", "--out", str(tmp_path / out)])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert str(tmp_path / out) in error
    assert error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "precious"


def test_help_names_methods_and_defaults(capsys):
    with pytest.raises(SystemExit) as exit_info:
        command_line.main(["demo", "--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    for name, method in digits_demo.METHODS.items():
        assert f"{name:<10} {method.description}" in text
    # One for each of --out, --seeds, --epochs and --methods.
    assert text.count("(default:") == 4


def test_training_follows_gradient_descent():
    split = small_split()
    curves = train.train(
        ZeroLinear(),
        descent_scaled_by_value(0.7),
        split,
        seeds=[3],
        epochs=3,
        batch_size=24,  # One step an epoch, whose order does not matter.
    )

    def flat(examples):
        images = np.asarray(examples.images, np.float64)
        features = images.reshape(len(images), -1)
        ones = np.ones((len(images), 1))
        return np.hstack([features, ones]), np.asarray(examples.labels)

    def measure(weights, features, labels):
        logits = features @ weights
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        return loss, probabilities

    features, labels = flat(split.train)
    test_features, test_labels = flat(split.test)
    weights = np.zeros((5, 3))
    expected = []
    for _ in range(4):
        loss, probabilities = measure(weights, features, labels)
        test_loss, test_probabilities = measure(
            weights, test_features, test_labels
        )
        hits = test_probabilities.argmax(axis=1) == test_labels
        expected.append((loss, test_loss, hits.mean()))
        slope = features.T @ (probabilities - np.eye(3)[labels]) / len(labels)
        weights -= 0.7 * loss * slope
    for curve, values in zip(curves, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(np.asarray(curve)[0], values, rtol=1e-5)


def test_a_seed_fixes_everything():
    def run(seeds):
        curves = train.train(
            Linear(),
            optax.sgd(0.5),
            small_split(),
            seeds=seeds,
            epochs=2,
            batch_size=5,
        )
        return np.asarray(curves.train_loss)

    first = run([1, 2])
    np.testing.assert_array_equal(run([1, 2]), first)
    # To rounding: the order of the seeds may change how sums are vectorized.
    np.testing.assert_allclose(run([2, 1])[::-1], first, rtol=1e-5)
    assert len(np.unique(first)) == first.size


def test_an_epoch_visits_no_example_twice():
    seeds = jnp.arange(2, dtype=jnp.uint32)
    batches = [
        np.asarray(train.batch_indices(seeds, epoch, 23, 5))
        for epoch in range(2)
    ]
    orders = {
        tuple(order) for epoch in batches for order in epoch.reshape(2, -1)
    }
    assert batches[0].shape == (2, 4, 5)
    assert len(orders) == 4
    for order in orders:
        assert len(set(order)) == 20
        assert set(order) <= set(range(23))


def curves_ending_in(values):
    curve = jnp.stack([jnp.ones(len(values)), jnp.asarray(values)], axis=1)
    return train.Curves(curve, curve, curve)


def test_summary_of_known_values():
    summary = report.summarize(curves_ending_in([1.0, 2.0, 3.0]))
    assert summary["test_loss"] == {
        "mean": 2.0,
        "std": 1.0,
        "per_seed": [1.0, 2.0, 3.0],
    }
    assert report.summarize(curves_ending_in([4.0]))["test_loss"]["std"] is None


def write_report(folder, curves):
    methods = dict.fromkeys(curves, "as described")
    seeds = list(range(len(next(iter(curves.values())).test_loss)))
    configuration = {"data": "none", "model": "none"}
    configuration |= {"methods": methods, "seeds": seeds}
    return report.write(
        folder,
        "demo",
        report.document(configuration, curves, wall_seconds=1.0),
        title="title",
        caption="caption",
        command="command",
    )


def test_divergence_is_null_in_json(tmp_path):
    curves = {
        "fine": curves_ending_in([0.5, 0.25]),
        "diverged": curves_ending_in([0.5, float("nan")]),
    }
    json_path, markdown_path, _ = write_report(tmp_path, curves)
    methods = json.loads(
        json_path.read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
    )["methods"]
    assert methods["fine"]["final"]["test_loss"]["mean"] == 0.375
    assert methods["diverged"]["final"]["test_loss"]["mean"] is None
    assert methods["diverged"]["curves"]["test_loss"] == [[1, 0.5], [1, None]]
    assert "| diverged | nan ± nan |" in markdown_path.read_text()


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    curves = {"fine": curves_ending_in([0.5])}
    (tmp_path / "demo.json").write_text("old")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path, curves)
    assert (tmp_path / "demo.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
