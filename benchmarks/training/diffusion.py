"""Images that a diffusion model makes, and how they compare with real ones.

In place of Inception, the features are those of a small classifier that is
trained here, on the same images as the model.
"""

from collections.abc import Mapping, Sequence
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.data import Examples
from benchmarks.models import Diffusion, SmallCNN
from benchmarks.models.diffusion import image_shares
from benchmarks.training import loop

JUDGE = SmallCNN()
# Of it: its hidden layer, before ReLU.
HIDDEN = "Dense_0"
AT_ONCE = 250


def sample(
    model: Diffusion,
    params: Any,
    key: jax.Array,
    shape: Sequence[int],
    steps: int,
) -> jax.Array:
    """Makes images by DDIM (Song et al., 2021), with no noise between.

    Args:
        model: The network.
        params: Its parameters.
        key: Of the noise to begin with.
        shape: Of the images, [count, height, width, channels].
        steps: How many, of times that are spread evenly.
    """
    shares = image_shares(model.steps)
    times = jnp.linspace(model.steps - 1, 0, steps).round().astype(jnp.int32)
    # After the last step there is no noise.
    after = jnp.append(shares[times[1:]], 1.0)

    def step(noisy: jax.Array, at: tuple[jax.Array, jax.Array]) -> Any:
        time, next_share = at
        share = shares[time]
        noise: Any = model.apply(
            {"params": params},
            noisy,
            jnp.full(len(noisy), time),
            method="tell",
        )
        image = (noisy - jnp.sqrt(1 - share) * noise) / jnp.sqrt(share)
        # As in DDPM's own code, within what images can be.
        image = jnp.clip(image, -1, 1)
        noise = (noisy - jnp.sqrt(share) * image) / jnp.sqrt(1 - share)
        after = jnp.sqrt(next_share) * image + jnp.sqrt(1 - next_share) * noise
        return after, None

    start = jax.random.normal(key, tuple(shape))
    return jax.lax.scan(step, start, (times, after))[0]


@functools.partial(jax.jit, static_argnames=("model", "shape", "steps"))
def _samples(
    model: Diffusion, params: Any, shape: tuple[int, ...], steps: int
) -> jax.Array:
    """Each seed's images, of the same noise."""
    count, *rest = shape
    at_once = math.gcd(count, AT_ONCE)
    keys = jax.random.split(jax.random.key(0), count // at_once)

    def of_seed(params: Any) -> jax.Array:
        parts = jax.lax.map(
            lambda key: sample(model, params, key, (at_once, *rest), steps),
            keys,
        )
        return parts.reshape(shape)

    return jax.lax.map(of_seed, params)


def judge(train: Examples, epochs: int, batch_size: int) -> Any:
    """Returns the parameters of a classifier of the images."""
    *_, run = loop.epochs_of(
        JUDGE,
        optax.adam,
        train,
        learning_rate=1e-3,
        seeds=[0],
        epochs=epochs,
        batch_size=batch_size,
    )
    return jax.tree.map(lambda x: x[0], run.params)


@jax.jit
def _seen(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns a classifier's features and its shares of the classes."""
    logits: Any
    kept: Any
    logits, kept = JUDGE.apply(
        {"params": params},
        images,
        capture_intermediates=lambda module, name: module.name == HIDDEN,
        mutable=["intermediates"],
    )
    (features,) = kept["intermediates"][HIDDEN]["__call__"]
    return features, jax.nn.softmax(logits)


def frechet_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Returns the squared distance between normal distributions of features.

    With means m and covariances C, FID's (Heusel et al., 2017, Section 1)

        |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2))

    Args:
        ours: Features of shape [examples, features].
        theirs: Likewise.
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return math.nan
    gap = ours.mean(axis=0) - theirs.mean(axis=0)
    covariances = [np.cov(x, rowvar=False) for x in (ours, theirs)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # C1 C2 has the eigenvalues of this, which is symmetric.
    both = np.linalg.eigvalsh(root @ covariances[1] @ root)
    spread = sum(np.trace(x) for x in covariances)
    return float(gap @ gap + spread - 2 * np.sqrt(np.maximum(both, 0)).sum())


def classifier_score(shares: np.ndarray) -> float:
    """Returns what the Inception score is of Inception (Salimans et al., 2016).

    That is exp of the mean divergence of an image's classes from those of all
    images: from 1 to the number of classes.

    Args:
        shares: Probabilities of shape [images, classes].
    """
    shares = np.maximum(np.asarray(shares, float), 1e-12)
    divergence = shares * (np.log(shares) - np.log(shares.mean(axis=0)))
    return float(np.exp(divergence.sum(axis=1).mean()))


def compared(
    model: Diffusion,
    runs: loop.Run,
    train: Examples,
    test: Examples,
    *,
    samples: int,
    steps: int,
    epochs: int,
    batch_size: int,
) -> Mapping[str, list[float]]:
    """Returns how made images compare with those to test on, for each seed.

    Args:
        model: The network.
        runs: All seeds'.
        train: What the classifier learns from.
        test: What made images are compared with.
        samples: How many to make.
        steps: Those of making them.
        epochs: Those of the classifier.
        batch_size: Likewise.
    """
    params = judge(train, epochs, batch_size)
    real, shares = _seen(params, test.images)
    right = np.argmax(shares, axis=-1) == np.asarray(test.labels)
    made = _samples(
        model, runs.params, (samples, *test.images.shape[1:]), steps
    )
    seen = [_seen(params, images) for images in made]
    return {
        "frechet": [
            frechet_distance(np.asarray(features), np.asarray(real))
            for features, _ in seen
        ],
        "score": [classifier_score(np.asarray(found)) for _, found in seen],
        "judge_accuracy": [float(right.mean())] * len(seen),
    }
