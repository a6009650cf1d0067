"""Blocks of examples: how many, and which array holds which of them.

A block takes every n-th example along one axis, as far as it goes: of an axis
that a mesh splits, each device then has its share of every block, and nothing
travels. Without a mesh the axes of the examples are one, and a number of
examples that n does not divide is cut into runs, the last of which begins
early.
"""

from collections.abc import Sequence
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

# A block is that many features, 8 MiB of them in float32, or a 32nd of all.
FEATURES, PARTS = 2**21, 32


class Blocks(NamedTuple):
    """Blocks along one axis of the examples."""

    shape: tuple[int, ...]  # Of all examples; one axis where no mesh forbids.
    axis: int
    size: int  # Of a block, along that axis.
    count: int

    @property
    def is_even(self) -> bool:
        return self.size * self.count == self.shape[self.axis]

    def view(self, array: jax.Array, num_axes: int) -> jax.Array:
        """An array [..., *rest], of which ``take`` takes a block's part."""
        rest, shape = array.shape[num_axes:], list(self.shape)
        spec = _spec(array)
        if spec is not None and len(shape) != num_axes:  # On one device.
            spec[:num_axes] = [None]
        if self.is_even:
            shape[self.axis : self.axis + 1] = self.size, self.count
            if spec is not None:
                spec.insert(self.axis + 1, None)
        if spec is None:
            return array.reshape(*shape, *rest)
        return jnp.reshape(
            array, (*shape, *rest), out_sharding=_split(array, spec)
        )

    def whole(self, view: jax.Array, like: jax.Array) -> jax.Array:
        """The array again, whose view it is."""
        spec = _spec(like)
        if spec is None:
            return view.reshape(like.shape)
        return jnp.reshape(view, like.shape, out_sharding=_split(like, spec))

    def take(self, view: jax.Array, index: jax.Array) -> jax.Array:
        if self.is_even:
            return jax.lax.dynamic_index_in_dim(
                view, index, self.axis + 1, keepdims=False
            )
        return jax.lax.dynamic_slice_in_dim(
            view, self._start(index), self.size, self.axis
        )

    def put(
        self, view: jax.Array, block: jax.Array, index: jax.Array
    ) -> jax.Array:
        """The view with a block, but for what an earlier one has put there."""
        if self.is_even:
            return jax.lax.dynamic_update_index_in_dim(
                view, block, index, self.axis + 1
            )
        is_new = self.is_new(index)
        is_new = is_new.reshape(*is_new.shape, *[1] * (block.ndim - 1))
        block = jnp.where(is_new, block, self.take(view, index))
        return jax.lax.dynamic_update_slice_in_dim(
            view, block, self._start(index), self.axis
        )

    def is_new(self, index: jax.Array) -> jax.Array:
        """Which examples of a block, [size], no earlier one has had."""
        missing = index * self.size - self._start(index)
        return jnp.arange(self.size) >= missing

    def _start(self, index: jax.Array) -> jax.Array:
        return jnp.minimum(index * self.size, self.shape[self.axis] - self.size)


def blocks_of(
    array: jax.Array, num_features: int, block_size: int | None
) -> Blocks | None:
    """Blocks for examples [..., *rest] of so many features, or ``None``.

    ``block_size`` is the most examples of a block. Where it is ``None``, small
    work stays whole, and so does what several devices may share: each block
    would have a sum over them of theta's gradient.
    """
    shape = array.shape[:-1]
    examples, mesh = math.prod(shape), jax.typeof(array).sharding.mesh
    devices = math.prod(
        mesh.shape[name]
        for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if kind != AxisType.Manual
    )
    if block_size is None:
        features = max(FEATURES, examples * num_features // PARTS)
        block_size = examples if devices > 1 else features // num_features
    wanted = -(-examples // max(block_size, 1)) if examples else 1
    if wanted < 2:
        return None
    if devices == 1:
        size = _even(examples, wanted, 1) or -(-examples // wanted)
        return Blocks((examples,), 0, size, -(-examples // size))
    found = _unmoved(shape, wanted, _parts(array, devices))
    if found is None:
        raise ValueError(
            f"block_size={block_size} asks for {wanted} blocks, or up to twice"
            f" as many, of examples {shape} on {devices} devices, each of which"
            " keeps its own part of every block, but no axis can be cut so: pad"
            " the examples, take another block_size, or leave it out."
        )
    return found


def _even(length: int, wanted: int, parts: int) -> int | None:
    """A block's size that leaves none over, for at most twice as many."""
    return next(
        (
            length // count
            for count in range(wanted, min(2 * wanted, length) + 1)
            if length % (count * parts) == 0
        ),
        None,
    )


def _unmoved(
    shape: tuple[int, ...], wanted: int, parts: Sequence[int]
) -> Blocks | None:
    """Blocks along one axis: as many as wanted, or up to twice as many.

    Of each a device keeps its part; an axis that nothing splits comes first.
    """
    found = [
        (part, count, axis)
        for axis, (length, part) in enumerate(zip(shape, parts, strict=True))
        for count in range(wanted, min(2 * wanted, length // part) + 1)
        if length % (count * part) == 0
    ]
    if not found:
        return None
    _, count, axis = min(found)
    return Blocks(shape, axis, shape[axis] // count, count)


def _parts(array: jax.Array, devices: int) -> list[int]:
    """In how many parts each axis of the examples may lie on devices."""
    sharding = jax.typeof(array).sharding
    if AxisType.Auto in sharding.mesh.axis_types:  # Any of them in any.
        return [devices] * (array.ndim - 1)
    return [
        math.prod(sharding.mesh.shape[name] for name in _names(entry))
        for entry in (*sharding.spec, *[None] * array.ndim)[: array.ndim - 1]
    ]


def _names(entry: Any) -> tuple[str, ...]:
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def _split(array: jax.Array, spec: Sequence[Any]) -> NamedSharding:
    """Of the array's own mesh, which need not be the one that is set."""
    return NamedSharding(jax.typeof(array).sharding.mesh, P(*spec))


def _spec(array: jax.Array) -> list[Any] | None:
    """By what explicit axes split an array, one entry an axis."""
    sharding = jax.typeof(array).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return None
    return [*sharding.spec, *[None] * array.ndim][: array.ndim]
