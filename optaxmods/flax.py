"""What Flax needs to pass on: a ``TrainState`` whose optimizer reads more."""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, Self

from flax.training import train_state
import optax

from optaxmods._checks import check_transformation

# Of tx.update, beside the extra arguments.
HANDED_ON = ("updates", "state", "params")
SET_BY_THE_STEP = {"step", "params", "opt_state"}


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

    @classmethod
    def create(
        cls, *, apply_fn: Any, params: Any, tx: Any, **kwargs: Any
    ) -> Self:
        """Returns the state before the first step; arguments are Flax's.

        Raises:
          ValueError: ``tx`` is no transformation.
        """
        check_transformation("tx", tx)
        return super().create(apply_fn=apply_fn, params=params, tx=tx, **kwargs)

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
          TypeError: ``extra_args`` is no mapping from names of further
            arguments; another keyword is no field that can be replaced.
        """
        if grads is None:
            raise TypeError("grads must be the gradients of params, got None.")
        _check_extra(extra_args)
        self._check_fields(kwargs)
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

    def _check_fields(self, given: Mapping[str, Any]) -> None:
        fields = {field.name for field in dataclasses.fields(self)}
        for name in given:
            if name not in fields - SET_BY_THE_STEP:
                raise TypeError(
                    f"apply_gradients cannot set {name!r}, which is"
                    f" {'set by the step' if name in fields else 'no field'}:"
                    " keywords are fields of the state to replace, and"
                    " tx.update's arguments go into extra_args={...}."
                )


def _check_extra(extra_args: Any) -> None:
    if extra_args is None:
        return
    is_mapping = isinstance(extra_args, Mapping)
    if not is_mapping or not all(isinstance(name, str) for name in extra_args):
        what = "other keys" if is_mapping else type(extra_args).__name__
        raise TypeError(
            "extra_args must be a dictionary of tx.update's arguments, such"
            f" as {{'value': loss}}, got {what}."
        )
    for name in HANDED_ON:
        if name in extra_args:
            raise TypeError(
                f"extra_args must not hold {name!r}: apply_gradients gives"
                " tx.update the gradients, its state and the parameters itself."
            )
