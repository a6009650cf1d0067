"""Float64 NumPy oracles, from the papers' equations; nothing of the library.

Names and line references: AGR paper (arXiv 2407.16944) Eq. 1-2, Algorithms 1
and 2; Adan paper (arXiv 2208.06677) Algorithm 1; LGA paper Eq. 2-5 and
Algorithm 1. A step function takes and
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


def psi(gradient, strength=1.0, axes=None, overflow=np.inf, max_alpha=1.0):
    """Eq. 1, g - alpha g, with a strength on the second term."""
    capped = np.minimum(alpha(gradient, axes, overflow), max_alpha)
    return gradient - strength * capped * gradient


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
    difference="regularized",
    strength: Any = 1.0,
    max_alpha=1.0,
    restart=None,
    is_matrix=True,
):
    """Algorithm 1 in decay rates; plain Adan where ``strength`` is 0.

    The difference as printed, or from the previous step's Psi; ``restart`` is a
    predicate of the number of updates done.
    """
    m, v, n = (np.zeros_like(theta) for _ in range(3))
    previous = regularized_before = None
    k, thetas = 0, []
    for done, g in enumerate(gradients):
        s = strength(done) if callable(strength) else strength
        lr = learning_rate(done) if callable(learning_rate) else learning_rate
        wd = weight_decay(done) if callable(weight_decay) else weight_decay
        regularized = psi(g, s, max_alpha=max_alpha) if is_matrix else g
        k += 1
        d = raw_d = 0 * g
        if previous is not None:
            raw_d = g - previous
            d = regularized - (
                previous if difference == "printed" else regularized_before
            )
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
        previous, regularized_before = g, regularized
        if restart is not None and restart(done + 1):
            m, v, n = (np.zeros_like(theta) for _ in range(3))
            previous, k = None, 0
        thetas.append(theta)
    return thetas


def phi(gradient, xi):
    """LGA, Eq. 5; for complex numbers along g / |g|."""
    if np.iscomplexobj(gradient):
        magnitude = np.abs(gradient)
        unit = gradient / np.where(magnitude > 0, magnitude, 1)
        unit = np.where(magnitude > 0, unit, 1)
        return 1 / (unit / (magnitude + xi))
    return np.where(gradient >= 0, gradient + xi, gradient - xi)


def lga_terms(
    gradients,
    losses,
    gamma,
    status_every,
    eps=0.1,
    xi=0.01,
    log_base=10,
    decay_factor=0.1,
    gamma_min=0.0,
    upper_bound="first_window",
    lower_bound: Any = "ema",
    omega_loss="step",
    push_zero_gradients=False,
    gradient_floor=1e-6,
):
    """LGA's term, gamma, Omega, and the bounds that the next step will read.

    One tuple a step; windows are whole lists. ``status_every`` may be a
    function of the step, for runs that were resumed with another.
    """
    constant = None if isinstance(lower_bound, str) else lower_bound
    windows, current, first = [], [], None
    multiplier, estimate = 1.0, 0.0
    steps = []
    for t, (g, f) in enumerate(zip(gradients, losses, strict=True)):
        usable = bool(np.isfinite(f))
        if first is None and usable:
            first = f
        bound = _lga_upper_bound(upper_bound, windows, first)
        lower = estimate if constant is None else constant
        now = gamma(t) if callable(gamma) else gamma
        now = max(now * multiplier, gamma_min)
        status = windows[-1] if omega_loss == "window" and windows else f
        omega = 0.0
        if usable and status - lower >= eps and status <= bound:
            omega = status - lower
        term = now * omega / phi(g, xi)
        is_small = (np.abs(g) < gradient_floor) & (g != 0)
        if not push_zero_gradients:
            is_small |= g == 0
        term = np.where(is_small, 0, term)
        if usable:
            current.append(f)
        size = status_every(t) if callable(status_every) else status_every
        if len(current) >= size:
            mean, current = float(np.mean(current)), []
            windows.append(mean)
            k = len(windows)
            if k >= 2 and mean > windows[-2]:
                multiplier *= decay_factor
            if lower_bound == "ema":
                w = np.log(log_base) / np.log(k + 10)
                estimate = w * estimate + (1 - w) * mean
            elif lower_bound == "average":
                estimate = float(np.mean(windows))
            elif lower_bound == "momentum":
                estimate = 0.9 * estimate + 0.1 * mean
        lower = estimate if constant is None else constant
        bound = _lga_upper_bound(upper_bound, windows, first)
        steps.append((term, now, omega, lower, bound))
    return steps


def _lga_upper_bound(kind, windows, first):
    none = float(np.finfo(np.float32).max)  # No loss is above it.
    return {
        "first_window": windows[0] if windows else none,
        "first_value": none if first is None else first,
        None: none,
    }[kind]
