"""LGA: Eq. 2 to 5 and Algorithm 1 of its paper."""

from typing import Any

import numpy as np


def incentive(gradient, gamma, omega, xi):
    """The second term of Eq. 2."""
    return gamma * omega / phi(gradient, xi)  # Eq. 2


def expected(before, mean, k, log_base):
    """Eq. 3 in windows: E_k after the window k with a mean loss."""
    w = np.log(log_base) / np.log(k + 10)
    return w * before + (1 - w) * mean  # Eq. 3


def excess(loss, lower, upper, eps):
    """Eq. 4: Omega, the loss above its lower bound."""
    return loss - lower if loss - lower >= eps and loss <= upper else 0.0


def phi(gradient, xi):
    """Eq. 5; for complex numbers along g / |g|."""
    if np.iscomplexobj(gradient):
        magnitude = np.abs(gradient)
        unit = gradient / np.where(magnitude > 0, magnitude, 1)
        unit = np.where(magnitude > 0, unit, 1)
        return 1 / (unit / (magnitude + xi))
    return np.where(gradient >= 0, gradient + xi, gradient - xi)  # Eq. 5


def terms(
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
    """Algorithm 1: the term of Eq. 2, gamma, Omega, and the next step's bounds.

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
        bound = _upper_bound(upper_bound, windows, first)
        lower = estimate if constant is None else constant
        now = gamma(t) if callable(gamma) else gamma
        now = max(now * multiplier, gamma_min)
        status = windows[-1] if omega_loss == "window" and windows else f
        omega = excess(status, lower, bound, eps) if usable else 0.0  # Eq. 4
        term = incentive(g, now, omega, xi)  # Eq. 2; line 10
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
            if k >= 2 and mean > windows[-2]:  # Line 7
                multiplier *= decay_factor  # Line 8
            if lower_bound == "ema":
                estimate = expected(estimate, mean, k, log_base)  # Eq. 3
            elif lower_bound == "average":
                estimate = float(np.mean(windows))
            elif lower_bound == "momentum":
                estimate = 0.9 * estimate + 0.1 * mean
        lower = estimate if constant is None else constant
        bound = _upper_bound(upper_bound, windows, first)
        steps.append((term, now, omega, lower, bound))
    return steps


def _upper_bound(kind, windows, first):
    none = float(np.finfo(np.float32).max)  # No loss is above it.
    return {
        "first_window": windows[0] if windows else none,
        "first_value": none if first is None else first,
        None: none,
    }[kind]
