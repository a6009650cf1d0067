"""The moments of Adan, with and without AGR: Algorithm 1 of the AGR paper."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.tree

from optaxmods._agr import check_max_alpha, check_strength, strength_at
from optaxmods._axes import (
    AxisNames,
    ReductionAxes,
    check_axes,
    matrix_groups,
)
from optaxmods._checks import (
    check_floating,
    check_moments,
    check_state,
    check_word,
)
from optaxmods._dtypes import (
    checked_dtype,
    returning_as_came,
    wide_dtype,
    widened,
)
from optaxmods._moments import (
    decay_rate,
    positive_eps,
    stored,
    zero_moments,
    zero_second_moments,
)
from optaxmods._psi import Damping, regularize, regularize_all
from optaxmods._restart import Restart, check_restart, is_due
from optaxmods._trees import beside

DIFFERENCES = "regularized", "printed"


class ScaleByAdanState(NamedTuple):
    """State of :func:`scale_by_adan` and :func:`scale_by_agr_adan`."""

    count: jax.typing.ArrayLike  # shape=(), dtype=jnp.int32; updates so far.
    # shape=(), dtype=jnp.int32; updates that the bias corrections count.
    since_restart: jax.typing.ArrayLike
    # Shaped like the parameters; n in float32 or wider, unless nu_dtype is
    # given, the others in their dtype, unless mu_dtype is.
    m: optax.Updates  # moment of the gradients.
    v: optax.Updates  # moment of their differences.
    n: optax.Updates  # second moment.
    g: optax.Updates  # the previous raw gradient.
    # shape=(), float32 or wider; AGR's strength and max_alpha when g came,
    # where they are arrays, as optax.inject_hyperparams makes them, or None.
    agr_strength: Any = None
    agr_max_alpha: Any = None


def scale_by_adan(
    b1: jax.typing.ArrayLike = 0.98,
    b2: jax.typing.ArrayLike = 0.92,
    b3: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    *,
    restart: Restart | None = None,
    mu_dtype: jax.typing.DTypeLike | None = None,
    nu_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Rescales updates by Adan as published.

    The rule and the arguments are those of :func:`optaxmods.adan` without
    learning rate and weight decay.

    Args:
      b1: decay rate of the moment of the gradients.
      b2: decay rate of the moment of their differences.
      b3: decay rate of the second moment.
      eps: added to the denominator, outside the square root.
      eps_root: added to the denominator, inside the square root.
      restart: as in :func:`optaxmods.adan`.
      mu_dtype: as in :func:`optaxmods.adan`.
      nu_dtype: as in :func:`optaxmods.adan`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` with the state
      :class:`optaxmods.ScaleByAdanState`.

    Raises:
      ValueError: a decay rate outside [0, 1), a ``restart`` below 1, or
        another argument out of its range or of no known form; an integer or
        boolean leaf, with its path; gradients of another tree than the
        parameters at ``init``, or the state of another transformation.

    Examples:
      >>> import optax
      >>> from optaxmods import scale_by_adan
      >>> solver = optax.chain(
      ...     scale_by_adan(b1=0.98), optax.scale_by_learning_rate(1e-3)
      ... )
    """
    return scale_by_agr_adan(
        b1,
        b2,
        b3,
        eps,
        eps_root,
        restart=restart,
        mu_dtype=mu_dtype,
        nu_dtype=nu_dtype,
        strength=0.0,
    )


