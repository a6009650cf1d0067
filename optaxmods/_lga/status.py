"""The loss's status: Eq. 3 and 4 of the LGA paper, window by window.

The order of operations: a step with the loss f reads the status that the
windows completed before it left (:func:`read`), then f joins the window
(:func:`advanced`).
"""

import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._shared.arguments import (
    check_flag,
    check_number,
    check_size,
    check_word,
    is_int,
    is_scalar,
    number_of,
    shown,
)
from optaxmods._shared.mesh import check_axis_names, mean_by_name

UPPER_BOUNDS = ("first_window", "first_value", None)
LOWER_BOUNDS = ("ema", "average", "momentum")
OMEGA_LOSSES = ("step", "window")
MOMENTUM = 0.9  # Of lower_bound="momentum" (Appendix A.9).
LARGEST = float(jnp.finfo(jnp.float32).max)
# An upper bound of no loss; infinity would trip jax_debug_infs. Those of losses
# are below it, by a rounding.
NO_BOUND = LARGEST
LARGEST_BOUND = LARGEST * (1 - float(jnp.finfo(jnp.float32).epsneg))


class LgaState(NamedTuple):
    """State of :func:`optaxmods.lga`: scalars, float32 unless said otherwise.

    ``lga_gamma`` and ``lga_omega`` are those of the update that was just done;
    the bounds are those that the next one will read.
    """

    lga_count: jax.Array  # shape=(), dtype=jnp.int32; updates.
    lga_windows: jax.Array  # shape=(), dtype=jnp.int32; completed.
    # shape=(), dtype=jnp.int32; losses in the window that is open.
    lga_window_size: jax.Array
    lga_window_mean: jax.Array  # shape=(); of the open window.
    lga_window_residue: jax.Array  # shape=(); what rounding cut off.
    lga_last_mean: jax.Array  # shape=(); of the last completed one.
    lga_multiplier: jax.Array  # shape=(); what decay left of gamma.
    lga_gamma: jax.Array  # shape=().
    lga_omega: jax.Array  # shape=().
    lga_lower_bound: jax.Array  # shape=(); E.
    # shape=(); F, the largest float32 where none is.
    lga_upper_bound: jax.Array


class Used(NamedTuple):
    """What one step read of the status."""

    gamma: jax.Array
    omega: jax.Array
    lower: jax.Array  # E.
    upper: jax.Array  # F.


class Rule(NamedTuple):
    """The arguments of :func:`optaxmods.lga`, checked."""

    gamma: optax.ScalarOrSchedule
    status_every: int
    eps: jax.typing.ArrayLike
    xi: jax.typing.ArrayLike
    log_base: jax.typing.ArrayLike
    decay_factor: jax.typing.ArrayLike
    gamma_min: jax.typing.ArrayLike
    upper_bound: str | None
    lower_bound: Any
    omega_loss: str
    push_zero_gradients: bool
    gradient_floor: jax.typing.ArrayLike
    axis_name: Any


def checked(rule: Rule) -> Rule:
    """Raises a sentence on a bad argument; arrays' values are not checked."""
    every = rule.status_every
    if not is_int(every):
        raise ValueError(
            "status_every must be an int, the number of steps in a status"
            f" window, got {shown(every)}; with optax.inject_hyperparams name"
            " it in static_args."
        )
    if every < 1:
        raise ValueError(f"status_every must be at least 1, got {every}.")
    check_size("gamma", rule.gamma, or_schedule=True)
    check_size("eps", rule.eps)
    check_number("xi", rule.xi, lambda x: x > 0, "greater than 0")
    # Above 11 the first weight, log(log_base) / log(11), would exceed 1.
    check_number("log_base", rule.log_base, lambda x: 1 < x <= 11, "in (1, 11]")
    check_number(
        "decay_factor", rule.decay_factor, lambda x: 0 < x <= 1, "in (0, 1]"
    )
    check_size("gamma_min", rule.gamma_min)
    check_word("upper_bound", rule.upper_bound, UPPER_BOUNDS)
    check_word("omega_loss", rule.omega_loss, OMEGA_LOSSES)
    lower = rule.lower_bound
    if isinstance(lower, numbers.Number) or is_scalar(lower) or callable(lower):
        check_number("lower_bound", lower)
    else:
        check_word("lower_bound", lower, LOWER_BOUNDS, "a number")
    check_flag("push_zero_gradients", rule.push_zero_gradients)
    check_size("gradient_floor", rule.gradient_floor)
    check_axis_names(rule.axis_name)
    return rule._replace(status_every=int(every))


def initial(rule: Rule) -> LgaState:
    """The status before any loss was seen."""
    named = isinstance(rule.lower_bound, str)
    return LgaState(
        lga_count=jnp.zeros([], jnp.int32),
        lga_windows=jnp.zeros([], jnp.int32),
        lga_window_size=jnp.zeros([], jnp.int32),
        lga_window_mean=jnp.zeros([], jnp.float32),
        lga_window_residue=jnp.zeros([], jnp.float32),
        lga_last_mean=jnp.zeros([], jnp.float32),
        lga_multiplier=jnp.ones([], jnp.float32),
        lga_gamma=jnp.zeros([], jnp.float32),
        lga_omega=jnp.zeros([], jnp.float32),
        lga_lower_bound=jnp.full(
            [], 0.0 if named else rule.lower_bound, jnp.float32
        ),
        lga_upper_bound=jnp.full([], NO_BOUND, jnp.float32),
    )


