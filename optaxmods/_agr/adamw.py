"""AdamW with AGR: Algorithm 2 of the AGR paper."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.tree

from optaxmods._agr.damping import Damping, damping
from optaxmods._agr.matrices import AxisNames, ReductionAxes
from optaxmods._shared.arguments import (
    check_flag,
    check_floating,
    check_moments,
    check_rates,
    check_state,
)
from optaxmods._shared.dtypes import (
    checked_dtype,
    returning_as_came,
    returning_steps,
    widened,
)
from optaxmods._shared.moments import (
    decay_rate,
    denominator,
    positive_eps,
    stored,
    zero_moments,
)
from optaxmods._shared.rates import add_decayed_weights, scale_by_learning_rate
from optaxmods._shared.trees import beside, check_mask


def scale_by_agr_adam(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    *,
    nesterov: bool = False,
    nu_dtype: jax.typing.DTypeLike | None = None,
    strength: optax.ScalarOrSchedule = 1.0,
    max_alpha: jax.typing.ArrayLike = 1.0,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by Adam whose first moment alone sees Psi(g).

    No chain of :func:`optaxmods.agr` and :func:`optax.scale_by_adam` can do
    this, since there both moments see :math:`\Psi(g)`. The rule and the
    arguments are those of :func:`optaxmods.adamw_agr` without learning rate
    and weight decay.

    Args:
      b1: decay rate of the first moment.
      b2: decay rate of the second moment.
      eps: added to the denominator, outside the square root.
      eps_root: added to the denominator, inside the square root.
      mu_dtype: dtype of the first moment; ``None`` takes the parameter's.
      nesterov: whether to use Nesterov momentum, as optax does.
      nu_dtype: as in :func:`optaxmods.adamw_agr`.
      strength: as in :func:`optaxmods.agr`; a schedule reads ``count``.
      max_alpha: as in :func:`optaxmods.agr`.
      reduction_axes: as in :func:`optaxmods.agr`.
      axis_name: as in :func:`optaxmods.agr`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`. Its state is
      :class:`optax.ScaleByAdamState` (``count``: shape (), int32; ``mu``: like
      the parameters; ``nu``: like them, but float32 where they are narrower),
      so that a run of float32 parameters can go over from :func:`optax.adamw`
      and back with the same checkpoint.

    Raises:
      ValueError: as :func:`optaxmods.agr`; a decay rate outside [0, 1), or
        another argument out of its range or of no known form; an integer or
        boolean leaf, with its path; gradients of another tree than the
        parameters at ``init``, or the state of another transformation.

    Examples:
      >>> import optax
      >>> from optaxmods import scale_by_agr_adam
      >>> solver = optax.chain(
      ...     scale_by_agr_adam(b1=0.9), optax.scale_by_learning_rate(1e-3)
      ... )
    """
    damp = damping(strength, max_alpha, reduction_axes, axis_name)
    return returning_as_came(
        _adam_moments(b1, b2, eps, eps_root, mu_dtype, nesterov, nu_dtype, damp)
    )


