"""A study of one's own: does AGR help this model on these data?"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer

from benchmarks.study import (
    Curve,
    Method,
    Metric,
    Outcome,
    Preset,
    Primary,
    Study,
)
from optaxmods import agr

RATE = 3e-3


def load(settings, data_dir):
    """Returns what `run` finds in its job; no method sees other data."""
    del settings, data_dir
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    order = np.random.default_rng(0).permutation(len(y))
    return x[order].astype(np.float32), y[order]


def optimizer(job):
    """Returns a method's optimizer, from its name and arguments."""
    adamw = optax.adamw(RATE * job.arguments.get("rate_factor", 1))
    return optax.chain(agr(), adamw) if job.method == "agr+adamw" else adamw


def losses(weights, x, y):
    logits = jax.nn.relu(x @ weights["in"]) @ weights["out"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def run(job):
    """Trains one method; returns an outcome for each of `job.seeds`."""
    (x, y), solver = job.data, optimizer(job)
    train, test = (x[:400], y[:400]), (x[400:], y[400:])

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(weights, state, x, y):
        def loss_fn(weights):
            return losses(weights, x, y).mean()

        value, gradients = jax.value_and_grad(loss_fn)(weights)
        updates, state = solver.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, value

    found = []
    for seed in job.seeds:
        # Weights and batches come of the seed alone, so that seeds are pairs.
        key_in, key_out = jax.random.split(jax.random.key(seed))
        weights = {
            "in": jax.random.normal(key_in, (30, 32)) / 30**0.5,
            "out": jax.random.normal(key_out, (32, 2)) / 32**0.5,
        }
        state, order = solver.init(weights), np.random.default_rng(seed)
        curve = []
        for _ in range(job.settings["epochs"]):
            values = []
            for rows in order.permutation(400).reshape(-1, 40):
                weights, state, value = step(
                    weights, state, train[0][rows], train[1][rows]
                )
                values.append(value)
            curve.append(float(jnp.stack(values).mean()))
        test_loss = float(losses(weights, *test).mean())
        found.append(Outcome({"train_loss": curve}, {"test_loss": test_loss}))
    for _ in range(job.settings["epochs"]):  # For the progress bar.
        job.on_progress()
    return found


STUDY = Study(
    title="AGR on breast cancer",
    question="Does AGR lower the test loss more than another rate does?",
    data_sets=[],  # None of those that the harness loads.
    data="scikit-learn's breast cancer, 400 to train on and 169 to test on",
    model="a perceptron, 30-32-2",
    metrics=[Metric("test_loss", "test loss", False, digits=4)],
    curves=[Curve("train_loss", "training loss", log=True)],
    methods={
        "adamw": Method("AdamW"),
        "agr+adamw": Method("AGR before AdamW", "adamw"),
        "adamw-3x": Method(
            "AdamW at three times the rate, a control",
            "adamw",
            arguments={"rate_factor": 3},
        ),
    },
    primary=Primary("", "agr+adamw", "test_loss"),
    presets={
        "smoke": Preset({"epochs": 2}, seeds=2),
        "small": Preset({"epochs": 20}, seeds=10),
        "paper": Preset({"epochs": 100}, seeds=30),
    },
    load=load,
    run=run,
)
