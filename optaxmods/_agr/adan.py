"""Adan with AGR: Algorithm 1 of the AGR paper."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._adan.moments import Kept, ScaleByAdanState, adan_moments
from optaxmods._adan.restart import Restart
from optaxmods._adan.transform import with_decay
from optaxmods._agr.damping import Damping, damping
from optaxmods._agr.matrices import AxisNames, ReductionAxes
from optaxmods._agr.psi import Degree
from optaxmods._shared.arguments import check_word
from optaxmods._shared.dtypes import returning_as_came, wide_dtype

DIFFERENCES = "regularized", "printed"


class _Damped(NamedTuple):
    """Psi(g) in the first moments, and what v is the moment of."""

    damp: Damping
    difference: str

    def init(self, params: optax.Params) -> Kept:
        self.damp.check(params)
        return self._kept(Degree(0, 0))

    def __call__(
        self,
        updates: optax.Updates,
        previous: optax.Updates,
        state: ScaleByAdanState,
    ) -> tuple[optax.Updates, optax.Updates, Kept]:
        now = self.damp.at(state.count)
        kept = self._kept(now)
        if self.difference == "printed":
            (psi,) = self.damp.of_each((updates,), (now,))
            return psi, previous, kept
        # Each with the degree of its own step: v is then Adan's moment of one
        # sequence of Psi(g), which never turns a step round.
        psi, psi_before = self.damp.of_each(
            (updates, previous), (now, self._before(now, state))
        )
        return psi, psi_before, kept

    def _kept(self, degree: Degree) -> Kept:
        """The numbers of an update, where the arguments do not say them."""
        strength, max_alpha = (
            None
            if callable(argument) or isinstance(argument, float)
            else jnp.asarray(number, wide_dtype(argument))
            for argument, number in zip(self.damp[:2], degree, strict=True)
        )
        return strength, max_alpha

    def _before(self, now: Degree, state: ScaleByAdanState) -> Degree:
        """The degree of the step before, in the first step any."""
        last = Degree(state.agr_strength, state.agr_max_alpha)
        if callable(self.damp.strength):
            count = jnp.maximum(state.count - 1, 0)
            last = last._replace(strength=self.damp.at(count).strength)
        return Degree(
            *(
                now if was is None else was
                for was, now in zip(last, now, strict=True)
            )
        )


def _damped(damp: Damping, difference: str) -> _Damped:
    check_word("difference", difference, DIFFERENCES)
    return _Damped(damp, difference)


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
      ValueError: as :func:`optaxmods.agr` and
        :func:`optaxmods.scale_by_adan`; another ``difference``.

    Examples:
      >>> import optax
      >>> from optaxmods import scale_by_agr_adan
      >>> solver = optax.chain(
      ...     scale_by_agr_adan(), optax.scale_by_learning_rate(1e-3)
      ... )
    """
    damped = _damped(
        damping(strength, max_alpha, reduction_axes, axis_name), difference
    )
    return returning_as_came(
        adan_moments(
            b1, b2, b3, eps, eps_root, restart, mu_dtype, nu_dtype, damped
        )
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
    difference: str = "regularized",
    mu_dtype: jax.typing.DTypeLike | None = None,
    nu_dtype: jax.typing.DTypeLike | None = None,
    strength: optax.ScalarOrSchedule = 1.0,
    max_alpha: jax.typing.ArrayLike = 1.0,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adan with AGR: the AGR paper's Algorithm 1, made safe to train with.

    With :math:`\Psi` of :func:`optaxmods.agr` and the notation of
    :func:`optaxmods.adan`,

    .. math::

        m_k &= b_1 m_{k-1} + (1 - b_1)\, \Psi(g_k) \\
        v_k &= b_2 v_{k-1} + (1 - b_2)\, (\Psi(g_k) - \Psi(g_{k-1})),

    the difference being 0 in the first step, and the rest as there, with
    :math:`n` of the raw gradients. Algorithm 1 prints
    :math:`\Psi(g_k) - g_{k-1}` in the second line, which
    ``difference="printed"`` gives to the letter. **That form can diverge**: the
    difference of a constant gradient is :math:`-\alpha g` there, and the
    numerator of the step :math:`(1 - \alpha\, (1 + b_2))\, g`. An entry with
    :math:`\alpha > 1 / (1 + b_2)`, 0.52 at the default, moves uphill for as
    long as it holds that share of its matrix. With a strength :math:`s` the
    bound is on :math:`s\,\alpha`, and ``max_alpha=0.5`` keeps a constant
    gradient below it.

    ``optax.chain(agr(), adan(...))`` feeds :math:`\Psi(g)` to everything
    instead, as the authors' released code does.

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
      difference: what :math:`v` is the moment of. ``"regularized"``, the
        default: :math:`\Psi(g_k) - \Psi(g_{k-1})`, each with the strength of
        its own step; the previous gradient is summed once more in each step,
        with the new one on a mesh.
        ``"printed"``: :math:`\Psi(g_k) - g_{k-1}` (Algorithm 1).
      mu_dtype: dtype of the first moments and of the previous gradient.
      nu_dtype: dtype of the second moment.
      strength: as in :func:`optaxmods.agr`; with the number 0 this is
        :func:`optaxmods.adan` to the bit.
      max_alpha: as in :func:`optaxmods.agr`; 1 is Eq. 2, in which an entry that
        is its matrix's only nonzero one never moves.
      reduction_axes: as in :func:`optaxmods.agr`.
      axis_name: as in :func:`optaxmods.agr`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`; its state is that of
      :func:`optaxmods.adan`.

    Raises:
      ValueError: as :func:`optaxmods.agr` and :func:`optaxmods.adan`; another
        ``difference``.

    Examples:
      >>> from optaxmods import adan_agr
      >>> solver = adan_agr(learning_rate=1e-3, weight_decay=0.02)
      >>> as_printed = adan_agr(learning_rate=1e-3, difference="printed")

    References:
      `An Adaptive Gradient Regularization Method
      <https://arxiv.org/abs/2407.16944>`_, 2024

      In plain NumPy: :ref:`tests/oracles/agr.py <numpy-agr>`
    """
    damped = _damped(
        damping(strength, max_alpha, reduction_axes, axis_name), difference
    )
    return with_decay(
        adan_moments(
            b1, b2, b3, eps, eps_root, restart, mu_dtype, nu_dtype, damped
        ),
        learning_rate,
        weight_decay,
        mask,
        proximal,
    )