def _adam_moments(
    b1: jax.typing.ArrayLike,
    b2: jax.typing.ArrayLike,
    eps: jax.typing.ArrayLike,
    eps_root: jax.typing.ArrayLike,
    mu_dtype: jax.typing.DTypeLike | None,
    nesterov: bool,
    nu_dtype: jax.typing.DTypeLike | None,
    damp: Damping,
) -> optax.GradientTransformationExtraArgs:
    """The rule of Algorithm 2; updates as wide as their moments."""
    check_moments(eps, eps_root, b1=b1, b2=b2)
    b1, b2, eps = decay_rate(b1), decay_rate(b2), positive_eps(eps)
    mu_dtype = checked_dtype("mu_dtype", mu_dtype)
    nu_dtype = checked_dtype("nu_dtype", nu_dtype)
    check_flag("nesterov", nesterov)

    def init_fn(params: optax.Params) -> optax.ScaleByAdamState:
        damp.check(params)
        check_floating(params)
        mu, nu = zero_moments(params, mu_dtype, nu_dtype)
        return optax.ScaleByAdamState(jnp.zeros([], jnp.int32), mu, nu)

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        check_state(state, optax.ScaleByAdamState)
        check_floating(updates)
        mu, nu = (beside(updates, kept) for kept in (state.mu, state.nu))
        regularized = damp(updates, state.count)
        # Moments may be kept narrow, but are formed in float32 or wider.
        gradients, regularized = widened(updates), widened(regularized)
        count = optax.safe_increment(state.count)
        # Algorithm 2: m_t sees Psi(g_t), v_t the raw g_t ("instead of the
        # second-order momentum", Section 3.3).
        mu = optax.tree.update_moment(regularized, widened(mu), b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(
            gradients, widened(nu), b2, 2
        )
        if nesterov:
            mu_hat = jax.tree.map(
                lambda m, g: b1 * m + (1 - b1) * g,
                optax.tree.bias_correction(mu, b1, optax.safe_increment(count)),
                optax.tree.bias_correction(regularized, b1, count),
            )
        else:
            mu_hat = optax.tree.bias_correction(mu, b1, count)
        nu_hat = optax.tree.bias_correction(nu, b2, count)
        scaled = jax.tree.map(
            lambda m, v: m / denominator(v, eps, eps_root), mu_hat, nu_hat
        )
        state = optax.ScaleByAdamState(
            count=count,
            mu=stored(updates, mu, state.mu),
            nu=stored(updates, nu, state.nu),
        )
        return scaled, state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def adamw_agr(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    weight_decay: optax.ScalarOrSchedule = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: jax.typing.DTypeLike | None = None,
    strength: optax.ScalarOrSchedule = 1.0,
    max_alpha: jax.typing.ArrayLike = 1.0,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdamW with AGR as the paper's Algorithm 2 prints it.

    With :math:`\Psi` of :func:`optaxmods.agr`, the learning rate
    :math:`\eta_t`, the weight decay :math:`\lambda` and the parameters
    :math:`\theta`,

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1)\, \Psi(g_t) \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2 \\
        \theta_t &= \theta_{t-1} - \eta_t \left( \frac{m_t / (1 - \beta_1^t)}
            {\sqrt{v_t / (1 - \beta_2^t)} + \varepsilon}
            + \lambda\, \theta_{t-1} \right).

    The first moment alone sees :math:`\Psi(g)`; ``optax.chain(agr(),
    optax.adamw(...))`` feeds it to both, as the authors' released code does.
    The algorithm's further line :math:`g_t \leftarrow \nabla f + \lambda
    \theta` is the L2 variant that the AdamW paper prints beside the decoupled
    one in another colour; AdamW is the decoupled form, built here. Arguments
    that :func:`optax.adamw` has mean and default to the same.

    Args:
      learning_rate: :math:`\eta_t`, a number or a schedule; 1e-3 in the paper
        (Algorithm 2).
      b1: decay rate of the first moment; 0.9 (Algorithm 2).
      b2: decay rate of the second moment; 0.999 (Algorithm 2).
      eps: :math:`\varepsilon`, outside the square root; 1e-8 (Algorithm 2).
      eps_root: added inside the square root.
      mu_dtype: dtype of the first moment; ``None`` takes the parameter's, which
        complex ones keep beside a real dtype.
      weight_decay: :math:`\lambda`, a number or a schedule; 1e-4 (optax).
      mask: which parameters decay: a tree of booleans, or a callable of the
        parameters that returns one, as in :func:`optax.adamw`.
      nesterov: whether to use Nesterov momentum, as optax does.
      nu_dtype: dtype of the second moment; ``None`` is float32, or the
        parameter's where that is wider. Both moments are formed in float32 or
        wider whatever they are kept in. In bfloat16 a second moment with
        ``b2`` = 0.999 never decays, and in float16 squares of more than 65504
        overflow.
      strength: as in :func:`optaxmods.agr`; in float32, 0 gives
        :func:`optax.adamw`.
      max_alpha: as in :func:`optaxmods.agr`; 1 is Algorithm 2, in which an
        entry that is its matrix's only nonzero one never moves.
      reduction_axes: as in :func:`optaxmods.agr`.
      axis_name: as in :func:`optaxmods.agr`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`; its state is that of
      :func:`optax.adamw`, with a float32 ``nu`` for narrower parameters. Where
      a gradient is ``None`` so is the update, and moments stay as they were.

    Raises:
      ValueError: as :func:`optaxmods.agr`; a decay rate outside [0, 1), or
        another argument out of its range or of no known form; an integer or
        boolean leaf, with its path; gradients of another tree than the
        parameters, at ``init`` or now, a ``mask`` of another, the state of
        another transformation, or one without the count or the mask that a
        schedule or ``mask`` needs; a schedule that returns no number.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from optaxmods import adamw_agr
      >>> def loss_fn(weights):
      ...     return jnp.sum(weights**2)
      >>> weights = jnp.array([[1.0, 2.0], [3.0, 4.0]])
      >>> solver = adamw_agr(learning_rate=0.1)
      >>> state = solver.init(weights)
      >>> for _ in range(3):
      ...     gradient = jax.grad(loss_fn)(weights)
      ...     updates, state = solver.update(gradient, state, weights)
      ...     weights = optax.apply_updates(weights, updates)
      >>> print(f"{loss_fn(weights):.2f}")
      26.02

    References:
      `An Adaptive Gradient Regularization Method
      <https://arxiv.org/abs/2407.16944>`_, 2024; `Decoupled Weight Decay
      Regularization <https://arxiv.org/abs/1711.05101>`_, 2019

      In plain NumPy: :ref:`tests/oracles/agr.py <numpy-agr>`
    """
    check_rates(learning_rate=learning_rate, weight_decay=weight_decay)
    check_mask(mask)
    damp = damping(strength, max_alpha, reduction_axes, axis_name)
    chain = optax.chain(
        _adam_moments(
            b1, b2, eps, eps_root, mu_dtype, nesterov, nu_dtype, damp
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
    return returning_steps(chain)
