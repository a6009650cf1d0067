"""The learning rate and the weight decay, numbers or schedules.

What Optax makes of them, with a sentence where a schedule returns no number or
where the state is that of another optimizer.
"""

from collections.abc import Callable
import functools
from typing import Any

import optax

from optaxmods._shared.arguments import check_count, is_scalar, number_of
from optaxmods._shared.trees import checked_mask


def rate_at(name: str, rate: optax.ScalarOrSchedule, count: Any) -> Any:
    """The rate of one update; complex where an injected number would be."""
    if not callable(rate):
        return rate
    return number_of(name, rate, count, is_array=is_scalar)


def scale_by_learning_rate(
    learning_rate: optax.ScalarOrSchedule,
) -> optax.GradientTransformationExtraArgs:
    return _reading_its_state(
        "learning_rate", learning_rate, optax.scale_by_learning_rate
    )


def add_decayed_weights(
    weight_decay: optax.ScalarOrSchedule, mask: Any
) -> optax.GradientTransformationExtraArgs:
    """Decoupled weight decay, of what is not masked."""
    decay = _reading_its_state(
        "weight_decay", weight_decay, optax.add_decayed_weights
    )
    return masked(decay, mask)


def masked(
    decay: optax.GradientTransformationExtraArgs, mask: Any
) -> optax.GradientTransformationExtraArgs:
    """``decay``, within a mask if there is one."""
    if mask is None:
        return _checking(decay, _check_unmasked)
    return _checking(optax.masked(decay, checked_mask(mask)), _check_masked)


def _check_masked(state: Any) -> None:
    if not isinstance(state, optax.MaskedState):
        raise ValueError(
            "mask was given, but the state is that of an optimizer without"
            " one: call init again, or give the mask from the start."
        )


def _check_unmasked(state: Any) -> None:
    if isinstance(state, optax.MaskedState):
        raise ValueError(
            "the state is that of an optimizer with a mask, but none was"
            " given: give it, or call init again."
        )


def _reading_its_state(
    name: str,
    rate: optax.ScalarOrSchedule,
    make: Callable[..., optax.GradientTransformation],
) -> optax.GradientTransformationExtraArgs:
    if not callable(rate):
        return optax.with_extra_args_support(make(rate))
    tx = make(lambda count: rate_at(name, rate, count))
    return _checking(tx, functools.partial(check_count, name))


def _checking(
    tx: optax.GradientTransformation, check: Callable[[Any], None]
) -> optax.GradientTransformationExtraArgs:
    """``tx``, whose state is looked at before each update."""
    tx = optax.with_extra_args_support(tx)

    def update_fn(updates, state, params=None, **extra_args):
        check(state)
        return tx.update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(tx.init, update_fn)
