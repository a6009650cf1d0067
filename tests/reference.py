"""Float64 NumPy oracles, from the papers' equations; nothing of the library.

Names and line references: AGR paper (arXiv 2407.16944) Eq. 1-2, Algorithms 1
and 2; Adan paper (arXiv 2208.06677) Algorithm 1. A step function takes and
returns plain float64 arrays, one weight matrix at a time.
"""

from typing import Any

import numpy as np


def alpha(gradient, axes=None, overflow=np.inf):
    """Eq. 2; 0 where the sum is 0 or beyond ``overflow``."""
    magnitude = np.abs(gradient)
    total = np.sum(magnitude, axis=axes, keepdims=True)
    usable = (total > 0) & (total <= overflow)
    return np.where(usable, magnitude / np.where(usable, total, 1), 0)


def psi(gradient, strength=1.0, axes=None, overflow=np.inf):
    """Eq. 1, g - alpha g, with a strength on the second term."""
    return gradient - strength * alpha(gradient, axes, overflow) * gradient


def adamw_agr(
    theta,
    gradients,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    weight_decay=1e-4,
    nesterov=False,
    strength: Any = 1.0,
    is_matrix=True,
):
    """Algorithm 2, decoupled; one theta after each gradient."""
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    thetas = []
    for t, g in enumerate(gradients, start=1):
        s = strength(t - 1) if callable(strength) else strength
        regularized = psi(g, s) if is_matrix else g
        m = b1 * m + (1 - b1) * regularized
        v = b2 * v + (1 - b2) * np.abs(g) ** 2
        m_hat = m / (1 - b1**t)
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * regularized / (
                1 - b1**t
            )
        v_hat = v / (1 - b2**t)
        step = m_hat / (np.sqrt(v_hat + eps_root) + eps)
        lr = learning_rate(t - 1) if callable(learning_rate) else learning_rate
        theta = theta - lr * (step + weight_decay * theta)
        thetas.append(theta)
    return thetas


def adan_agr(
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
    strength: Any = 1.0,
    restart=None,
    is_matrix=True,
):
    """Algorithm 1 in decay rates; plain Adan where ``strength`` is 0.

    ``restart`` is a predicate of the number of updates done.
    """
    m, v, n = (np.zeros_like(theta) for _ in range(3))
    previous, k = None, 0
    thetas = []
    for done, g in enumerate(gradients):
        s = strength(done) if callable(strength) else strength
        lr = learning_rate(done) if callable(learning_rate) else learning_rate
        wd = weight_decay(done) if callable(weight_decay) else weight_decay
        regularized = psi(g, s) if is_matrix else g
        k += 1
        d = 0 * g if previous is None else regularized - previous
        raw_d = 0 * g if previous is None else g - previous
        m = b1 * m + (1 - b1) * regularized
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
        previous = g
        if restart is not None and restart(done + 1):
            m, v, n = (np.zeros_like(theta) for _ in range(3))
            previous, k = None, 0
        thetas.append(theta)
    return thetas
