"""Moments: running means of gradients, one array for each parameter."""

from collections.abc import Callable
import functools
from typing import Any

import jax
from jax.core import Tracer
import jax.numpy as jnp
import optax

from optaxmods._shared.dtypes import cast, wide_dtype


def zero_moments(
    params: optax.Params, dtype: jax.typing.DTypeLike | None = None
) -> optax.Updates:
    """Zeros that are split over a mesh as the parameters are.

    ``None`` takes each parameter's dtype, and so do complex parameters beside a
    real dtype, in which the imaginary part would be lost, and real ones beside
    a complex one.
    """

    def dtype_of(param: Any) -> Any:
        is_own = dtype is None or jnp.iscomplexobj(param) != _is_complex(dtype)
        return jnp.result_type(param) if is_own else dtype

    return _zeros(params, dtype_of)


def zero_second_moments(
    params: optax.Params, dtype: jax.typing.DTypeLike | None = None
) -> optax.Updates:
    """The same for means of squares; ``None`` is float32 or wider.

    In bfloat16 a decay of 0.999 would change no mean, and in float16 squares
    overflow and vanish.
    """

    def dtype_of(param: Any) -> Any:
        # Squares are real; beside a complex dtype real ones stay so.
        is_own = dtype is None or (
            _is_complex(dtype) and not jnp.iscomplexobj(param)
        )
        return wide_dtype(param) if is_own else dtype

    return _zeros(params, dtype_of)


def _is_complex(dtype: jax.typing.DTypeLike) -> bool:
    return jnp.issubdtype(dtype, jnp.complexfloating)


def _zeros(params: optax.Params, dtype_of: Callable[..., Any]) -> optax.Updates:
    # Dtypes that are named are never weak, as after an update.
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros_like(leaf, dtype=dtype_of(leaf)), params
    )
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        return zeros  # Outside of jit they are split already.
    # On automatic axes the compiler would leave zeros that depend on no
    # parameter whole on every device. Here it cannot tell that they do not.
    # (jax.experimental.shard_alike joins all leaves of one shape.) See
    # https://github.com/jax-ml/jax/issues/16080, closed but still so;
    # delete this where tests/mesh/test_sharding.py passes without.
    never = jax.lax.optimization_barrier(jnp.asarray(False))
    return jax.tree.map(functools.partial(_or_zeros, never), params, zeros)


def _or_zeros(is_param: jax.Array, param: Any, zeros: jax.Array) -> jax.Array:
    param = jnp.asarray(param) if jnp.iscomplexobj(zeros) else jnp.real(param)
    space = jax.typeof(zeros).memory_space
    if jax.typeof(param).memory_space != space:  # Offloaded to the host.
        param = jax.device_put(param, space)
    return jax.lax.select(is_param, param.astype(zeros.dtype), zeros)


def stored(
    updates: optax.Updates, moments: optax.Updates, before: optax.Updates
) -> optax.Updates:
    """New moments in the dtypes of the old, which stay where no update came.

    So a step keeps the state's structure, as jax.lax.scan needs it, and what
    was frozen may be trained later.
    """
    return jax.tree.map(
        lambda update, moment, old: (
            old if update is None else cast(moment, jnp.result_type(old))
        ),
        updates,
        moments,
        before,
        is_leaf=lambda node: node is None,
    )


def decay_rate(decay: jax.typing.ArrayLike) -> jax.typing.ArrayLike:
    """In float32 where it is a narrow array, and then below 1.

    ``optax.inject_hyperparams`` gives numbers the dtype of the parameters. In
    bfloat16 0.999 is 1, and the bias correction would divide by 0: the nearest
    number below 1 stands in. Delete this and :func:`positive_eps` where
    https://github.com/google-deepmind/optax/issues/1414 is in the lower bound.
    """
    if not _is_narrow(decay):
        return decay
    below_1 = 1 - float(jnp.finfo(jnp.result_type(decay)).epsneg)
    return jnp.minimum(jnp.asarray(decay, jnp.float32), below_1)


def positive_eps(eps: jax.typing.ArrayLike) -> jax.typing.ArrayLike:
    """In float32 where it is a narrow array, and then above 0.

    In float16 1e-8 is 0, and a zero gradient would be divided by it.
    """
    if not _is_narrow(eps):
        return eps
    least = float(jnp.finfo(jnp.result_type(eps)).smallest_subnormal)
    return jnp.maximum(jnp.asarray(eps, jnp.float32), least)


def _is_narrow(number: jax.typing.ArrayLike) -> bool:
    if not hasattr(number, "dtype"):  # A Python number has any width.
        return False
    dtype = jnp.result_type(number)
    return jnp.issubdtype(dtype, jnp.inexact) and wide_dtype(number) != dtype
