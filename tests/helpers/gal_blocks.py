"""GAL in blocks beside GAL of the whole: one problem, and its gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optaxmods import GradientAdjuster

D, K = 5, 3
# Cut in four, the first leaves none over, and the second does.
SHAPES = {"even": (2, 8), "uneven": (13,)}
# An overshooting step: some examples are accepted, others are not.
ADJUSTER = GradientAdjuster((4, 3), 0.09, 3.0)
THETA = ADJUSTER.init(jax.random.key(1), D)
GENERATOR = np.random.default_rng(0)
HEAD = jnp.asarray(2 * GENERATOR.standard_normal((K, D)), jnp.float32)


def drawn(shape):
    """Hidden states, labels, and weights some of which are 0 or negative."""
    generator = np.random.default_rng(7)
    weights = np.resize([1.0, 0, 2, -0.5, 1, 3, 0.5], shape)
    return (
        jnp.asarray(generator.standard_normal((*shape, K)), jnp.float32),
        jnp.asarray(generator.integers(0, D, shape)),
        jnp.asarray(weights, jnp.float32),
    )


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def overshot(logits, labels):
    """Of curvatures that the step suits or not, example by example."""
    return cross_entropy(logits, labels) + 0.3 * jnp.sum(logits**2, axis=-1)


def gradients(loss, *inputs, **arguments):
    """The loss, the metrics, and the gradients in all inputs, compiled."""
    grad = jax.value_and_grad(
        functools.partial(loss, **arguments),
        argnums=tuple(range(len(inputs))),
        has_aux=True,
    )
    return jax.jit(grad)(*inputs)


def by_logits(
    head, hidden, theta, labels, adjuster=ADJUSTER, loss_fn=None, **arguments
):
    """The loss of logits that are made before."""
    if loss_fn is None:
        loss_fn = overshot
    return adjuster.loss(
        theta, hidden @ head, loss_fn, targets=labels, **arguments
    )


def by_hidden(
    head, hidden, theta, labels, adjuster=ADJUSTER, loss_fn=None, **arguments
):
    """The loss of logits that are made block by block."""
    if loss_fn is None:
        loss_fn = overshot
    return adjuster.loss(
        theta,
        hidden,
        loss_fn,
        targets=labels,
        head=(lambda head, hidden: hidden @ head, head),
        **arguments,
    )


@functools.cache
def expected(name, weighted=False):
    """The whole form's."""
    hidden, labels, weights = drawn(SHAPES[name])
    weights = weights if weighted else None
    return gradients(
        by_logits, HEAD, hidden, THETA, labels=labels, example_weights=weights
    )


def loops(program):
    """The scans of a traced program, and of those inside of others."""
    found = []
    for equation in program.eqns:
        if equation.primitive.name == "scan":
            found.append(equation)
        for inner in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda value: (
                hasattr(value, "eqns") or hasattr(value, "jaxpr")
            ),
        ):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                found += loops(getattr(inner, "jaxpr", inner))
    return found
