# %% [markdown]
# # The three methods on digits
#
# AGR, LGA and GAL, each in front of the same AdamW, on scikit-learn's
# handwritten digits: what each of them does while a small network trains, in
# pictures. Whether they help is another question, which one run cannot answer:
# the documentation's page "Evidence" has paired tests over seeds.
#
# `python docs/make_notebook.py` makes this notebook, outputs and all, of the
# text in `docs/notebooks/three_methods.py`.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import (
    GradientAdjuster,
    agr,
    agr_coefficients,
    gal,
    lga,
    value_and_adjusted_grad,
)

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype("float32")
x, x_test, y, y_test = map(
    jnp.asarray, train_test_split(images, labels, random_state=0)
)
print(f"{len(x)} digits to train on, {len(x_test)} held out")

# %% [markdown]
# ## One loop for all
#
# A network with one hidden layer. `train` scans over the batches. What a method
# adds to the step stands in `gradient_of`, and what is to be seen comes out of
# `watch`.

# %%
BATCH, EPOCHS = 128, 10
EPOCH = len(x) // BATCH
keys = jax.random.split(jax.random.key(0), EPOCHS)
orders = jax.vmap(lambda key: jax.random.permutation(key, len(x)))(keys)
batches = orders[:, : EPOCH * BATCH].reshape(EPOCHS * EPOCH, BATCH)
losses_of = optax.softmax_cross_entropy_with_integer_labels
he = jax.nn.initializers.he_normal()
start = {
    "hidden": {
        "kernel": he(jax.random.key(1), (64, 64)),
        "bias": jnp.zeros(64),
    },
    "output": {
        "kernel": he(jax.random.key(2), (64, 10)),
        "bias": jnp.zeros(10),
    },
}


def logits_of(params, x):
    hidden, output = params["hidden"], params["output"]
    x = jax.nn.relu(x @ hidden["kernel"] + hidden["bias"])
    return x @ output["kernel"] + output["bias"]


def loss_fn(params, x, y):
    return losses_of(logits_of(params, x), y).mean()


def plain(params, state, x, y):
    loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
    return (loss, {}), grads, {}


def train(method, gradient_of=plain, watch=lambda grads, state: {}):
    solver = optax.chain(*method, optax.adamw(3e-3))

    def step(carry, batch):
        params, state = carry
        (loss, metrics), grads, extra_args = gradient_of(
            params, state, x[batch], y[batch]
        )
        seen = {"loss": loss, **metrics}
        updates, state = solver.update(
            grads, state, params, value=loss, **extra_args
        )
        seen |= watch(grads, state)
        return (optax.apply_updates(params, updates), state), seen

    (params, _), history = jax.lax.scan(
        step, (start, solver.init(start)), batches
    )
    return params, history


trained = {"AdamW": train([])}

# %% [markdown]
# ## AGR: the coefficients
#
# AGR takes from each entry of a gradient its share of the weight matrix, alpha.
# The shares of one matrix sum to 1, so their mean is one over the number of
# entries, the dashed line; the entries to the right of it lose more. Biases are
# left alone.


# %%
def coefficients(grads, state):
    alpha = agr_coefficients(grads)
    return {name: alpha[name]["kernel"] for name in alpha}


trained["AGR"] = _, seen = train([agr()], watch=coefficients)
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
bins = jnp.logspace(-7, 0, 71)
for place, name in zip(axes, start, strict=True):
    for step, when in (0, "first step"), (-1, "last step"):
        alpha = seen[name][step].ravel()
        place.hist(
            alpha,
            bins,
            weights=jnp.full(alpha.shape, 1 / alpha.size),
            histtype="step",
            label=when,
        )
        print(f"{name}, {when}: largest alpha {alpha.max():.4f}")
    place.axvline(1 / alpha.size, color="grey", linestyle="--")
    place.set(
        xscale="log", xlabel="alpha", title=f"{name}, {alpha.size} entries"
    )
axes[0].set(ylabel="share of entries")
axes[0].legend()
figure.tight_layout()

# %% [markdown]
# ## LGA: the status of the loss
#
# LGA pushes while the loss is well above its lower bound, E, and not above the
# upper one, F, which is the mean of the first epoch. Omega, the strength of the
# push, is 0 as soon as the loss is within 0.1 of E.


# %%
def status(grads, state):
    names = ("omega", "lower_bound", "upper_bound")
    return {name: optax.tree.get(state, f"lga_{name}") for name in names}


trained["LGA"] = _, seen = train([lga(1e-4, status_every=EPOCH)], watch=status)
figure, place = plt.subplots(figsize=(8, 3))
is_known = seen["upper_bound"] < 1e9  # Until then it is the largest float32.
place.plot(seen["loss"], color="lightgrey", label="loss")
place.plot(seen["lower_bound"], label="lower bound, E")
place.plot(
    jnp.where(is_known, seen["upper_bound"], jnp.nan), label="upper bound, F"
)
place.plot(seen["omega"], label="Omega")
place.set(xlabel="step")
place.legend()
figure.tight_layout()
print(f"the push stood in {jnp.mean(seen['omega'] > 0):.0%} of all steps")

# %% [markdown]
# ## GAL: what is accepted
#
# GAL's own network proposes a change of the gradient in the logits, example by
# example. It is accepted where a tentative step along it lowers that example's
# loss. The cross-entropy falls along its gradient however long the step is, so
# everything is accepted.
#
# Half the squared distance to one-hot labels has its minimum at a step of 1,
# and one of 2 ends as far behind it: the loss is as before, and GAL's own part
# decides. What turns against the gradient, with a negative cosine, shortens the
# step, and is accepted. Much longer steps never are: an acceptance of 0 says
# that GAL is off.


# %%
def squared(logits, labels):
    return jnp.sum((logits - jax.nn.one_hot(labels, 10)) ** 2, axis=-1) / 2


figure, axes = plt.subplots(1, 2, figsize=(8, 3))
for name, losses, length in (
    ("cross-entropy", losses_of, 1.0),
    ("squared loss", squared, 2.0),
):
    adjuster = GradientAdjuster(hidden_sizes=(32,), tentative_step=length)

    def objective(params, theta, x, y, adjuster=adjuster, losses=losses):
        return adjuster.loss(theta, logits_of(params, x), losses, targets=y)

    grad_fn = value_and_adjusted_grad(objective)
    params, seen = train([gal(adjuster, 10)], grad_fn)
    if losses is losses_of:
        trained["GAL"] = params, seen
    label = f"{name}, step {length:.0f}"
    axes[0].plot(seen["acceptance"], label=label)
    axes[1].plot(seen["cosine"])
    print(f"{label}: {seen['acceptance'].mean():.2f} accepted on average")
axes[0].set(xlabel="step", title="share accepted", ylim=(-0.05, 1.05))
axes[1].set(xlabel="step", title="cosine of network and gradient")
axes[0].legend()
figure.tight_layout()

# %% [markdown]
# ## Side by side
#
# One seed each, with the same start and the same batches. Differences of this
# size come from chance as well.

# %%
for name, (params, seen) in trained.items():
    logits = logits_of(params, x_test)
    accuracy = jnp.mean(logits.argmax(axis=-1) == y_test)
    held_out = losses_of(logits, y_test).mean()
    print(
        f"{name:6} last epoch {seen['loss'][-EPOCH:].mean():.3f},"
        f" held out {held_out:.3f}, accuracy {accuracy:.3f}"
    )
