"""AGR: Eq. 1 and 2 and Algorithms 1 and 2 of arXiv 2407.16944."""

from typing import Any

import numpy as np

from tests.oracles import adan


def psi(gradient, strength=1.0, axes=None, overflow=np.inf, max_alpha=1.0):
    """Eq. 1, with a strength on the second term and a largest alpha."""
    capped = np.minimum(alpha(gradient, axes, overflow), max_alpha)
    return gradient - strength * capped * gradient  # Eq. 1


def alpha(gradient, axes=None, overflow=np.inf):
    """Eq. 2; 0 where the sum is 0 or beyond ``overflow``."""
    magnitude = np.abs(gradient)
    total = np.sum(magnitude, axis=axes, keepdims=True)
    usable = (total > 0) & (total <= overflow)
    return np.where(usable, magnitude / np.where(usable, total, 1), 0)  # Eq. 2


def adan_agr(
    theta,
    gradients,
    learning_rate,
    b1=0.98,
    b2=0.92,
    b3=0.99,
    restart=None,
    strength: Any = 1.0,
    max_alpha=1.0,
    is_matrix=True,
    difference="regularized",
    **options,
):
    """Algorithm 1, which is ``adan`` but for m and v.

    The difference in v is the printed one, to the raw gradient before, or that
    of each step's own Psi.
    """
    k, thetas = 0, []
    for done, g in enumerate(gradients):
        s = strength(done) if callable(strength) else strength
        regularized = psi(g, s, max_alpha=max_alpha) if is_matrix else g
        if k == 0:
            m, v, n = (np.zeros_like(theta) for _ in range(3))
            before, subtracted = g, regularized
        k += 1
        m = b1 * m + (1 - b1) * regularized
        v = b2 * v + (1 - b2) * (regularized - subtracted)
        n = b3 * n + (1 - b3) * np.abs(g + b2 * (g - before)) ** 2
        moments, decays = (m, v, n), (b1, b2, b3)
        theta = adan.step(
            theta, moments, decays, k, learning_rate, done, **options
        )
        thetas.append(theta)
        before = g
        subtracted = g if difference == "printed" else regularized
        if restart is not None and restart(done + 1):
            k = 0
    return thetas


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
    max_alpha=1.0,
    is_matrix=True,
):
    """Algorithm 2, decoupled; one theta after each gradient."""
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    thetas = []
    for t, g in enumerate(gradients, start=1):
        s = strength(t - 1) if callable(strength) else strength
        regularized = psi(g, s, max_alpha=max_alpha) if is_matrix else g
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
