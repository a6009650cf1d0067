"""Digits in Flax NNX: dropout, and GAL, AGR and LGA at once."""

from flax import nnx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import GradientAdjuster, adjuster_params, agr, gal, with_lga

BATCH, EPOCHS = 128, 15


class Network(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(64, 128, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.output = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        return self.output(self.dropout(nnx.relu(self.hidden(x))))


adjuster = GradientAdjuster(hidden_sizes=(16,))


@nnx.jit
def train_step(model, optimizer, x, y):
    def objective(model, theta):
        return adjuster.loss(
            theta,
            model(x),
            lambda z: optax.softmax_cross_entropy_with_integer_labels(z, y),
        )

    grad_fn = nnx.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    theta = adjuster_params(optimizer.opt_state)
    (loss, metrics), (grads, adjuster_grads) = grad_fn(model, theta)
    optimizer.update(model, grads, value=loss, adjuster_grads=adjuster_grads)
    return loss, metrics


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(images, labels, random_state=0)
    epoch = len(x) // BATCH
    schedule = optax.cosine_decay_schedule(3e-3, EPOCHS * epoch)
    inner = optax.chain(gal(adjuster, 10), agr(), optax.adamw(schedule))
    model = Network(nnx.Rngs(0))
    tx = with_lga(inner, 1e-8, status_every=epoch)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for number in range(EPOCHS):
        order = jax.random.permutation(jax.random.key(number), len(x))
        for batch in order[: epoch * BATCH].reshape(epoch, BATCH):
            loss, metrics = train_step(model, optimizer, x[batch], y[batch])
    print(f"loss of the last batch {loss:.3f}")
    print(f"accepted adjustments {metrics['acceptance']:.3f}")
    model.eval()
    accuracy = jnp.mean(model(x_test).argmax(axis=-1) == y_test)
    print(f"accuracy on held-out digits {accuracy:.3f}")


if __name__ == "__main__":
    main()