def scale_by_agr_adan(
    b1: jax.typing.ArrayLike = 0.98,
    b2: jax.typing.ArrayLike = 0.92,
    b3: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    *,
    restart: Restart | None = None,
    difference: str = "regularized",
    mu_dtype: jax.typing.DTypeLike | None = None,
    nu_dtype: jax.typing.DTypeLike | None = None,
    strength: optax.ScalarOrSchedule = 1.0,
    max_alpha: jax.typing.ArrayLike = 1.0,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> optax.GradientTransformationExtraArgs:
    """Rescales updates by Adan with AGR in the moments that see Psi(g).

    The rule and the arguments are those of :func:`optaxmods.adan_agr` without
    learning rate and weight decay.

    Args:
      b1: decay rate of the moment of the gradients.
      b2: decay rate of the moment of their differences.
      b3: decay rate of the second moment.
      eps: added to the denominator, outside the square root.
      eps_root: added to the denominator, inside the square root.
      restart: as in :func:`optaxmods.adan`.
      difference: as in :func:`optaxmods.adan_agr`.
      mu_dtype: as in :func:`optaxmods.adan`.
      nu_dtype: as in :func:`optaxmods.adan`.
      strength: as in :func:`optaxmods.agr`; a schedule reads ``count``.
      max_alpha: as in :func:`optaxmods.agr`.
      reduction_axes: as in :func:`optaxmods.agr`.
      axis_name: as in :func:`optaxmods.agr`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` with the state
      :class:`optaxmods.ScaleByAdanState`.

    Raises:
      ValueError: as :func:`optaxmods.agr` and :func:`scale_by_adan`; another
        ``difference``.

    Examples:
      >>> import optax
      >>> from optaxmods import scale_by_agr_adan
      >>> solver = optax.chain(
      ...     scale_by_agr_adan(), optax.scale_by_learning_rate(1e-3)
      ... )
    """
    return returning_as_came(
        adan_moments(
            b1=b1,
            b2=b2,
            b3=b3,
            eps=eps,
            eps_root=eps_root,
            restart=restart,
            difference=difference,
            mu_dtype=mu_dtype,
            nu_dtype=nu_dtype,
            strength=strength,
            max_alpha=max_alpha,
            reduction_axes=reduction_axes,
            axis_name=axis_name,
        )
    )


def adan_moments(
    *,
    b1: jax.typing.ArrayLike,
    b2: jax.typing.ArrayLike,
    b3: jax.typing.ArrayLike,
    eps: jax.typing.ArrayLike,
    eps_root: jax.typing.ArrayLike,
    restart: Restart | None,
    difference: str,
    mu_dtype: jax.typing.DTypeLike | None,
    nu_dtype: jax.typing.DTypeLike | None,
    strength: optax.ScalarOrSchedule,
    max_alpha: jax.typing.ArrayLike,
    reduction_axes: ReductionAxes,
    axis_name: AxisNames,
) -> optax.GradientTransformationExtraArgs:
    """The rule of Algorithm 1; updates as wide as their moments."""
    check_moments(eps, eps_root, b1=b1, b2=b2, b3=b3)
    b1, b2, b3 = decay_rate(b1), decay_rate(b2), decay_rate(b3)
    eps = positive_eps(eps)
    mu_dtype = checked_dtype("mu_dtype", mu_dtype)
    nu_dtype = checked_dtype("nu_dtype", nu_dtype)
    strength = check_strength(strength)
    max_alpha = check_max_alpha(max_alpha)
    check_word("difference", difference, DIFFERENCES)
    check_restart(restart)
    check_axes(reduction_axes, axis_name)

    def init_fn(params: optax.Params) -> ScaleByAdanState:
        matrix_groups(params, reduction_axes, axis_name)
        check_floating(params)
        return ScaleByAdanState(
            count=jnp.zeros([], jnp.int32),
            since_restart=jnp.zeros([], jnp.int32),
            m=zero_moments(params, mu_dtype),
            v=zero_moments(params, mu_dtype),
            n=zero_second_moments(params, nu_dtype),
            g=zero_moments(params, mu_dtype),
            agr_strength=_kept(strength),
            agr_max_alpha=_kept(max_alpha),
        )

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        check_state(state, ScaleByAdanState)
        check_floating(updates)
        m, v, n, g = (
            beside(updates, kept)
            for kept in (state.m, state.v, state.n, state.g)
        )
        now = Damping(strength_at(strength, state.count), max_alpha)
        axes = reduction_axes, axis_name
        if difference == "printed":
            regularized, previous = regularize(updates, *now, *axes), g
        else:
            # Each with the damping of its own step: v is then Adan's moment
            # of one sequence of Psi(g), which never turns a step round.
            before = _damping_before(strength, now, state)
            regularized, previous = regularize_all(
                (updates, g), (now, before), *axes
            )
        # Moments may be kept narrow, but are formed in float32 or wider.
        is_plain = regularized is updates
        gradients = widened(updates)
        regularized = gradients if is_plain else widened(regularized)
        # Algorithm 1, with decay rates b = 1 - beta; both differences are 0 in
        # the first step.
        first = state.since_restart == 0
        d = _difference(regularized, previous, first)
        raw_d = d if is_plain else _difference(gradients, g, first)
        m = optax.tree.update_moment(regularized, widened(m), b1, 1)
        v = optax.tree.update_moment(d, widened(v), b2, 1)
        extrapolated = optax.tree.add_scale(gradients, b2, raw_d)
        n = optax.tree.update_moment_per_elem_norm(
            extrapolated, widened(n), b3, 2
        )
        count = optax.safe_increment(state.count)
        since_restart = optax.safe_increment(state.since_restart)
        numerator = optax.tree.add_scale(
            optax.tree.bias_correction(m, b1, since_restart),
            b2,
            optax.tree.bias_correction(v, b2, since_restart),
        )
        scaled = jax.tree.map(
            lambda u, n_hat: u / (jnp.sqrt(n_hat + eps_root) + eps),
            numerator,
            optax.tree.bias_correction(n, b3, since_restart),
        )
        new_state = ScaleByAdanState(
            count=count,
            since_restart=since_restart,
            m=stored(updates, m, state.m),
            v=stored(updates, v, state.v),
            n=stored(updates, n, state.n),
            g=stored(updates, gradients, state.g),
            agr_strength=_kept(strength, now.strength),
            agr_max_alpha=_kept(max_alpha, now.max_alpha),
        )
        if restart is not None:
            new_state = _restarted(new_state, is_due(restart, count))
        return scaled, new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _kept(argument: Any, number: Any = 0) -> jax.Array | None:
    """The number of the last update, where the argument does not say it."""
    if callable(argument) or isinstance(argument, float):
        return None
    return jnp.asarray(number, wide_dtype(argument))


def _damping_before(
    strength: optax.ScalarOrSchedule, now: Damping, state: ScaleByAdanState
) -> Damping:
    """The damping of the step before, in the first step any."""
    last = Damping(state.agr_strength, state.agr_max_alpha)
    if callable(strength):
        count = jnp.maximum(state.count - 1, 0)
        last = last._replace(strength=strength_at(strength, count))
    return Damping(
        *(
            now if was is None else was
            for was, now in zip(last, now, strict=True)
        )
    )


def _difference(
    updates: optax.Updates, previous: optax.Updates, first: jax.Array
) -> optax.Updates:
    return jax.tree.map(
        lambda g, g_before: jnp.where(first, jnp.zeros_like(g), g - g_before),
        updates,
        previous,
    )


def _restarted(state: ScaleByAdanState, due: jax.Array) -> ScaleByAdanState:
    """Algorithm 1, line 3: after the update, moments may start again."""
    emptied = functools.partial(
        jax.tree.map, lambda x: jnp.where(due, jnp.zeros_like(x), x)
    )
    # The previous gradient is dropped by since_restart = 0.
    return state._replace(
        since_restart=emptied(state.since_restart),
        m=emptied(state.m),
        v=emptied(state.v),
        n=emptied(state.n),
    )
