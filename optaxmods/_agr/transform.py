"""Adaptive gradient regularization (AGR), as a transformation of its own."""

from collections.abc import Callable
import functools
import numbers
from typing import NamedTuple, ParamSpec
import warnings

import jax
import jax.numpy as jnp
import optax

from optaxmods._agr.damping import checked_share, damping
from optaxmods._agr.matrices import AxisNames, ReductionAxes
from optaxmods._agr.psi import coefficients
from optaxmods._shared.arguments import check_count, check_state
from optaxmods._shared.dtypes import returned_as_came

Arguments = ParamSpec("Arguments")

# Below it, a strength in the learning rate's place is taken for one.
SMALL_STRENGTH = 0.05


class AgrState(NamedTuple):
    """State of :func:`agr` with a scheduled strength."""

    count: jax.typing.ArrayLike  # shape=(), dtype=jnp.int32; updates so far.


def _warning_of_learning_rates(
    factory: Callable[Arguments, optax.GradientTransformationExtraArgs],
) -> Callable[Arguments, optax.GradientTransformationExtraArgs]:
    """Warns of ``agr(1e-3)``: the like of ``optax.adamw(1e-3)``, and no error.

    A keyword is meant, and so is 0, which turns AGR off.
    """

    @functools.wraps(factory)
    def agr(*args: Arguments.args, **kwargs: Arguments.kwargs):
        transformation = factory(*args, **kwargs)
        first = args[0] if args else None
        is_number = isinstance(first, numbers.Real)
        if is_number and 0 < float(first) < SMALL_STRENGTH:
            rate = f"{float(first):g}"
            warnings.warn(
                f"agr({rate}) sets AGR's strength to {rate}, which leaves it"
                " almost off: a learning rate goes to the optimizer behind it,"
                f" optax.chain(agr(), optax.adamw({rate})), or into"
                f" adamw_agr({rate}), and a strength that is meant so is"
                f" passed as agr(strength={rate}).",
                stacklevel=2,
            )
        return transformation

    return agr


