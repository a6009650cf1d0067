"""The operator Psi and its coefficients alpha, matrix by matrix.

As printed, for a weight matrix's gradient g (tests/oracles/agr.py has it in
NumPy):

    Psi(g) = g - alpha g           (Eq. 1)
    alpha = |g| / sum(|g|)         (Eq. 2)

Here Eq. 1 is g (1 - s min(alpha, c)), with the strength s and the largest
coefficient c; it is one product an entry, and a lone entry's Psi is 0 exactly.
And Eq. 2 is |g| (4 / sum(|g|)), one division a matrix, which neither overflows
nor vanishes for any normal sum.
"""

from collections.abc import Iterator, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._agr.matrices import (
    AxisNames,
    MatrixGroup,
    ReductionAxes,
    matrix_groups,
)
from optaxmods._agr.matrix_sums import (
    on_shards,
    over_shards,
    parts,
    sums_in_one,
    sums_of_each,
)
from optaxmods._shared.dtypes import wide_dtype

Arrays = Sequence[jax.Array]
Groups = tuple[MatrixGroup, ...]


class Degree(NamedTuple):
    """How much of Psi: both in [0, 1], and None as 1."""

    strength: Any
    max_alpha: Any


def _psi(
    gradients: Arrays, degrees: Sequence[Degree], *, groups: Groups
) -> list[jax.Array]:
    """Eq. 1 as g (1 - s alpha), formed in the wide dtype; None is 1."""
    psis = []
    for gradient, (strength, max_alpha), four_alpha in zip(
        gradients, degrees, _four_alpha(gradients, groups), strict=True
    ):
        damping = _capped(four_alpha, max_alpha)
        if strength is not None:
            damping = jnp.asarray(strength).astype(damping.dtype) * damping
        kept = (4 - damping) / 4
        # A lone entry's alpha is 1 up to rounding; its Psi is 0, never of the
        # other sign.
        rounding = float(jnp.finfo(kept.dtype).epsneg)
        kept = jax.lax.select(kept <= rounding, jnp.zeros_like(kept), kept)
        psis.append(gradient.astype(wide_dtype(gradient)) * kept)  # Eq. 1
    return psis


def _alpha(
    gradients: Arrays, bounds: Sequence[Any], *, groups: Groups
) -> list[jax.Array]:
    return [
        _capped(four_alpha, max_alpha) / 4
        for four_alpha, max_alpha in zip(
            _four_alpha(gradients, groups), bounds, strict=True
        )
    ]


def _capped(
    four_alpha: jax.Array, max_alpha: jax.typing.ArrayLike | None
) -> jax.Array:
    if max_alpha is None:
        return four_alpha
    limit = jnp.asarray(max_alpha).astype(four_alpha.dtype)
    return jnp.minimum(four_alpha, 4 * limit)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _four_alpha(gradients: Arrays, groups: Groups) -> list[jax.Array]:
    """Eq. 2 times 4, at both ends of the float range and free of copies."""
    scales = _four_over_sum(gradients, groups)
    return [
        _magnitude(gradient) * scale  # Eq. 2
        for gradient, scale in zip(gradients, scales, strict=True)
    ]


@_four_alpha.defjvp
def _four_alpha_jvp(groups: Groups, primals, tangents):
    """The slope (d|g| - alpha sum(d|g|)) / sum, never with 1 / sum^2."""
    (gradients,), (directions,) = primals, tangents
    four_alphas, shares = [], []
    for gradient, direction, scale in zip(
        gradients, directions, _four_over_sum(gradients, groups), strict=True
    ):
        magnitude, moved = jax.jvp(_smooth_magnitude, (gradient,), (direction,))
        four_alphas.append(magnitude * scale)
        shares.append(moved * scale)
    totals = over_shards(sums_of_each(shares, groups), groups)
    slopes = [
        share - four_alpha * (total / 4)
        for share, four_alpha, total in zip(
            shares, four_alphas, totals, strict=True
        )
    ]
    return four_alphas, slopes


def _magnitude(gradient: jax.Array) -> jax.Array:
    magnitude = jnp.abs(gradient.astype(wide_dtype(gradient)))
    if jnp.iscomplexobj(gradient):
        # |g| of a finite complex number can overflow, and inf * 0 is nan.
        magnitude = jnp.minimum(magnitude, jnp.finfo(magnitude.dtype).max)
    return magnitude


def _smooth_magnitude(gradient: jax.Array) -> jax.Array:
    """The same number with derivative 0 at 0, where JAX gives |x| a 1.

    On purpose: https://github.com/jax-ml/jax/issues/37820.
    """
    if jnp.iscomplexobj(gradient):
        return _magnitude(gradient)
    entries = gradient.astype(wide_dtype(gradient))
    return jnp.sign(entries) * entries


