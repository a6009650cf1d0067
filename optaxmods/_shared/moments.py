"""Moments: running means of gradients, one array for each parameter."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
from jax.core import Tracer
import jax.numpy as jnp
import optax

from optaxmods._shared.dtypes import cast, wide_dtype


def zero_moments(
    params: optax.Params,
    mu_dtype: jax.typing.DTypeLike | None,
    nu_dtype: jax.typing.DTypeLike | None,
    firsts: int = 1,
) -> list[optax.Updates]:
    """Zeros that are split over a mesh as the parameters are.

    So many first moments, then the second one, the mean of squares.
    """
    # Dtypes that are named are never weak, as after an update.
    first = functools.partial(_first_dtype, mu_dtype)
    second = functools.partial(_second_dtype, nu_dtype)
    dtypes = [first] * firsts + [second]
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        return [  # Outside of jit they are split already.
            jax.tree.map(
                lambda leaf, of=dtype_of: jnp.zeros_like(leaf, dtype=of(leaf)),
                params,
            )
            for dtype_of in dtypes
        ]
    # On automatic axes the compiler would leave zeros that depend on no
    # parameter whole on every device. Here it cannot tell that they do not.
    # (jax.experimental.shard_alike joins all leaves of one shape.) See
    # https://github.com/jax-ml/jax/issues/16080, closed but still so;
    # delete this where tests/mesh/test_sharding.py passes without.
    never = jax.lax.optimization_barrier(jnp.asarray(False))
    leaves, treedef = jax.tree.flatten(params)
    moments = [_traced_zeros(never, leaf, dtypes) for leaf in leaves]
    return [
        treedef.unflatten(each[index] for each in moments)
        for index in range(len(dtypes))
    ]


def _first_dtype(dtype: jax.typing.DTypeLike | None, param: Any) -> Any:
    """``None`` takes the parameter's.

    So do complex parameters beside a real dtype, in which the imaginary part
    would be lost, and real ones beside a complex one.
    """
    is_own = dtype is None or jnp.iscomplexobj(param) != _is_complex(dtype)
    return jnp.result_type(param) if is_own else dtype


def _second_dtype(dtype: jax.typing.DTypeLike | None, param: Any) -> Any:
    """``None`` is float32 or wider.

    In bfloat16 a decay of 0.999 would change no mean, and in float16 squares
    overflow and vanish.
    """
    # Squares are real; beside a complex dtype real ones stay so.
    is_own = dtype is None or (
        _is_complex(dtype) and not jnp.iscomplexobj(param)
    )
    return wide_dtype(param) if is_own else dtype


def _is_complex(dtype: jax.typing.DTypeLike) -> bool:
    return jnp.issubdtype(dtype, jnp.complexfloating)


def _traced_zeros(
    is_param: jax.Array, param: Any, dtypes: Sequence[Callable[..., Any]]
) -> list[jax.Array]:
    """An array for each moment; those of one dtype select from the same two."""
    pairs = {}
    for dtype in (dtype_of(param) for dtype_of in dtypes):
        if dtype not in pairs:
            pairs[dtype] = _alike_and_zeros(param, dtype)
    return [
        jax.lax.select(is_param, *pairs[dtype_of(param)]) for dtype_of in dtypes
    ]


def _alike_and_zeros(param: Any, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """The parameter where and what the zeros are, and the zeros."""
    zeros = jnp.zeros_like(param, dtype=dtype)
    if not jnp.iscomplexobj(zeros) and jnp.iscomplexobj(param):
        param = jnp.real(param)
    space = jax.typeof(zeros).memory_space
    if jax.typeof(param).memory_space != space:  # Offloaded to the host.
        param = jax.device_put(param, space)
    return cast(param, zeros.dtype), zeros


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


def denominator(n: jax.Array, eps: Any, eps_root: Any) -> jax.Array:
    """Of a mean of squares; a number 0 inside the root is left out."""
    is_0 = isinstance(eps_root, (int, float)) and eps_root == 0
    return jnp.sqrt(n if is_0 else n + eps_root) + eps


def _is_narrow(number: jax.typing.ArrayLike) -> bool:
    if not hasattr(number, "dtype"):  # A Python number has any width.
        return False
    dtype = jnp.result_type(number)
    return jnp.issubdtype(dtype, jnp.inexact) and wide_dtype(number) != dtype
