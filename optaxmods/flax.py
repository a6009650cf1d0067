"""What Flax needs to pass on: a ``TrainState`` whose optimizer reads more."""

from collections.abc import Mapping
import functools
from typing import Any, Self

from flax.training import train_state
import optax


class TrainState(train_state.TrainState):
    """``flax.training.train_state.TrainState`` with extra arguments.

    :meth:`apply_gradients` forwards ``extra_args`` to ``tx.update``: the
    ``value`` that :func:`optaxmods.lga` reads and the ``adjuster_grads`` that
    :func:`optaxmods.gal` does. Any optax transformation works in it; those that
    take no extra arguments are given none.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> import optaxmods
      >>> from optaxmods.flax import TrainState
      >>> state = TrainState.create(
      ...     apply_fn=lambda params, x: x @ params["w"],
      ...     params={"w": jnp.zeros(3)},
      ...     tx=optaxmods.with_lga(optax.sgd(0.1), 1e-8, status_every=100),
      ... )
      >>> @jax.jit
      ... def train_step(state, x, y):
      ...     def loss_fn(params):
      ...         return jnp.mean((state.apply_fn(params, x) - y) ** 2)
      ...
      ...     loss, grads = jax.value_and_grad(loss_fn)(state.params)
      ...     return state.apply_gradients(
      ...         grads=grads, extra_args={"value": loss}
      ...     )
      >>> state = train_step(state, jnp.eye(3), jnp.ones(3))
      >>> print(state.step, jnp.round(state.params["w"], 4))
      1 [0.0667 0.0667 0.0667]
    """

    def apply_gradients(
        self,
        *,
        grads: Any,
        extra_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Returns the state after one step.

        Args:
          grads: gradients of ``params``, a tree of the same structure.
          extra_args: what ``tx.update`` is given beside them, by name, such as
            ``{"value": loss}``.
          **kwargs: fields to replace, such as ``batch_stats``.

        Raises:
          TypeError: ``extra_args`` is no mapping from names.
        """
        if extra_args is not None and not isinstance(extra_args, Mapping):
            raise TypeError(
                "extra_args must be a dictionary of tx.update's arguments, such"
                f" as {{'value': loss}}, got {type(extra_args).__name__}."
            )
        extra = dict(extra_args or {})
        update = self.tx.update
        if isinstance(self.tx, optax.GradientTransformation):
            update = optax.with_extra_args_support(self.tx).update
        # Else it is an optax.MultiSteps, which takes them as it is.
        # Flax's own method does the step, whatever it will come to be.
        reading = optax.GradientTransformationExtraArgs(
            self.tx.init, functools.partial(update, **extra)
        )
        state = super(TrainState, self.replace(tx=reading)).apply_gradients(
            grads=grads, **kwargs
        )
        return state.replace(tx=kwargs.get("tx", self.tx))
