"""Adan as published."""

from typing import Any

import jax
import optax

from optaxmods._adan.moments import adan_moments
from optaxmods._adan.proximal import add_proximal_decay
from optaxmods._adan.restart import Restart
from optaxmods._shared.arguments import check_flag, check_rates
from optaxmods._shared.dtypes import returning_as_came, returning_steps
from optaxmods._shared.rates import add_decayed_weights, scale_by_learning_rate
from optaxmods._shared.trees import check_mask


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
    return returning_as_came(
        adan_moments(b1, b2, b3, eps, eps_root, restart, mu_dtype, nu_dtype)
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
    mu_dtype: jax.typing.DTypeLike | None = None,
    nu_dtype: jax.typing.DTypeLike | None = None,
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
      mu_dtype: dtype of :math:`m`, :math:`v` and the previous gradient;
        ``None`` takes the parameter's, which complex ones keep beside a real
        dtype. All moments are formed in float32 or wider, whatever they are
        kept in. In bfloat16 a mean with ``b1`` = 0.98 no longer moves towards
        gradients that are within 10 to 20 % of it: take ``jnp.float32`` where
        gradients hardly vary, and in float16 where one can be larger than
        65504, which would be kept as infinity.
      nu_dtype: dtype of :math:`n`; ``None`` is float32, or the parameter's
        where that is wider. In bfloat16 :math:`n` stops within 20 to 40 %, and
        in float16 squares of more than 65504 overflow.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`. Where a gradient is
      ``None`` so is the update, and moments stay as they were.

    Raises:
      ValueError: a decay rate outside [0, 1), a ``restart`` below 1, or
        another argument out of its range or of no known form; an integer or
        boolean leaf, with its path; gradients of another tree than the
        parameters, at ``init`` or now, a ``mask`` of another, the state of
        another transformation, or one without the count or the mask that a
        schedule or ``mask`` needs; a schedule that returns no number;
        ``update`` without parameters where there
        is weight decay, and with ``proximal=False`` always.

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

      In plain NumPy: :ref:`tests/oracles/adan.py <numpy-adan>`
    """
    return with_decay(
        adan_moments(b1, b2, b3, eps, eps_root, restart, mu_dtype, nu_dtype),
        learning_rate,
        weight_decay,
        mask,
        proximal,
    )


def with_decay(
    moments: optax.GradientTransformationExtraArgs,
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: optax.ScalarOrSchedule,
    mask: Any,
    proximal: bool,
) -> optax.GradientTransformationExtraArgs:
    """The step of Adan from its moments."""
    check_rates(learning_rate=learning_rate, weight_decay=weight_decay)
    check_mask(mask)
    check_flag("proximal", proximal)
    decay = (
        add_proximal_decay(learning_rate, weight_decay, mask)
        if proximal
        else add_decayed_weights(weight_decay, mask)
    )
    chain = optax.chain(moments, decay, scale_by_learning_rate(learning_rate))
    return returning_steps(chain)
