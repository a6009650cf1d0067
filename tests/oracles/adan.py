"""Adan: Algorithm 1 of arXiv 2208.06677, in decay rates b = 1 - beta."""

from typing import Any

import numpy as np


def adan(
    theta,
    gradients,
    learning_rate,
    b1=0.98,
    b2=0.92,
    b3=0.99,
    restart=None,
    **options,
):
    """One theta after each gradient.

    ``restart`` is a predicate of the number of updates done, ``options`` are
    those of ``step``.
    """
    k, thetas = 0, []
    for done, g in enumerate(gradients):
        if k == 0:
            m, v, n = (np.zeros_like(theta) for _ in range(3))
            before = g
        k += 1
        d = g - before
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * d
        n = b3 * n + (1 - b3) * np.abs(g + b2 * d) ** 2
        moments, decays = (m, v, n), (b1, b2, b3)
        theta = step(theta, moments, decays, k, learning_rate, done, **options)
        thetas.append(theta)
        before = g
        if restart is not None and restart(done + 1):
            k = 0
    return thetas


def step(
    theta,
    moments,
    decays,
    k,
    learning_rate,
    done,
    eps=1e-8,
    eps_root=0.0,
    weight_decay: Any = 0.0,
    proximal=True,
):
    """Theta after update ``k`` since the restart; schedules read ``done``."""
    lr = learning_rate(done) if callable(learning_rate) else learning_rate
    wd = weight_decay(done) if callable(weight_decay) else weight_decay
    m_hat, v_hat, n_hat = (
        x / (1 - b**k) for x, b in zip(moments, decays, strict=True)
    )
    u = (m_hat + decays[1] * v_hat) / (np.sqrt(n_hat + eps_root) + eps)
    if proximal:
        return (theta - lr * u) / (1 + lr * wd)
    return theta - lr * u - lr * wd * theta
