"""LGA: Eq. 2 to 5 and Algorithm 1 of its paper."""

from typing import Any

import numpy as np


def phi(gradient, xi):
    """Eq. 5; for complex numbers along g / |g|."""
    if np.iscomplexobj(gradient):
        magnitude = np.abs(gradient)
        unit = gradient / np.where(magnitude > 0, magnitude, 1)
        unit = np.where(magnitude > 0, unit, 1)
        return 1 / (unit / (magnitude + xi))
    return np.where(gradient >= 0, gradient + xi, gradient - xi)


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
    """The term, gamma, Omega, and the bounds that the next step will read.

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
