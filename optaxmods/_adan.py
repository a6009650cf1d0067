"""Adan as published, and Adan with AGR: Algorithm 1 of the AGR paper."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.tree

from optaxmods._agr import (
    check_strength,
    regularize,
    returned_as_came,
    returning_as_came,
    update_moment,
)
from optaxmods._axes import AxisNames, ReductionAxes, matrix_groups
from optaxmods._proximal import add_proximal_decay
from optaxmods._restart import Restart, check_restart, is_due


class ScaleByAdanState(NamedTuple):
    """State of :func:`scale_by_adan` and :func:`scale_by_agr_adan`."""

    count: jax.typing.ArrayLike  # shape=(), dtype=jnp.int32; updates so far.
    # shape=(), dtype=jnp.int32; updates that the bias corrections count.
    since_restart: jax.typing.ArrayLike
    m: optax.Updates  # like the parameters; moment of the gradients.
    v: optax.Updates  # like the parameters; moment of their differences.
    n: optax.Updates  # like the parameters; second moment.
    g: optax.Updates  # like the parameters; the previous raw gradient.


def scale_by_adan(
    b1: jax.typing.ArrayLike = 0.98,
    b2: jax.typing.ArrayLike = 0.92,
    b3: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    *,
    restart: Restart | None = None,
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

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` with the state
      :class:`optaxmods.ScaleByAdanState`.

    Raises:
      ValueError: a number ``restart`` below 1.

    Examples:
      >>> import optax
      >>> from optaxmods import scale_by_adan
      >>> solver = optax.chain(
      ...     scale_by_adan(b1=0.98), optax.scale_by_learning_rate(1e-3)
      ... )
    """
    return scale_by_agr_adan(
        b1, b2, b3, eps, eps_root, restart=restart, strength=0.0
    )


