"""Adaptive gradient regularization (AGR): the operator Psi and ``agr``.

Eq. 1 and 2 of the paper stand here once; :mod:`optaxmods._adamw_agr` and
:mod:`optaxmods._adan` call :func:`regularize`.
"""

import functools
import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._axes import (
    AxisNames,
    MatrixGroup,
    ReductionAxes,
    check_axes,
    matrix_groups,
)
from optaxmods._checks import is_real_scalar, number_of, shown
from optaxmods._dtypes import returned_as_came, wide_dtype


class AgrState(NamedTuple):
    """State of :func:`agr` with a scheduled strength."""

    count: jax.typing.ArrayLike  # shape=(), dtype=jnp.int32; updates so far.


def agr(
    strength: optax.ScalarOrSchedule = 1.0,
    *,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Damps every gradient entry by its share of its matrix's absolute sum.

    For the gradient :math:`g` of one weight matrix and the strength :math:`s`,

    .. math::

        \alpha_{ij} &= \frac{|g_{ij}|}{\sum_{kl} |g_{kl}|}
            \qquad \text{(Eq. 2)} \\
        \Psi(g)_{ij} &= g_{ij} - s\, \alpha_{ij}\, g_{ij}
            \qquad \text{(Eq. 1 for } s = 1\text{)}

    so that :math:`|\Psi(g)| \le |g|` entry by entry with the sign kept, a
    uniform matrix of :math:`N` entries shrinks by :math:`1 - 1/N`, and a lone
    nonzero entry becomes 0. ``optax.chain(agr(), optax.adamw(...))`` is what
    the authors' released code does (on matrices; on every tensor with
    ``reduction_axes="all"``); the algorithms as the paper prints them are
    :func:`optaxmods.adamw_agr` and :func:`optaxmods.adan_agr`.

    Sums and products are formed in float32 (float64 for float64 leaves) and
    cast back to the leaf's dtype last. An all-zero matrix stays zero; where
    the absolute sum overflows, :math:`\alpha = 0`; a non-finite gradient stays
    non-finite and inside its own leaf. Place AGR after the averaging over
    data-parallel replicas and, with gradient accumulation, inside
    :class:`optax.MultiSteps`: it is not linear.

    Args:
      strength: :math:`s` in [0, 1], or a schedule of the step count. 1, the
        default, is the paper's operator; 0 leaves gradients as they are. A
        schedule that falls to 0 is the paper's suspension (Tables 7 and 8).
        A number keeps the transformation stateless.
      reduction_axes: the axes of each leaf that make up one weight matrix.
        ``None``, the default, takes all axes of leaves with ``ndim >= 2`` and
        more than one entry, and leaves other leaves (biases, scales) alone:
        the paper's kernels (Section 3.3), and embedding tables too. ``"all"``:
        all axes of every leaf with more than one entry (the released code). A
        tuple of ints: these axes of leaves with ``ndim >= 2``, for example
        ``(-2, -1)`` where layers are stacked in front. A tree of such tuples,
        or a callable of the updates that returns one, speaks for each leaf,
        ``()`` leaving it alone; entries are found by key path, so that masked,
        partitioned and ``nnx`` trees work.
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
      ValueError: a number ``strength`` outside [0, 1], or another argument of
        no known form; at ``init``, an axis that a leaf lacks or a group of one
        entry, with the leaf's path; at ``update``, an ``axis_name`` that is no
        axis of the enclosing ``jax.shard_map``.

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
    """
    strength = check_strength(strength)
    check_axes(reduction_axes, axis_name)

    def init_fn(params: optax.Params) -> AgrState | optax.EmptyState:
        matrix_groups(params, reduction_axes, axis_name)
        if callable(strength):
            return AgrState(count=jnp.zeros([], jnp.int32))
        return optax.EmptyState()

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        if callable(strength):
            if isinstance(state, optax.EmptyState):
                raise ValueError(
                    "strength is a schedule, but the state is that of a number"
                    " strength, without a step count: call init again, or use"
                    " a schedule from the start."
                )
            now = strength_at(strength, state.count)
            state = AgrState(count=optax.safe_increment(state.count))
        else:
            now = strength
        regularized = regularize(updates, now, reduction_axes, axis_name)
        return returned_as_came(regularized, updates), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def agr_coefficients(
    updates: optax.Updates, *, reduction_axes: ReductionAxes = None
) -> optax.Updates:
    r"""The coefficients alpha of Eq. 2, for logging and plots.

    Args:
      updates: gradients, a pytree of arrays.
      reduction_axes: as in :func:`optaxmods.agr`.

    Returns:
      A tree like ``updates`` with each leaf's shape, real, float32 (float64
      for float64 and complex128 leaves): :math:`\alpha_{ij} = |g_{ij}| /
      \sum_{kl} |g_{kl}|`, which sums to 1 over each matrix with a nonzero
      entry; zeros where AGR leaves a leaf alone.

    Raises:
      ValueError: as :func:`optaxmods.agr` does at ``init``.

    Examples:
      >>> import jax.numpy as jnp
      >>> from optaxmods import agr_coefficients
      >>> gradient = {"kernel": jnp.array([[3.0, -1.0]]), "bias": jnp.ones(2)}
      >>> coefficients = agr_coefficients(gradient)
      >>> coefficients["kernel"].tolist(), coefficients["bias"].tolist()
      ([[0.75, 0.25]], [0.0, 0.0])
    """
    leaves, treedef = jax.tree.flatten(updates)
    groups = matrix_groups(updates, reduction_axes)
    return treedef.unflatten(
        _four_alpha(leaf, group) / 4
        if group.axes
        else jnp.zeros(jnp.shape(leaf), jnp.finfo(wide_dtype(leaf)).dtype)
        for leaf, group in zip(leaves, groups, strict=True)
    )


def check_strength(strength: optax.ScalarOrSchedule) -> optax.ScalarOrSchedule:
    """Returns a checked strength; the value of an array is not checked."""
    if isinstance(strength, numbers.Real):
        number = float(strength)
        if not 0 <= number <= 1:
            raise ValueError(f"strength must be in [0, 1], got {strength}.")
        return number
    if callable(strength) or is_real_scalar(strength):
        return strength
    raise ValueError(
        "strength must be a number in [0, 1] or a schedule of the step count,"
        f" got {shown(strength)}."
    )


def strength_at(
    strength: optax.ScalarOrSchedule, count: jax.typing.ArrayLike
) -> jax.typing.ArrayLike:
    """The strength of one update."""
    if not callable(strength):
        return strength
    return number_of("strength", strength, count)


def regularize(
    updates: optax.Updates,
    strength: jax.typing.ArrayLike,
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> optax.Updates:
    """Psi of every weight matrix, in float32 or wider; other leaves as is."""
    groups = matrix_groups(updates, reduction_axes, axis_name, at_update=True)
    if isinstance(strength, float) and strength == 0:
        return updates
    full = isinstance(strength, float) and strength == 1
    leaves, treedef = jax.tree.flatten(updates)
    return treedef.unflatten(
        _psi(leaf, None if full else strength, group) if group.axes else leaf
        for leaf, group in zip(leaves, groups, strict=True)
    )


# Inlined into the caller's program; equal leaves are traced once.
@functools.partial(jax.jit, static_argnames="group", inline=True)
def _psi(
    gradient: jax.Array,
    strength: jax.typing.ArrayLike | None,
    group: MatrixGroup,
) -> jax.Array:
    """Eq. 1 as g (1 - s alpha), formed in the wide dtype; None is s = 1."""
    damping = _four_alpha(gradient, group)
    if strength is not None:
        damping = jnp.asarray(strength).astype(damping.dtype) * damping
    kept = (4 - damping) / 4
    # A lone entry's alpha is 1 up to rounding; its Psi is 0, never of the
    # other sign.
    rounding = float(jnp.finfo(kept.dtype).epsneg)
    kept = jax.lax.select(kept <= rounding, jnp.zeros_like(kept), kept)
    return gradient.astype(wide_dtype(gradient)) * kept  # Eq. 1


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _four_alpha(gradient: jax.Array, group: MatrixGroup) -> jax.Array:
    """Eq. 2 times 4, at both ends of the float range and free of copies."""
    return _magnitude(gradient) * _four_over_sum(gradient, group)  # Eq. 2


@_four_alpha.defjvp
def _four_alpha_jvp(group: MatrixGroup, primals, tangents):
    """The slope (d|g| - alpha sum(d|g|)) / sum, never with 1 / sum^2."""
    magnitude, moved = jax.jvp(_smooth_magnitude, primals, tangents)
    (gradient,) = primals
    scale = _four_over_sum(gradient, group)
    four_alpha, share = magnitude * scale, moved * scale
    total = _matrix_sum(share, group)
    return four_alpha, share - four_alpha * (total / 4)


def _magnitude(gradient: jax.Array) -> jax.Array:
    magnitude = jnp.abs(gradient.astype(wide_dtype(gradient)))
    if jnp.iscomplexobj(gradient):
        # |g| of a finite complex number can overflow, and inf * 0 is nan.
        magnitude = jnp.minimum(magnitude, jnp.finfo(magnitude.dtype).max)
    return magnitude


def _smooth_magnitude(gradient: jax.Array) -> jax.Array:
    """The same number with derivative 0 at 0, where JAX gives |x| a 1."""
    if jnp.iscomplexobj(gradient):
        return _magnitude(gradient)
    entries = gradient.astype(wide_dtype(gradient))
    return jnp.sign(entries) * entries


def _four_over_sum(gradient: jax.Array, group: MatrixGroup) -> jax.Array:
    """One number a matrix; 0 where the sum overflows."""
    # XLA's CPU backend writes |g| to memory where the reduction and the
    # elementwise pass share it, which costs more than a step of AdamW. The
    # barrier makes them two expressions; it costs no copy.
    operand = jax.lax.optimization_barrier(gradient)
    total = _matrix_sum(jnp.abs(operand.astype(wide_dtype(gradient))), group)
    # The reciprocal is one division a matrix instead of one an entry. With
    # the factor 4 it stays a normal number for every normal total: 1 / total
    # overflows for small totals and is flushed to zero for large ones. Sums
    # below that, of an all-zero matrix above all, leave alpha at 0, and have
    # no derivative that could be 0 / 0.
    smallest = 2 * float(jnp.finfo(total.dtype).tiny)
    return 4 / jnp.where(total < smallest, jnp.ones_like(total), total)


def _matrix_sum(entries: jax.Array, group: MatrixGroup) -> jax.Array:
    total = jnp.sum(
        entries,
        axis=group.axes,
        keepdims=len(group.axes) < entries.ndim,
    )
    return jax.lax.psum(total, group.axis_names) if group.axis_names else total