@_warning_of_learning_rates
def agr(
    strength: optax.ScalarOrSchedule = 1.0,
    *,
    max_alpha: jax.typing.ArrayLike = 1.0,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Damps every gradient entry by its share of its matrix's absolute sum.

    For the gradient :math:`g` of one weight matrix, the strength :math:`s` and
    the largest coefficient :math:`c`,

    .. math::

        \alpha_{ij} &= \min\left(\frac{|g_{ij}|}{\sum_{kl} |g_{kl}|},
            c\right) \qquad \text{(Eq. 2 for } c = 1\text{)} \\
        \Psi(g)_{ij} &= g_{ij} - s\, \alpha_{ij}\, g_{ij}
            \qquad \text{(Eq. 1 for } s = 1\text{)}

    so that :math:`|\Psi(g)| \le |g|` entry by entry with the sign kept, a
    uniform matrix of :math:`N` entries shrinks by :math:`1 - 1/N`, and a lone
    nonzero entry becomes :math:`1 - s\,c` of itself: 0 as the paper has it, and
    so nothing learns from it. ``max_alpha=0.5`` leaves it half. ``optax.chain(
    agr(), optax.adamw(...))`` is what the authors' released code does (on
    matrices; on every tensor with ``reduction_axes="all"``); the paper's
    algorithms are :func:`optaxmods.adamw_agr` and :func:`optaxmods.adan_agr`.

    Sums and products are formed in float32 (float64 for float64 leaves) and
    cast back to the leaf's dtype last. An all-zero matrix stays zero; where
    the absolute sum overflows, :math:`\alpha = 0`; a non-finite gradient stays
    non-finite and inside its own leaf. Place AGR after the averaging over
    data-parallel replicas and, with gradient accumulation, inside
    :class:`optax.MultiSteps`: it is not linear, so the mean of regularized
    gradients is not the regularized mean.

    Args:
      strength: :math:`s` in [0, 1], or a schedule of the step count. 1, the
        default, is the paper's operator; 0 leaves gradients as they are. A
        schedule that falls to 0 is the paper's suspension (Tables 7 and 8).
        A number keeps the transformation stateless. It is no learning rate:
        that belongs to the optimizer behind AGR.
      max_alpha: :math:`c` in [0, 1]; coefficients above it count as it. 1, the
        default, is Eq. 2. Below 1 every entry keeps at least the share
        :math:`1 - c` of its gradient, which a matrix needs whose gradient often
        has a single nonzero entry: see "Where AGR stops learning" in the
        documentation. The paper has no such bound.
      reduction_axes: the axes of each leaf that make up one weight matrix.
        ``None``, the default, takes all axes of leaves with ``ndim >= 2``,
        more than one entry and another name than ``bias``, and leaves other
        leaves (biases, scales) alone: the paper's kernels (Section 3.3), and
        embedding tables too. ``"all"``: all axes of every leaf with more than
        one entry (the released code). A tuple of ints: these axes of leaves
        with ``ndim >= 2``, biases included, for example ``(-2, -1)`` where
        there is nothing but stacked matrices. A tree of such tuples, or a
        callable of the updates that returns one, speaks for each leaf, ``()``
        leaving it alone; entries are found by key path, so that masked,
        partitioned and ``nnx`` trees work. ``None`` is an entry where the
        updates have no leaf. A tree whose container can be called is a tree.
        :func:`optaxmods.flax.kernel_axes` is such a callable for the stacked
        layers and the embeddings of Flax.
      axis_name: for ``jax.shard_map`` only: the mesh axis or axes over which
        a weight matrix itself is split; one for all leaves, or a tree or
        callable as for ``reduction_axes``, with ``()`` for replicated leaves.
        A bare tuple of names is one entry for all leaves.
        With ``check_vma=True``, the default, an axis over which a leaf is
        known to be replicated is passed over; with ``check_vma=False`` the
        names are taken at their word.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` whose updates have the
      incoming tree, shapes and dtypes. Its state is :class:`optax.EmptyState`,
      or :class:`optaxmods.AgrState` where ``strength`` is a schedule.

    Raises:
      ValueError: a number ``strength`` or ``max_alpha`` outside [0, 1], or
        another argument of no known form; at ``init``, an axis that a leaf
        lacks or a group of one entry, with the leaf's path; at ``update``, an
        ``axis_name`` that is no axis of the enclosing ``jax.shard_map``, a
        schedule that returns no number, or the state of another transformation
        or of a number where ``strength`` is a schedule.

    Warns:
      UserWarning: ``strength`` is passed by position, as a number above 0 and
        below 0.05: it looks like a learning rate. ``strength=0.01`` is taken
        at its word.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from optaxmods import agr
      >>> gradient = {"kernel": jnp.array([[3.0, -1.0]]), "bias": jnp.ones(2)}
      >>> tx = agr()
      >>> updates, _ = tx.update(gradient, tx.init(gradient))
      >>> updates["kernel"].tolist(), updates["bias"].tolist()
      ([[0.75, -0.75]], [1.0, 1.0])
      >>> solver = optax.chain(agr(), optax.adamw(1e-3))
      >>> suspended_later = optax.piecewise_constant_schedule(
      ...     1.0, {10_000: 0.0}  # Steps, not epochs.
      ... )
      >>> solver = optax.chain(agr(suspended_later), optax.adamw(1e-3))

    References:
      `An Adaptive Gradient Regularization Method
      <https://arxiv.org/abs/2407.16944>`_, 2024

      In plain NumPy: :ref:`tests/oracles/agr.py <numpy-agr>`
    """
    damp = damping(strength, max_alpha, reduction_axes, axis_name)

    def init_fn(params: optax.Params) -> AgrState | optax.EmptyState:
        damp.check(params)
        if callable(strength):
            return AgrState(count=jnp.zeros([], jnp.int32))
        return optax.EmptyState()

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        if not callable(strength):
            return returned_as_came(damp(updates, None), updates), state
        check_count("strength", state)
        check_state(state, AgrState)
        regularized = damp(updates, state.count)
        state = AgrState(count=optax.safe_increment(state.count))
        return returned_as_came(regularized, updates), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def agr_coefficients(
    updates: optax.Updates,
    *,
    max_alpha: jax.typing.ArrayLike = 1.0,
    reduction_axes: ReductionAxes = None,
) -> optax.Updates:
    """The coefficients alpha of Eq. 2, for logging and plots.

    The largest one of a leaf says how much of a single entry's gradient is
    taken away there; where it is near 1, that entry learns nothing.

    Args:
      updates: gradients, a pytree of arrays.
      max_alpha: as in :func:`optaxmods.agr`; coefficients above it count as it.
      reduction_axes: as in :func:`optaxmods.agr`.

    Returns:
      A tree like ``updates`` with each leaf's shape, real, float32 (float64
      for float64 and complex128 leaves): alpha of :func:`optaxmods.agr`, which
      sums to 1 over each matrix with a nonzero entry and none above
      ``max_alpha``; zeros where AGR leaves a leaf alone.

    Raises:
      ValueError: as :func:`optaxmods.agr` does, for ``max_alpha`` and at
        ``init``.

    Examples:
      >>> import jax.numpy as jnp
      >>> from optaxmods import agr_coefficients
      >>> gradient = {"kernel": jnp.array([[3.0, -1.0]]), "bias": jnp.ones(2)}
      >>> coefficients = agr_coefficients(gradient)
      >>> coefficients["kernel"].tolist(), coefficients["bias"].tolist()
      ([[0.75, 0.25]], [0.0, 0.0])
    """
    max_alpha = checked_share("max_alpha", max_alpha)
    return coefficients(updates, max_alpha, reduction_axes)
