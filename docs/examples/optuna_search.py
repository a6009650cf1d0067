"""A search with Optuna: the learning rate of SGD, and LGA's gamma."""

import math

import jax
import jax.numpy as jnp
import optax
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import with_lga

BATCH, EPOCHS, TRIALS = 128, 5, 16


def loss_fn(params, x, y):
    logits = jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def main():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_valid, y, y_valid = map(
        jnp.asarray, train_test_split(images, labels, random_state=0)
    )
    epoch = len(x) // BATCH

    def solver(rate, gamma):
        return with_lga(optax.sgd(rate), gamma, status_every=epoch)

    @jax.jit
    def run_epoch(carry, key, rate, gamma):
        tx = solver(rate, gamma)  # Of traced numbers: compiled once for all.

        def step(carry, batch):
            params, state = carry
            grad_fn = jax.value_and_grad(loss_fn)
            loss, grads = grad_fn(params, x[batch], y[batch])
            updates, state = tx.update(grads, state, params, value=loss)
            return (optax.apply_updates(params, updates), state), None

        order = jax.random.permutation(key, len(x))[: epoch * BATCH]
        carry, _ = jax.lax.scan(step, carry, order.reshape(epoch, BATCH))
        return carry, loss_fn(carry[0], x_valid, y_valid)

    he = jax.nn.initializers.he_normal()
    one, two, key = jax.random.split(jax.random.key(0), 3)
    start = {
        "w1": he(one, (64, 64)),
        "b1": jnp.zeros(64),
        "w2": he(two, (64, 10)),
    }

    def train(trial):
        rate = trial.suggest_float("rate", 1e-3, 1.0, log=True)
        gamma = trial.suggest_float("gamma", 1e-7, 1e-2, log=True)
        carry = start, solver(rate, gamma).init(start)
        loss = math.inf
        for number, shuffle in enumerate(jax.random.split(key, EPOCHS)):
            carry, loss = run_epoch(carry, shuffle, rate, gamma)
            if not math.isfinite(loss):  # The push was too large.
                raise optuna.TrialPruned
            trial.report(float(loss), number)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(loss)

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    study.optimize(train, n_trials=TRIALS)
    for trial in study.trials:
        rate, gamma = trial.params["rate"], trial.params["gamma"]
        end = trial.state.name.lower()
        print(f"rate {rate:.4f}, gamma {gamma:.1e}: {end}")
    print(f"best loss {study.best_value:.3f}, {study.best_params}")


if __name__ == "__main__":
    main()