def _four_over_sum(gradients: Arrays, groups: Groups) -> list[jax.Array]:
    """One number a matrix; 0 where the sum overflows."""
    local_sums = jax.lax.platform_dependent(
        list(gradients),
        cpu=functools.partial(_sums_apart, groups),
        default=functools.partial(_sums_together, groups),
    )
    return [_four_over(total) for total in over_shards(local_sums, groups)]


def _sums_apart(groups: Groups, gradients: Arrays) -> list[jax.Array]:
    """Of expressions of their own, each in a reduction of its own.

    XLA's CPU backend writes |g| to memory where the reduction and the
    elementwise pass share it, which costs more than a step of AdamW. This
    costs no copy there. On TPUs it would keep the sum out of the matrix
    product that makes g, and on GPUs cost a copy. Near
    https://github.com/openxla/xla/issues/49131; delete it where
    tests/every/test_compiled.py passes without.
    """
    operands = [jax.lax.optimization_barrier(g) for g in gradients]
    return sums_of_each(_wide_sizes(operands), groups)


def _sums_together(groups: Groups, gradients: Arrays) -> list[jax.Array]:
    return sums_in_one(_wide_sizes(gradients), groups)


def _wide_sizes(gradients: Arrays) -> list[jax.Array]:
    return [jnp.abs(g.astype(wide_dtype(g))) for g in gradients]


def _four_over(total: jax.Array) -> jax.Array:
    # The reciprocal is one division a matrix instead of one an entry. With
    # the factor 4 it stays a normal number for every normal total: 1 / total
    # overflows for small totals and is flushed to zero for large ones
    # (https://github.com/openxla/xla/issues/22858). Sums below that, of an
    # all-zero matrix above all, leave alpha at 0, and have no derivative that
    # could be 0 / 0.
    smallest = 2 * float(jnp.finfo(total.dtype).tiny)
    return 4 / jax.lax.select(total < smallest, jnp.ones_like(total), total)


def regularize(
    trees: Sequence[optax.Updates],
    degrees: Sequence[Degree],
    reduction_axes: ReductionAxes = None,
    axis_name: AxisNames = None,
) -> Sequence[optax.Updates]:
    """Psi of gradients that are alike, in float32 or wider.

    Leaves that are no matrix stay as they are. Each tree has a degree of its
    own, the axes are those of the first, and the sums are joined.
    """
    first = trees[0]
    groups = matrix_groups(first, reduction_axes, axis_name, at_update=True)
    if all(isinstance(s, float) and s == 0 for s, _ in degrees):
        return trees
    treedef = jax.tree.structure(first)
    size = treedef.num_leaves
    leaves = [leaf for tree in trees for leaf in treedef.flatten_up_to(tree)]
    own = [
        Degree(_unless_1(strength), _unless_1(max_alpha))
        for strength, max_alpha in degrees
        for _ in range(size)
    ]
    psis = dict(_by_parts(_psi, leaves, groups * len(trees), own))
    every = [psis.get(index, leaf) for index, leaf in enumerate(leaves)]
    return [
        treedef.unflatten(every[index * size : (index + 1) * size])
        for index in range(len(trees))
    ]


def coefficients(
    updates: optax.Updates,
    max_alpha: jax.typing.ArrayLike = 1.0,
    reduction_axes: ReductionAxes = None,
) -> optax.Updates:
    """Eq. 2 of every weight matrix, in float32 or wider; elsewhere zeros."""
    groups = matrix_groups(updates, reduction_axes, at_update=True)
    leaves, treedef = jax.tree.flatten(updates)
    bounds = [_unless_1(max_alpha)] * len(leaves)
    alphas = dict(_by_parts(_alpha, leaves, groups, bounds))
    return treedef.unflatten(
        alphas[index]
        if index in alphas
        else jnp.zeros(jnp.shape(leaf), jnp.finfo(wide_dtype(leaf)).dtype)
        for index, leaf in enumerate(leaves)
    )


def _unless_1(number: Any) -> Any:
    """None leaves a factor or a bound of 1 out of the program."""
    return None if isinstance(number, float) and number == 1 else number


def _by_parts(
    function,
    leaves: Arrays,
    groups: Sequence[MatrixGroup],
    of_each: Sequence[Any],
) -> Iterator[tuple[int, jax.Array]]:
    """Each regularized leaf's index and what ``function`` makes of it."""
    for part in parts(leaves, groups):
        gradients, own = (
            tuple(values[index] for index in part.indices)
            for values in (leaves, of_each)
        )
        results = _of_part(function, part.groups, part.mesh, gradients, own)
        yield from zip(part.indices, results, strict=True)


# Inlined into the caller's program; equal parts are traced once.
@functools.partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def _of_part(function, groups: Groups, mesh, *arguments):
    function = functools.partial(function, groups=groups)
    if mesh is None:
        return function(*arguments)
    return on_shards(function, mesh, *arguments)