def checked_loss(value: Any, axis_name: Any) -> jax.Array:
    """The loss as a float32 scalar, averaged over the mesh axes."""
    if value is None:
        raise TypeError(
            "LGA reads the loss: call tx.update(grads, state, params,"
            " value=loss). nnx.Optimizer forwards it: optimizer.update(model,"
            " grads, value=loss). Flax's linen TrainState does not:"
            " optaxmods.flax.TrainState does, apply_gradients(grads=grads,"
            " extra_args={'value': loss}). Nor does"
            " optax.MultiSteps(...).gradient_transformation() inside a chain:"
            " wrap the whole chain instead."
        )
    try:
        shape, dtype = jnp.shape(value), jnp.result_type(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"value must be the loss, got {shown(value)}."
        ) from error
    is_real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(
        dtype, jnp.integer
    )
    if shape != () or not is_real:
        raise ValueError(
            "value must be the loss, one real number of shape (), got shape"
            f" {shape} and dtype {dtype}; take the mean of a batch of losses."
        )
    loss = jnp.asarray(value).astype(jnp.float32)
    return mean_by_name(loss, axis_name)


def read(rule: Rule, state: LgaState, loss: jax.Array) -> Used:
    """Returns what a step with this loss reads."""
    gamma = rule.gamma
    if callable(gamma):
        gamma = number_of("gamma", gamma, state.lga_count)
    gamma = jnp.maximum(
        jnp.asarray(gamma, jnp.float32) * state.lga_multiplier,
        jnp.asarray(rule.gamma_min, jnp.float32),
    )
    upper = state.lga_upper_bound
    if rule.upper_bound is None:
        upper = jnp.full_like(upper, NO_BOUND)  # Whatever a resumed run had.
    if rule.upper_bound == "first_value":
        # The first finite loss, known from its own step on.
        is_first = (upper >= NO_BOUND) & jnp.isfinite(loss)
        upper = jnp.where(is_first, jnp.minimum(loss, LARGEST_BOUND), upper)
    lower = state.lga_lower_bound
    if not isinstance(rule.lower_bound, str):
        lower = jnp.asarray(rule.lower_bound, jnp.float32)
    f = loss
    if rule.omega_loss == "window":
        f = jnp.where(state.lga_windows > 0, state.lga_last_mean, loss)
    eps = jnp.asarray(rule.eps, jnp.float32)
    # The difference of two finite losses need not be finite.
    excess = jnp.clip(f - lower, -LARGEST, LARGEST)
    is_active = (excess >= eps) & jnp.isfinite(loss)
    if rule.upper_bound is not None:
        is_active &= jnp.minimum(f, LARGEST_BOUND) <= upper
    omega = jnp.where(is_active, excess, 0.0)  # Eq. 4
    return Used(gamma, omega, lower, upper)


def advanced(
    rule: Rule,
    state: LgaState,
    loss: jax.Array,
    used: Used,
) -> LgaState:
    """The status after the loss has joined its window."""
    joins = jnp.isfinite(loss)
    size = state.lga_window_size + joins.astype(jnp.int32)
    # A running mean, with Kahan's compensation: in a long window a sum, and a
    # mean without it, would lose digits.
    count = jnp.maximum(size, 1).astype(jnp.float32)
    # Of halves, whose difference is finite.
    share = (loss / 2 - state.lga_window_mean / 2) / count * 2
    share = jnp.where(joins, share + state.lga_window_residue, 0.0)
    mean = state.lga_window_mean + share
    cut_off = share - (mean - state.lga_window_mean)
    residue = jnp.where(joins, cut_off, state.lga_window_residue)
    # A resumed run with a smaller status_every can be past it.
    done = joins & (size >= rule.status_every)
    windows = jnp.where(
        done, optax.safe_increment(state.lga_windows), state.lga_windows
    )
    # Algorithm 1, line 7.
    rose = done & (windows >= 2) & (mean > state.lga_last_mean)
    decay = jnp.asarray(rule.decay_factor, jnp.float32)
    upper = used.upper
    if rule.upper_bound == "first_window":
        # The first one that closes while there is no bound.
        bound = jnp.minimum(mean, LARGEST_BOUND)
        upper = jnp.where(done & (upper >= NO_BOUND), bound, upper)
    lower = _lower_bound(rule, used.lower, mean, windows)
    return LgaState(
        lga_count=jnp.asarray(optax.safe_increment(state.lga_count)),
        lga_windows=windows,
        lga_window_size=jnp.where(done, 0, size),
        lga_window_mean=jnp.where(done, 0.0, mean),
        lga_window_residue=jnp.where(done, 0.0, residue),
        lga_last_mean=jnp.where(done, mean, state.lga_last_mean),
        lga_multiplier=state.lga_multiplier * jnp.where(rose, decay, 1.0),
        lga_gamma=used.gamma,
        lga_omega=used.omega,
        lga_lower_bound=jnp.where(done, lower, used.lower),
        lga_upper_bound=upper,
    )


def _lower_bound(
    rule: Rule, before: jax.Array, mean: jax.Array, windows: jax.Array
) -> jax.Array:
    """E_k from E_{k-1} and the mean of window k."""
    if not isinstance(rule.lower_bound, str):
        return before
    k = windows.astype(jnp.float32)
    if rule.lower_bound == "ema":
        log_base = jnp.log(jnp.asarray(rule.log_base, jnp.float32))
        weight = log_base / jnp.log(k + 10)  # w_k = 1 / log(k + 10)
    elif rule.lower_bound == "average":
        weight = 1 - 1 / jnp.maximum(k, 1)
    else:
        weight = jnp.float32(MOMENTUM)
    return weight * before + (1 - weight) * mean  # Eq. 3
