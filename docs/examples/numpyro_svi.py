"""Bayesian logistic regression on digits: NumPyro's SVI with AGR and LGA."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from numpyro import distributions as dist
from numpyro import handlers
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optaxmods import agr, agr_coefficients, lga

STEPS = 500
SHAPES = {"w": (64, 10), "b": (10,)}


def model(x, y):
    drawn = {
        name: numpyro.sample(name, dist.Normal(jnp.zeros(shape), 1).to_event())
        for name, shape in SHAPES.items()
    }
    logits = x @ drawn["w"] + drawn["b"]
    with numpyro.plate("digits", len(x)):
        numpyro.sample("y", dist.CategoricalLogits(logits), obs=y)


def guide(x, y):
    for name, shape in SHAPES.items():
        loc = numpyro.param(f"{name}_loc", jnp.zeros(shape))
        scale = numpyro.param(
            f"{name}_scale",
            jnp.full(shape, 0.1),
            constraint=dist.constraints.positive,
        )
        numpyro.sample(name, dist.Normal(loc, scale).to_event())


def main():
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    x, x_test, y, y_test = map(
        jnp.asarray, train_test_split(images, labels, random_state=0)
    )
    tx = optax.chain(lga(1e-6, status_every=50), agr(), optax.adam(1e-2))
    # The ELBO is a sum; LGA's numbers are for the loss of one example.
    of_one = 1 / len(x)
    svi = numpyro.infer.SVI(
        handlers.scale(model, of_one),
        handlers.scale(guide, of_one),
        numpyro.optim.optax_to_numpyro(tx),
        numpyro.infer.Trace_ELBO(),
    )
    found = svi.run(jax.random.key(0), STEPS, x, y, progress_bar=False)
    alphas: Any = agr_coefficients(found.params)
    for name, alpha in alphas.items():
        print(f"{name} {alpha.shape}:", "AGR" if alpha.any() else "left alone")
    _, (_, opt_state) = found.state.optim_state
    bound = optax.tree.get(opt_state, "lga_lower_bound")
    print(f"loss {found.losses[0]:.2f}, then {found.losses[-1]:.2f}")
    print(f"LGA's lower bound {bound:.2f}")
    logits = x_test @ found.params["w_loc"] + found.params["b_loc"]
    accuracy = jnp.mean(logits.argmax(axis=-1) == y_test)
    print(f"accuracy on held-out digits {accuracy:.3f}")


if __name__ == "__main__":
    main()
