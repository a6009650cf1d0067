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
    eps=1e-8,
    eps_root=0.0,
    weight_decay: Any = 0.0,
    proximal=True,
    restart=None,
    regularized=lambda g, done: g,
    difference="regularized",
):
    """One theta after each gradient.

    ``restart`` is a predicate of the number of updates done. AGR puts another
    gradient, ``regularized``, into both first moments, and its printed form
    takes the difference to the raw gradient before.
    """
    m, v, n = (np.zeros_like(theta) for _ in range(3))
    before = None
    k, thetas = 0, []
    for done, g in enumerate(gradients):
        lr = learning_rate(done) if callable(learning_rate) else learning_rate
        wd = weight_decay(done) if callable(weight_decay) else weight_decay
        psi = regularized(g, done)
        k += 1
        d = raw_d = 0 * g
        if before is not None:
            g_before, psi_before = before
            raw_d = g - g_before
            d = psi - (g_before if difference == "printed" else psi_before)
        m = b1 * m + (1 - b1) * psi
        v = b2 * v + (1 - b2) * d
        n = b3 * n + (1 - b3) * np.abs(g + b2 * raw_d) ** 2
        m_hat, v_hat, n_hat = (
            x / (1 - b**k) for x, b in ((m, b1), (v, b2), (n, b3))
        )
        u = (m_hat + b2 * v_hat) / (np.sqrt(n_hat + eps_root) + eps)
        if proximal:
            theta = (theta - lr * u) / (1 + lr * wd)
        else:
            theta = theta - lr * u - lr * wd * theta
        before = g, psi
        if restart is not None and restart(done + 1):
            m, v, n = (np.zeros_like(theta) for _ in range(3))
            before, k = None, 0
        thetas.append(theta)
    return thetas