def scale_by_agr_adan(
    b1: jax.typing.ArrayLike = 0.98,
    b2: jax.typing.ArrayLike = 0.92,
    b3: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    *,
    restart: Restart | None = None,
    strength: optax.ScalarOrSchedule = 1.0,
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
      strength: as in :func:`optaxmods.agr`; a schedule reads ``count``.
      reduction_axes: as in :func:`optaxmods.agr`.
      axis_name: as in :func:`optaxmods.agr`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` with the state
      :class:`optaxmods.ScaleByAdanState`.

    Raises:
      ValueError: as :func:`optaxmods.agr`; a number ``restart`` below 1.

    Examples:
      >>> import optax
      >>> from optaxmods import scale_by_agr_adan
      >>> solver = optax.chain(
      ...     scale_by_agr_adan(), optax.scale_by_learning_rate(1e-3)
      ... )
    """
    strength = check_strength(strength)
    check_restart(restart)

    def init_fn(params: optax.Params) -> ScaleByAdanState:
        matrix_groups(params, reduction_axes, axis_name)
        return ScaleByAdanState(
            count=jnp.zeros([], jnp.int32),
            since_restart=jnp.zeros([], jnp.int32),
            m=optax.tree.zeros_like(params),
            v=optax.tree.zeros_like(params),
            n=optax.tree.zeros_like(params),
            g=optax.tree.zeros_like(params),
        )

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        now = strength(state.count) if callable(strength) else strength
        regularized = regularize(updates, now, reduction_axes, axis_name)
        # Algorithm 1, with decay rates b = 1 - beta; d is the difference from
        # the previous raw gradient, 0 in the first step.
        first = state.since_restart == 0
        d = _difference(regularized, state.g, first)
        if regularized is updates:
            raw_d = d
        else:
            raw_d = _difference(updates, state.g, first)
        m = update_moment(regularized, updates, state.m, b1)
        v = update_moment(d, updates, state.v, b2)
        extrapolated = optax.tree.add_scale(updates, b2, raw_d)
        n = optax.tree.update_moment_per_elem_norm(extrapolated, state.n, b3, 2)
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
            m=optax.tree.cast_like(m, state.m),
            v=optax.tree.cast_like(v, state.v),
            n=optax.tree.cast_like(n, state.n),
            g=optax.tree.cast_like(updates, state.g),
        )
        if restart is not None:
            new_state = _restarted(new_state, is_due(restart, count))
        return returned_as_came(scaled, updates), new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


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


def adan(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.98,
    b2: jax.typing.ArrayLike = 0.92,
    b3: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    proximal: bool = True,
    restart: Restart | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adan, the adaptive Nesterov momentum algorithm, as published.

    In decay rates :math:`b_i = 1 - \beta_i` of the paper, with the difference
    :math:`d_k = g_k - g_{k-1}` (:math:`d_1 = 0`), the learning rate
    :math:`\eta` and the weight decay :math:`\lambda`,

    .. math::

        m_k &= b_1 m_{k-1} + (1 - b_1)\, g_k \\
        v_k &= b_2 v_{k-1} + (1 - b_2)\, d_k \\
        n_k &= b_3 n_{k-1} + (1 - b_3)\, (g_k + b_2\, d_k)^2 \\
        u_k &= \frac{\hat m_k + b_2\, \hat v_k}
            {\sqrt{\hat n_k} + \varepsilon}, \qquad
            \hat x_k = x_k / (1 - b^k) \\
        \theta_{k+1} &= (\theta_k - \eta\, u_k) / (1 + \lambda \eta).

    It differs from :func:`optax.adan` (0.2.8) in this. The difference
    is weighted by :math:`b_2` = 0.92, the paper's :math:`1 - \beta_2`, where
    optax weights it by ``1 - b2`` = 0.08. The weight decay is the paper's
    proximal one by default, where optax's is decoupled; ``proximal=False``
    gives :math:`\theta_{k+1} = \theta_k - \eta u_k - \eta \lambda \theta_k`,
    the authors' ``no_prox=True``. ``eps_root`` is 0, as in the authors' code,
    where optax has 1e-8. ``restart`` has no counterpart there. The bias
    corrections are those of the authors' code; the paper starts from the
    first gradient's moments instead.

    Args:
      learning_rate: :math:`\eta`, a number or a schedule.
      b1: decay rate of the moment of the gradients; 0.98 (the Adan paper's
        :math:`\beta_1` = 0.02).
      b2: decay rate of the moment of their differences; 0.92 (0.08).
      b3: decay rate of the second moment; 0.99 (0.01).
      eps: :math:`\varepsilon`, outside the square root; 1e-8 (the authors'
        code).
      eps_root: added inside the square root; 0.
      weight_decay: :math:`\lambda`, a number or a schedule; 0 (the authors'
        code).
      mask: which parameters decay: a tree of booleans, or a callable of the
        parameters that returns one, as in :func:`optax.adamw`.
      proximal: the paper's decay (``True``) or the decoupled one.
      restart: a period in steps, or a predicate of the number of updates done
        (a traced int32 scalar) that returns a boolean scalar. Where it holds
        after an update, the moments are zeroed, the previous gradient is
        dropped and bias correction starts again (the paper's restart
        condition); the counts that schedules read run on.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: a number ``restart`` below 1; ``update`` without parameters
        where there is weight decay.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from optaxmods import adan
      >>> def loss_fn(weights):
      ...     return jnp.sum(weights**2)
      >>> weights = jnp.array([1.0, 2.0, 3.0])
      >>> solver = adan(learning_rate=0.1, restart=100)
      >>> state = solver.init(weights)
      >>> for _ in range(3):
      ...     gradient = jax.grad(loss_fn)(weights)
      ...     updates, state = solver.update(gradient, state, weights)
      ...     weights = optax.apply_updates(weights, updates)
      >>> print(f"{loss_fn(weights):.2f}")
      10.68

    References:
      `Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
      Models <https://arxiv.org/abs/2208.06677>`_, 2022
    """
    return adan_agr(
        learning_rate,
        b1,
        b2,
        b3,
        eps,
        eps_root,
        weight_decay,
        mask,
        proximal=proximal,
        restart=restart,
        strength=0.0,
    )


def adan_agr(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.98,
    b2: jax.typing.ArrayLike = 0.92,
    b3: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    proximal: bool = True,
    restart: Restart | None = None,
    strength: optax.ScalarOrSchedule = 1.0,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adan with AGR as the AGR paper's Algorithm 1 prints it.

    With :math:`\Psi` of :func:`optaxmods.agr` and the notation of
    :func:`optaxmods.adan`,

    .. math::

        m_k &= b_1 m_{k-1} + (1 - b_1)\, \Psi(g_k) \\
        v_k &= b_2 v_{k-1} + (1 - b_2)\, (\Psi(g_k) - g_{k-1}) \\
        n_k &= b_3 n_{k-1} + (1 - b_3)\, (g_k + b_2\, (g_k - g_{k-1}))^2 \\
        u_k &= (\hat m_k + b_2\, \hat v_k) / (\sqrt{\hat n_k} + \varepsilon) \\
        \theta_{k+1} &= (\theta_k - \eta\, u_k) / (1 + \lambda \eta),

    the differences being 0 in the first step. ``optax.chain(agr(),
    adan(...))`` feeds :math:`\Psi(g)` to everything instead, as the authors'
    released code does.

    Args:
      learning_rate: as in :func:`optaxmods.adan`, like all that follow here.
      b1: decay rate of the moment of the gradients; 0.98.
      b2: decay rate of the moment of their differences; 0.92.
      b3: decay rate of the second moment; 0.99.
      eps: added outside the square root; 1e-8.
      eps_root: added inside the square root; 0.
      weight_decay: :math:`\lambda`, a number or a schedule; 0.
      mask: which parameters decay.
      proximal: proximal (``True``) or decoupled decay.
      restart: a period in steps or a predicate of the number of updates done.
      strength: as in :func:`optaxmods.agr`; with the number 0 this is
        :func:`optaxmods.adan` to the bit.
      reduction_axes: as in :func:`optaxmods.agr`.
      axis_name: as in :func:`optaxmods.agr`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`; its state is that of
      :func:`optaxmods.adan`.

    Raises:
      ValueError: as :func:`optaxmods.agr` and :func:`optaxmods.adan`.

    Examples:
      >>> from optaxmods import adan_agr
      >>> solver = adan_agr(learning_rate=1e-3, weight_decay=0.02)

    References:
      `An Adaptive Gradient Regularization Method
      <https://arxiv.org/abs/2407.16944>`_, 2024
    """
    decay = (
        add_proximal_decay(learning_rate, weight_decay, mask)
        if proximal
        else optax.add_decayed_weights(weight_decay, mask)
    )
    chain = optax.chain(
        scale_by_agr_adan(
            b1,
            b2,
            b3,
            eps,
            eps_root,
            restart=restart,
            strength=strength,
            reduction_axes=reduction_axes,
            axis_name=axis_name,
        ),
        decay,
        optax.scale_by_learning_rate(learning_rate),
    )
    return returning_as_came(chain)
