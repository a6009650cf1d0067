"""What Flax's users need: an optimizer that reads more, and what a matrix is.

A ``TrainState`` that passes extra arguments on, and AGR's ``reduction_axes``
for the names and the stacked layers of linen and nnx.
"""

from collections.abc import Mapping
import dataclasses
import functools
import math
from typing import Any, Self

from flax import linen as nn
from flax import nnx
from flax.training import train_state
import jax
import jax.numpy as jnp
import optax

from optaxmods._shared.arguments import (
    check_flag,
    check_transformation,
    is_int,
    shown,
)
from optaxmods._shared.paths import AxesOfMetadata, is_box_key, names_along

SET_BY_THE_STEP = {"step", "params", "opt_state"}

# Where nnx keeps the names of a Variable's axes; the latter before Flax 0.12.4
# (https://github.com/google/flax/issues/5248), and to go with it.
AXIS_NAMES = ("out_sharding", "sharding_names")
NO_MATRICES = ("bias", "scale")


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
          grads: gradients of ``params``, a tree of the same structure; ``None``
            where :func:`optaxmods.gal` is to make them.
          extra_args: what ``tx.update`` is given beside them, by name, such as
            ``{"value": loss}``.
          **kwargs: fields to replace, such as ``batch_stats``.

        Raises:
          TypeError: ``extra_args`` is no mapping from names, or names what the
            step gives itself (Python's own words); another keyword is no field
            that can be replaced.
        """
        if grads is None:
            # Flax looks for names in them, and an empty tree has none.
            grads = {}
            if "pullback" not in (extra_args or {}):
                raise TypeError(
                    "grads must be the gradients of params, got None; only"
                    " optaxmods.gal makes them itself, of the pullback in"
                    " extra_args."
                )
        self._check_fields(kwargs)
        update = self.tx.update
        if isinstance(self.tx, optax.GradientTransformation):
            update = optax.with_extra_args_support(self.tx).update
        # Else it is an optax.MultiSteps, which takes them as it is.
        # Flax's own method does the step, whatever it will come to be.
        reading = optax.GradientTransformationExtraArgs(
            self.tx.init, functools.partial(update, **(extra_args or {}))
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


def kernel_axes(
    updates: optax.Updates,
    *,
    stacked: int | Mapping[str, int | tuple[int, ...]] | None = None,
    partition_names: str | tuple[str, ...] = "layers",
    embeddings: bool = True,
) -> Any:
    """The axes of each weight matrix in a tree of Flax's parameters.

    For ``reduction_axes`` of AGR's functions, as it is or, with other
    arguments, through ``functools.partial``. A leaf is a matrix over all of
    its axes but those that count layers, so that a kernel of attention,
    ``[features, heads, head_dim]``, or of a convolution is one, and a stack of
    them one for each layer. Leaves called ``bias`` or ``scale``, those with
    fewer than two axes left, and single entries are left alone.

    Which axes count layers is read from metadata, where the transform that
    stacks the layers has written a name: in ``nn.Partitioned`` and
    ``nn.LogicallyPartitioned`` by ``metadata_params`` of ``nn.scan`` and
    ``nn.vmap``, in an ``nnx.Variable`` by ``transform_metadata`` of
    ``nnx.vmap`` and ``nnx.scan``. Flax writes it beside the names of a
    parameter's own axes, and nowhere where there are none. An array without
    such names does not show that it is a stack: say so in ``stacked``.

    ``nnx.Optimizer`` shows metadata to ``init`` and hides it from ``update``.
    So there the axes are read once, from ``nnx.state(model, nnx.Param)``, and
    the tree of them is passed as ``reduction_axes``; where this function itself
    would read a stack there, ``init`` raises a ``ValueError``.

    Args:
      updates: parameters or gradients; only paths, shapes and metadata are
        read.
      stacked: which axis of which arrays counts layers, where metadata does not
        tell: the number in ``variable_axes`` or ``out_axes``, for all arrays
        below a module's name, as ``{"blocks": 0}``. Names are whole, and may be
        a parameter's own. Where stacks lie within stacks, an outer one's axis
        is that of the whole array and an inner one's that of one layer; a
        tuple has several of one name, the outermost first. A number alone is
        for all arrays: an ensemble. Beside ``""`` it can stand with names.
      partition_names: the name, or names, under ``nn.PARTITION_NAME`` or
        ``nnx.PARTITION_NAME`` of the transforms that stack layers.
      embeddings: whether tables are matrices, as by AGR's default: leaves
        called ``embedding``, those of ``nn.Embed`` and ``nnx.Embed``, or
        ``pos_embedding`` and the like.

    Returns:
      A tree like ``updates``, without its boxes, of tuples: the axes of each
      leaf that make up one matrix, ``()`` where AGR leaves it alone.

    Raises:
      ValueError: ``stacked`` names what is on no path, an axis that an array
        lacks, or is of another form.

    Examples:
      >>> import functools
      >>> import jax.numpy as jnp
      >>> from optaxmods import agr
      >>> from optaxmods.flax import kernel_axes
      >>> params = {
      ...     "embed": {"embedding": jnp.ones((9, 4))},
      ...     "attention": {
      ...         "query": {
      ...             "kernel": jnp.ones((4, 2, 2)),
      ...             "bias": jnp.ones((2, 2)),
      ...         },
      ...     },
      ... }
      >>> axes = kernel_axes(params, embeddings=False)
      >>> axes["attention"], axes["embed"]
      ({'query': {'bias': (), 'kernel': (0, 1, 2)}}, {'embedding': ()})
      >>> stack = {"kernel": jnp.ones((3, 4, 4)), "bias": jnp.ones((3, 4))}
      >>> layers = {"blocks": stack}
      >>> per_layer = functools.partial(kernel_axes, stacked={"blocks": 0})
      >>> per_layer(layers)
      {'blocks': {'bias': (), 'kernel': (1, 2)}}
      >>> tx = agr(reduction_axes=per_layer)
    """
    stacks = _checked_stacks(stacked)
    check_flag("embeddings", embeddings)
    if isinstance(partition_names, str):
        partition_names = (partition_names,)
    if not isinstance(partition_names, tuple):
        raise ValueError(
            "partition_names must be a name or a tuple of names, got"
            f" {shown(partition_names)}."
        )
    _check_names(updates, stacks)

    def axes(path: Any, node: Any) -> tuple[int, ...]:
        if node is None:
            return ()
        names = names_along(path)
        own_name = names[-1] if names else ""
        leaf, axis_names = _unboxed(node)
        shape = jnp.shape(leaf)
        if own_name in NO_MATRICES or len(shape) < 2:
            return ()
        if own_name.endswith("embedding") and not embeddings:
            return ()
        said = _stack_axes(names, len(shape), stacks)
        read = {i for i, n in enumerate(axis_names) if n in partition_names}
        matrix = tuple(a for a in range(len(shape)) if a not in said | read)
        if len(matrix) < 2 or math.prod(shape[axis] for axis in matrix) == 1:
            return ()
        is_hidden = isinstance(node, nnx.Variable) and not read <= said
        return AxesOfMetadata(matrix) if is_hidden else matrix

    return jax.tree_util.tree_map_with_path(
        axes, updates, is_leaf=lambda node: node is None or _is_box(node)
    )


def _is_box(node: Any) -> bool:
    """Whether a node is an array with metadata."""
    if not isinstance(node, nn.meta.AxisMetadata | nnx.Variable):
        return False
    leaves = jax.tree_util.tree_leaves_with_path(node)
    return len(leaves) == 1 and all(is_box_key(key) for key in leaves[0][0])


def _unboxed(node: Any) -> tuple[Any, tuple[Any, ...]]:
    """An array and the names of its axes, of which there may be none."""
    if not _is_box(node):
        return node, ()
    # unbox() would constrain its sharding.
    (leaf,) = jax.tree.leaves(node)
    if isinstance(node, nnx.Variable):
        metadata = node.get_metadata()
        names = next((metadata[k] for k in AXIS_NAMES if metadata.get(k)), ())
    else:
        names = getattr(node, "names", None) or ()
    return leaf, tuple(getattr(names, "spec", names))


Stacks = dict[str, tuple[int, ...]]


def _checked_stacks(stacked: Any) -> Stacks:
    if stacked is None:
        return {}
    entries = stacked if isinstance(stacked, Mapping) else {"": stacked}
    stacks = {}
    for name, entry in entries.items():
        axes = entry if isinstance(entry, tuple) else (entry,)
        if not isinstance(name, str) or not all(map(is_int, axes)):
            raise ValueError(
                f"stacked holds {shown(entry)}"
                + (f" for {shown(name)}" if name != "" else "")
                + "; pass the axis that counts layers, or a dictionary of such"
                " axes by the names of modules, as {'blocks': 0}."
            )
        stacks[name] = axes
    return stacks


def _check_names(updates: optax.Updates, stacks: Stacks) -> None:
    """A misspelt name would mix the layers of its stack in silence."""
    paths = jax.tree_util.tree_leaves_with_path(
        updates,
        # What a mask or a partition takes out keeps its place.
        is_leaf=lambda node: node is None or isinstance(node, optax.MaskedNode),
    )
    known = {name for path, _ in paths for name in names_along(path)}
    for name in stacks:
        if name not in {"", *known}:
            raise ValueError(
                f"stacked names {name!r}, which is on no path of the tree; its"
                f" names are {', '.join(sorted(known))}."
            )


def _stack_axes(
    names: tuple[str, ...], ndim: int, stacks: Stacks
) -> frozenset[int]:
    """The axes that count layers by what ``stacked`` says, outermost first."""
    left = list(range(ndim))
    for name in ("", *names):
        for axis in stacks.get(name, ()):
            if not -len(left) <= axis < len(left):
                raise ValueError(
                    f"stacked says that axis {axis} counts layers under"
                    f" {name or 'every name'!r}, but of {'/'.join(names)} no"
                    f" more than {len(left)} axes are left there; name an axis"
                    f" within [-{len(left)}, {len(left)})."
                )
            del left[axis]
    return frozenset(range(ndim)) - frozenset(left)
