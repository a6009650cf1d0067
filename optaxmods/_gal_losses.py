"""The losses of GAL's objective, with the derivative that GAL has formed."""

from collections.abc import Callable

import jax
from jax.custom_derivatives import SymbolicZero
import jax.numpy as jnp

LossFn = Callable[[jax.Array], jax.Array]


def losses_and_gradient(
    loss_fn: LossFn, z: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """l(z), [...], and each example's own dl/dz, [..., d]."""
    losses, pullback = jax.vjp(loss_fn, z)
    (gradient,) = pullback(jnp.ones_like(losses))
    return losses, gradient


def losses_by_gradient(loss_fn: LossFn, z: jax.Array) -> jax.Array:
    """l(z), whose derivative in z is <dl/dz, .>.

    XLA finds that dl/dz to be the one of the adjustment. Differentiated as it
    is, l would keep arrays of z's size until the backward pass, and go over
    them once more. What ``loss_fn`` closes over is differentiated, too, and so
    are the derivatives.
    """
    # JAX remembers a function's closure by its identity; a new function is safe
    # where a method's object has changed.
    closed, constants = jax.closure_convert(lambda z: loss_fn(z), z)

    @jax.custom_jvp
    def losses(z: jax.Array, *constants: jax.Array) -> jax.Array:
        return closed(z, *constants)

    def rule(primals, tangents):
        z, *constants = primals
        value, gradient = losses_and_gradient(
            lambda z: closed(z, *constants), z
        )
        # Zero times a slope that is infinite would be no number.
        moved = [not isinstance(dot, SymbolicZero) for dot in tangents]
        tangent = jnp.zeros_like(value)
        if moved[0]:
            tangent = jnp.sum(gradient * tangents[0], axis=-1)
        if any(moved[1:]):
            tangent = tangent + _along(
                lambda *constants: closed(z, *constants),
                constants,
                tangents[1:],
            )
        return value, tangent

    losses.defjvp(rule, symbolic_zeros=True)
    return losses(z, *constants)


def _along(
    function: Callable[..., jax.Array], primals: list, tangents: list
) -> jax.Array:
    """The derivative in those arguments that have a tangent."""
    moved = [
        index
        for index, dot in enumerate(tangents)
        if not isinstance(dot, SymbolicZero)
    ]

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
