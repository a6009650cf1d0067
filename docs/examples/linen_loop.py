"""Digits in Flax Linen: batch statistics, and GAL, AGR and LGA at once."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import GradientAdjuster, adjuster_params, agr, gal, with_lga
from optaxmods.flax import TrainState

BATCH, EPOCHS = 128, 15


class Network(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(128)(x))
        return nn.Dense(10)(nn.relu(x))


class State(TrainState):
    batch_stats: dict


adjuster = GradientAdjuster(hidden_sizes=(16,))


@jax.jit
def train_step(state, x, y):
    def objective(params, theta):
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, changed = state.apply_fn(
            variables, x, train=True, mutable=["batch_stats"]
        )
        loss, _ = adjuster.loss(
            theta,
            logits,
            lambda z: optax.softmax_cross_entropy_with_integer_labels(z, y),
        )
        return loss, changed["batch_stats"]

    grad_fn = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    theta = adjuster_params(state.opt_state)
    (loss, batch_stats), (grads, adjuster_grads) = grad_fn(state.params, theta)
    return state.apply_gradients(
        grads=grads,
        extra_args={"value": loss, "adjuster_grads": adjuster_grads},
        batch_stats=batch_stats,
    ), loss


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(images, labels, random_state=0)
    epoch = len(x) // BATCH
    schedule = optax.cosine_decay_schedule(3e-3, EPOCHS * epoch)
    inner = optax.chain(gal(adjuster, 10), agr(), optax.adamw(schedule))
    model = Network()
    state = State.create(
        apply_fn=model.apply,
        tx=with_lga(inner, 1e-8, status_every=epoch),
        **model.init(jax.random.key(0), x[:1], train=False),
    )
    for number in range(EPOCHS):
        order = jax.random.permutation(jax.random.key(number), len(x))
        for batch in order[: epoch * BATCH].reshape(epoch, BATCH):
            state, loss = train_step(state, x[batch], y[batch])
    print(f"loss of the last batch {loss:.3f}")
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits = state.apply_fn(variables, x_test, train=False)
    accuracy = jnp.mean(logits.argmax(axis=-1) == y_test)
    print(f"accuracy on held-out digits {accuracy:.3f}")


if __name__ == "__main__":
    main()
