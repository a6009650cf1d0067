"""The losses of GAL's objective, with the derivative that GAL has formed."""

from collections.abc import Callable, Sequence
import functools
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


class Closed(NamedTuple):
    """A function, and what it closes over as its first argument.

    Every constant becomes an argument, integers and keys as well, which
    jax.closure_convert would leave in the closure: from outside of what is
    traced, such as a jitted objective, they could not be reached.
    """

    function: Callable[..., Any]
    constants: Sequence[Any]

    @classmethod
    def of(cls, function: Callable[..., Any], *arguments: Any) -> "Closed":
        # Not the function itself, for which jax.make_jaxpr would look at what
        # it has traced before.
        traced, shape = jax.make_jaxpr(
            lambda *arguments: function(*arguments), return_shape=True
        )(*arguments)
        structure = jax.tree.structure(shape)

        def closed(constants: Sequence[Any], *arguments: Any) -> Any:
            program = ClosedJaxpr(traced.jaxpr, constants)
            leaves = jaxpr_as_fun(program)(*jax.tree.leaves(arguments))
            return jax.tree.unflatten(structure, leaves)

        return cls(closed, traced.consts)


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
    closed = Closed.of(loss_fn, z)

    @jax.custom_jvp
    def losses(z: jax.Array, used: jax.Array, *constants: Any) -> jax.Array:
        del used
        return closed.function(constants, z)

    def rule(primals, tangents):
        (z, used, *constants), (to_z, _, *to_constants) = primals, tangents
        value, gradient = losses_and_gradient(
            lambda z: closed.function(constants, z), z
        )
        tangent = jnp.zeros_like(value)
        if not isinstance(to_z, SymbolicZero):
            # Not the padding: 0 times what is no number is none.
            gradient = jnp.where(used[..., None], gradient, 0)
            tangent = jnp.sum(gradient * to_z, axis=-1).astype(value.dtype)
        moved = along(
            lambda *constants: closed.function(constants, z),
            constants,
            to_constants,
        )
        return value, tangent if moved is None else tangent + moved

    losses.defjvp(rule, symbolic_zeros=True)
    return losses(z, used, *closed.constants)


def along(
    function: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
) -> Any:
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

    def of_moved(*values: jax.Array) -> Any:
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


def weighted_sum(losses: jax.Array, share: jax.Array) -> jax.Array:
    """The sum of the losses times their shares, padding's being 0.

    The loss of an example of no weight is a number, or 0, whose only slope is
    the one in its weight.
    """
    idle = jax.lax.stop_gradient(jnp.where(jnp.isfinite(losses), losses, 0))
    return jnp.sum(jnp.where(share != 0, losses, idle) * share)


def attached(
    mean: jax.Array,
    slopes: Any,
    mean_of: Closed,
    slopes_of: Closed,
    inputs: Any,
) -> jax.Array:
    """``mean``, whose derivative in ``inputs`` is ``slopes``, both known.

    ``mean_of`` is the mean as a function of the inputs, whose derivatives in
    what it closes over are formed where they are asked for; ``slopes_of``, the
    slopes, gives the second ones.
    """

    @jax.custom_jvp
    def value(mean, slopes, inputs, of_mean, of_slopes):
        del slopes, inputs, of_mean, of_slopes
        return mean

    def rule(primals, tangents):
        mean, slopes, inputs, of_mean, of_slopes = primals
        _, _, to_inputs, to_mean, _ = tangents
        slopes = _known(slopes, slopes_of.function, inputs, of_slopes)
        tangent = jnp.zeros_like(mean)
        for slope, to_input in zip(
            jax.tree.leaves(slopes), jax.tree.leaves(to_inputs), strict=True
        ):
            if not isinstance(to_input, SymbolicZero):
                dtype = jnp.promote_types(slope.dtype, to_input.dtype)
                product = slope.astype(dtype) * to_input.astype(dtype)
                tangent += jnp.sum(product).real.astype(mean.dtype)
        moved = along(
            lambda *constants: mean_of.function(constants, *inputs),
            of_mean,
            to_mean,
        )
        return mean, tangent if moved is None else tangent + moved

    value.defjvp(rule, symbolic_zeros=True)
    return value(mean, slopes, inputs, mean_of.constants, slopes_of.constants)


def _known(
    slopes: Any, function: Callable[..., Any], inputs: Any, constants: Any
) -> Any:
    """``function(constants, *inputs)``, whose value is known."""

    @jax.custom_jvp
    def value(slopes, inputs, constants):
        del inputs, constants
        return slopes

    def rule(primals, tangents):
        slopes, *primals = primals
        leaves, structure = jax.tree.flatten(primals)

        def of_leaves(*leaves: Any) -> Any:
            inputs, constants = jax.tree.unflatten(structure, leaves)
            return function(constants, *inputs)

        moved = along(of_leaves, leaves, jax.tree.leaves(tangents[1:]))
        zeros = jax.tree.map(jnp.zeros_like, slopes)
        return slopes, zeros if moved is None else moved

    value.defjvp(rule, symbolic_zeros=True)
    return value(slopes, inputs, constants)


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


def all_finite(tree: Any) -> jax.Array:
    """Whether every number of all leaves is finite."""
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    # Not stacked: under jax.vmap a mesh may split some of them and not others,
    # which jnp.stack refuses.
    return functools.reduce(jnp.logical_and, finite, jnp.asarray(True))
