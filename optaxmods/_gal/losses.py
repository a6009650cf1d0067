"""The losses of GAL's objective, with the derivative that GAL has formed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
import jax.numpy as jnp

LossFn = Callable[[jax.Array], jax.Array]


class Vanilla(NamedTuple):
    """The losses and their gradient, each example's by itself."""

    losses: jax.Array  # [...]
    gradient: jax.Array  # [..., d]; dl/dz


def losses_and_gradient(
    loss_fn: LossFn, z: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """l(z), [...], and each example's own dl/dz, [..., d]."""
    losses, pullback = jax.vjp(loss_fn, z)
    (gradient,) = pullback(jnp.ones_like(losses))
    return losses, gradient


def losses_by_gradient(
    loss_fn: LossFn, z: jax.Array, used: jax.Array
) -> jax.Array:
    """l(z), whose derivative in z is <dl/dz, .> where an example is used.

    XLA finds that dl/dz to be the one of the adjustment. Differentiated as it
    is, l would keep arrays of z's size until the backward pass, and go over
    them once more. What ``loss_fn`` closes over is differentiated, too, and so
    are the derivatives.
    """
    # Every constant becomes an argument, integers and keys as well, which
    # jax.closure_convert would leave in the closure: from outside of what
    # is traced, such as a jitted objective, they could not be reached.
    traced = jax.make_jaxpr(lambda z: loss_fn(z))(z)

    def closed(z: jax.Array, *constants: Any) -> jax.Array:
        (losses,) = jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, constants))(z)
        return losses

    @jax.custom_jvp
    def losses(z: jax.Array, used: jax.Array, *constants: Any) -> jax.Array:
        del used
        return closed(z, *constants)

    def rule(primals, tangents):
        (z, used, *constants), (to_z, _, *to_constants) = primals, tangents
        value, gradient = losses_and_gradient(
            lambda z: closed(z, *constants), z
        )
        tangent = jnp.zeros_like(value)
        if not isinstance(to_z, SymbolicZero):
            # Not the padding: 0 times what is no number is none.
            gradient = jnp.where(used[..., None], gradient, 0)
            tangent = jnp.sum(gradient * to_z, axis=-1).astype(value.dtype)
        along = _along(
            lambda *constants: closed(z, *constants), constants, to_constants
        )
        return value, tangent if along is None else tangent + along

    losses.defjvp(rule, symbolic_zeros=True)
    return losses(z, used, *traced.consts)


def _along(
    function: Callable[..., jax.Array],
    primals: Sequence[Any],
    tangents: Sequence[Any],
) -> jax.Array | None:
    """The derivative in those arguments that have a tangent, if any has.

    Zero times a slope that is infinite would be no number.
    """
    moved = [
        index
        for index, dot in enumerate(tangents)
        if not isinstance(dot, SymbolicZero)
    ]
    if not moved:
        return None

    def of_moved(*values: jax.Array) -> jax.Array:
        arguments = list(primals)
        for index, value in zip(moved, values, strict=True):
            arguments[index] = value
        return function(*arguments)

    _, tangent = jax.jvp(
        of_moved,
        [primals[index] for index in moved],
        [tangents[index] for index in moved],
    )
    return tangent


@jax.custom_jvp
def injected(cotangent: Any, primal: Any) -> jax.Array:
    """0, with the gradient ``cotangent`` in ``primal``.

    Written as x - stop_gradient(x), a number that is not finite would make the
    loss one too.
    """
    del primal
    return jnp.zeros_like(_inner(cotangent, cotangent))


@injected.defjvp
def _injected_jvp(primals, tangents):
    cotangent, primal = primals
    return injected(cotangent, primal), _inner(cotangent, tangents[1])


def _inner(a: Any, b: Any) -> jax.Array:
    products = jax.tree.map(lambda x, y: jnp.sum(x * y), a, b)
    if not jax.tree.leaves(products):  # A network without parameters.
        return jnp.zeros([])
    return jax.tree.reduce(jnp.add, products)
