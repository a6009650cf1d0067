"""End to end: real digits, a Flax model, and an accuracy that must come out."""

from flax import linen as nn
from flax.training.train_state import TrainState
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import datasets, model_selection

import optaxmods

EPOCHS, BATCH, RATE = 30, 64, 3e-3
# A linear model gets 95 %; chance is 10 %.
ACCURACY = 0.96

OPTIMIZERS = {
    "agr and adamw": lambda: optax.chain(optaxmods.agr(), optax.adamw(RATE)),
    "adamw_agr": lambda: optaxmods.adamw_agr(RATE),
    "adan": lambda: optaxmods.adan(RATE),
    "adan_agr": lambda: optaxmods.adan_agr(RATE, weight_decay=0.02),
}


class Perceptron(nn.Module):
    @nn.compact
    def __call__(self, images):
        return nn.Dense(10)(nn.relu(nn.Dense(64)(images)))


@pytest.fixture(scope="module")
def digits():
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    return model_selection.train_test_split(
        images, labels, test_size=360, random_state=0, stratify=labels
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_digits(name, digits):
    train_images, test_images, train_labels, test_labels = digits
    model = Perceptron()
    state = TrainState.create(
        apply_fn=model.apply,
        params=model.init(jax.random.key(0), train_images[:1]),
        tx=OPTIMIZERS[name](),
    )

    def loss_fn(params, batch):
        logits = model.apply(params, jnp.asarray(train_images)[batch])
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, jnp.asarray(train_labels)[batch]
        ).mean()

    def step(state, batch):
        loss, grads = jax.value_and_grad(loss_fn)(state.params, batch)
        return state.apply_gradients(grads=grads), loss

    count = len(train_labels) // BATCH * BATCH
    generator = np.random.default_rng(0)
    batches = np.concatenate(
        [
            generator.permutation(len(train_labels))[:count].reshape(-1, BATCH)
            for _ in range(EPOCHS)
        ]
    )
    state, losses = jax.jit(lambda s, b: jax.lax.scan(step, s, b))(
        state, batches
    )
    logits = model.apply(state.params, test_images)
    accuracy = np.mean(np.argmax(logits, -1) == test_labels)
    assert np.isfinite(losses).all()
    assert accuracy >= ACCURACY
