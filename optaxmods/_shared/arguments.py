"""What the library says to bad arguments: one sentence, as early as it can.

Of arrays only shape and dtype are looked at, so that traced ones pass.
"""

from collections.abc import Callable
import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxmods._shared.paths import label

INJECTED = "a schedule of it goes through optax.inject_hyperparams"
REAL = (
    "optax.inject_hyperparams makes numbers complex beside complex parameters"
    " unless it has hyperparam_dtype=jnp.float32"
)


def shown(value: Any) -> str:
    """A bad argument in few words."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "dtype") and getattr(value, "shape", ()) != ():
        return f"an array of shape {value.shape}"
    words = repr(value)
    is_short = len(words) <= 60 and "\n" not in words and " at 0x" not in words
    if is_short:
        return words
    return _a(type(value).__name__)


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def is_scalar(value: Any) -> bool:
    """Whether it is an array of one number; no boolean is one.

    It may be complex: ``optax.inject_hyperparams`` gives numbers the dtype of
    the parameters.
    """
    dtype = getattr(value, "dtype", None)
    is_number = dtype is not None and jnp.issubdtype(dtype, jnp.number)
    return is_number and jnp.ndim(value) == 0


def is_real_scalar(value: Any) -> bool:
    return is_scalar(value) and not jnp.iscomplexobj(value)


def is_int(value: Any) -> bool:
    """Whether it is an int, or NumPy's; no array and no boolean is one."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_boolean(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return isinstance(value, bool) or dtype == jnp.bool_


def is_finite_size(number: float) -> bool:
    return math.isfinite(number) and number >= 0


def check_number(
    name: str,
    value: Any,
    is_good: Callable[[float], bool] = math.isfinite,
    range_: str = "finite",
    *,
    is_array: Callable[[Any], bool] = is_real_scalar,
    or_schedule: bool = False,
    schedule_hint: str = INJECTED,
) -> None:
    """Refuses what is no real number, and Python numbers out of range."""
    if isinstance(value, numbers.Real) and not is_boolean(value):
        if not is_good(float(value)):
            raise ValueError(f"{name} must be {range_}, got {value}.")
        return
    if is_array(value) or (or_schedule and callable(value)):
        return
    kind = "a number or a schedule" if or_schedule else "a number"
    fix = ""
    if callable(value):
        fix = f"; {schedule_hint}"
    elif is_scalar(value):
        fix = f"; {REAL}"
    raise ValueError(f"{name} must be {kind}, got {shown(value)}{fix}.")


def check_size(name: str, value: Any, **options: Any) -> None:
    check_number(
        name, value, is_finite_size, "finite and at least 0", **options
    )


def checked_share(name: str, share: Any, **options: Any) -> Any:
    """Returns a number as a float."""
    check_number(name, share, lambda x: 0 <= x <= 1, "in [0, 1]", **options)
    return float(share) if isinstance(share, numbers.Real) else share


def check_rates(**rates: Any) -> None:
    """Of what optax scales by: numbers or schedules."""
    for name, rate in rates.items():
        check_number(name, rate, is_array=is_scalar, or_schedule=True)


def check_moments(eps: Any, eps_root: Any, **decay_rates: Any) -> None:
    """Decay rates are below 1: bias corrections divide by 1 - b^t."""
    for name, rate in decay_rates.items():
        check_number(
            name, rate, lambda b: 0 <= b < 1, "in [0, 1)", is_array=is_scalar
        )
    check_size("eps", eps, is_array=is_scalar)
    check_size("eps_root", eps_root, is_array=is_scalar)


def check_arrays(tree: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        # A linen module has a dtype, too.
        is_array = hasattr(leaf, "dtype") and hasattr(leaf, "shape")
        if not is_array and not isinstance(leaf, numbers.Number):
            fix = (
                "put None in its place, as eqx.filter(model,"
                " eqx.is_inexact_array) does"
                if path
                else "pass a model's parameters, not the model"
            )
            raise ValueError(
                "gradients and parameters must be trees of arrays, but"
                f" {label(path)} is {shown(leaf)}: {fix}."
            )


def check_floating(tree: Any) -> None:
    """Refuses integers and booleans: a step, cut off to one, is none or wraps.

    ``jax.grad`` has no gradient of them but float0, which
    :func:`optax.apply_updates` does not take.
    """
    check_arrays(tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            kind = "float0" if dtype == jax.dtypes.float0 else dtype
            raise ValueError(
                "moments need floating-point parameters and gradients, but"
                f" {label(path)} is {kind}: put None in its place, or cast it"
                " to a float."
            )


def check_word(name: str, value: Any, known: tuple, other: str = "") -> None:
    # An array of words is compared word by word, and neither in nor out.
    if not (value is None or isinstance(value, str)) or value not in known:
        words = ", ".join(map(repr, known)) + (other and f" or {other}")
        raise ValueError(f"{name} must be one of {words}, got {shown(value)}.")


def check_flag(name: str, value: Any) -> None:
    # A string such as "False" would be true, and an array is not one word.
    if not is_boolean(value) or jnp.ndim(value):
        raise ValueError(f"{name} must be True or False, got {shown(value)}.")


def is_transformation(value: Any) -> bool:
    has = (callable(getattr(value, each, None)) for each in ("init", "update"))
    return not isinstance(value, type) and all(has)


def check_transformation(name: str, value: Any) -> None:
    if not is_transformation(value):
        raise ValueError(
            f"{name} must be an optax transformation, such as optax.sgd(0.1),"
            f" got {shown(value)}."
        )


def number_of(
    name: str,
    schedule: Callable[..., Any],
    count: Any,
    *,
    is_array: Callable[[Any], bool] = is_real_scalar,
) -> Any:
    """What a schedule returns for a step, if it is one real number."""
    now = schedule(count)
    if not isinstance(now, numbers.Real) and not is_array(now):
        raise ValueError(
            f"{name} is a schedule that must return one real number for a"
            f" step, but it returned {shown(now)}."
        )
    return now


def check_state(state: Any, kind: type) -> None:
    """Refuses the state of another transformation.

    By its fields: a class that was imported twice is another one.
    """
    fields = kind._fields  # pyright: ignore[reportAttributeAccessIssue]
    if getattr(state, "_fields", None) != fields:
        got = _a(type(state).__name__)
        if type(state).__name__ == kind.__name__:  # Optax has one, too.
            got += f" of {type(state).__module__.split('.')[0]}"
        raise ValueError(
            f"the state must be {_a(kind.__name__)}, which this"
            f" transformation's init or last update returned, got {got}: pass"
            " back what it returned, and call init again where the optimizer"
            " has changed."
        )


def check_count(name: str, state: Any) -> None:
    """Refuses a state without the step count that a schedule reads."""
    if isinstance(state, optax.EmptyState):
        raise ValueError(
            f"{name} is a schedule, but the state is that of a number {name},"
            " without a step count: call init again, or use a schedule from"
            " the start."
        )
