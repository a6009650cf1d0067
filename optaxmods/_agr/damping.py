"""AGR's arguments as one value, which all transformations with AGR hold."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import optax

from optaxmods._agr import psi
from optaxmods._agr.matrices import (
    AxisNames,
    ReductionAxes,
    check_axes,
    matrix_groups,
)
from optaxmods._agr.psi import Degree
from optaxmods._shared.arguments import checked_share, number_of


class Damping(NamedTuple):
    """The arguments of :func:`optaxmods.agr`, checked."""

    strength: optax.ScalarOrSchedule
    max_alpha: jax.typing.ArrayLike
    reduction_axes: ReductionAxes
    axis_name: AxisNames

    def check(self, params: optax.Params) -> None:
        """Raises a sentence where the axes do not fit; for ``init``."""
        matrix_groups(params, self.reduction_axes, self.axis_name)

    def at(self, count: Any) -> Degree:
        """How much of Psi one update takes; only a schedule reads ``count``."""
        strength = self.strength
        if callable(strength):
            strength = number_of("strength", strength, count)
        return Degree(strength, self.max_alpha)

    def of_each(
        self, trees: Sequence[optax.Updates], degrees: Sequence[Degree]
    ) -> Sequence[optax.Updates]:
        """Psi of gradients that are alike, each with its own degree."""
        return psi.regularize(
            trees, degrees, self.reduction_axes, self.axis_name
        )

    def __call__(self, updates: optax.Updates, count: Any) -> optax.Updates:
        """Psi of every weight matrix, in float32 or wider."""
        (regularized,) = self.of_each((updates,), (self.at(count),))
        return regularized


def damping(
    strength: optax.ScalarOrSchedule,
    max_alpha: jax.typing.ArrayLike,
    reduction_axes: ReductionAxes,
    axis_name: AxisNames,
) -> Damping:
    """Raises a sentence on a bad argument; arrays' values are not checked."""
    strength = checked_share("strength", strength, or_schedule=True)
    max_alpha = checked_share("max_alpha", max_alpha)
    check_axes(reduction_axes, axis_name)
    return Damping(strength, max_alpha, reduction_axes, axis_name)
