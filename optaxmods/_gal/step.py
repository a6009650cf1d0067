"""The gradients of a training step with GAL in its objective."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from optaxmods._gal.transform import adjuster_params
from optaxmods._shared.arguments import is_int

# Of theta, among the arguments of an objective.
THETA = 1


def value_and_adjusted_grad(
    objective: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = True,
    *,
    value_and_grad: Callable[..., Any] = jax.value_and_grad,
) -> Callable[..., Any]:
    """:func:`jax.value_and_grad` for an objective with GAL in it.

    The objective is a function of the parameters, theta, and whatever else
    there is. What is returned is called with an optimizer's state in theta's
    place. It takes theta out, differentiates in both, and hands back theta's
    gradient by the name under which ``update`` takes it:

    .. code-block:: python

        grad_fn = value_and_adjusted_grad(objective)
        (loss, metrics), grads, extra_args = grad_fn(params, opt_state, batch)
        updates, opt_state = tx.update(grads, opt_state, params, **extra_args)

    Args:
      objective: ``objective(params, theta, *args, **kwargs)`` returns what
        :meth:`GradientAdjuster.loss` does, or a loss and aux of its own.
      argnums: which arguments to differentiate in beside theta, by position:
        an int or several, as for :func:`jax.value_and_grad`.
      has_aux: whether the objective returns a pair. Without, it returns a loss
        alone, such as for ``optax.microbatch``, which averages no booleans.
      value_and_grad: what differentiates, with the arguments of
        :func:`jax.value_and_grad`; ``nnx.value_and_grad`` for a Flax NNX
        module, which is called with its optimizer's ``opt_state``.

    Returns:
      A function ``grad_fn(params, opt_state, *args, **kwargs)``, whose state is
      any that :func:`adjuster_params` takes. It returns what the objective
      does; the gradients, a tuple for several ``argnums``; and
      ``{"adjuster_grads": ...}``, for ``tx.update`` and, as ``extra_args``,
      :class:`optaxmods.flax.TrainState`.

    Raises:
      ValueError: ``argnums`` that name theta, which stands at 1; of
        ``grad_fn``, a state without GAL, or with more than one.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from optaxmods import GradientAdjuster, gal, value_and_adjusted_grad
      >>> adjuster = GradientAdjuster(hidden_sizes=(8,))
      >>> tx = optax.chain(gal(adjuster, 3), optax.sgd(0.1))
      >>> loss_fn = optax.softmax_cross_entropy_with_integer_labels
      >>> def objective(weights, theta, inputs, labels):
      ...     logits = inputs @ weights
      ...     return adjuster.loss(theta, logits, loss_fn, targets=labels)
      >>> @jax.jit
      ... def step(weights, state, *batch):
      ...     grad_fn = value_and_adjusted_grad(objective)
      ...     (loss, metrics), grads, extra = grad_fn(weights, state, *batch)
      ...     updates, state = tx.update(grads, state, weights, **extra)
      ...     return optax.apply_updates(weights, updates), state, loss
      >>> weights = jnp.zeros((3, 3))
      >>> batch = jnp.eye(3), jnp.array([0, 1, 2])
      >>> weights, state, loss = step(weights, tx.init(weights), *batch)
      >>> print(f"{loss:.4f}")
      1.0986
    """
    is_several = isinstance(argnums, Sequence)
    positions = tuple(argnums) if is_several else (argnums,)
    if any(is_int(each) and (each < 0 or each == THETA) for each in positions):
        raise ValueError(
            "argnums must be positions from the first, 0, without that of"
            f" theta, {THETA}, which is differentiated in anyway, got"
            f" {argnums}."
        )
    of_both = value_and_grad(
        objective, argnums=(*positions, THETA), has_aux=has_aux
    )

    def grad_fn(params: Any, opt_state: Any, *args: Any, **kwargs: Any) -> Any:
        theta = adjuster_params(opt_state)
        value, (*grads, taught) = of_both(params, theta, *args, **kwargs)
        extra_args = {"adjuster_grads": taught}
        return value, tuple(grads) if is_several else grads[0], extra_args

    return grad_fn
