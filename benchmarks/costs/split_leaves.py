"""Small leaves that take turns in how the mesh axes "data", "model" split them.

By one axis, by both, on one axis of theirs or two, stacked or not, and a bias.
"""

import itertools

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

SPECS = (
    P("data", "model"),
    P("model", "data"),
    P("data", None),
    P(None, "model"),
    P(("data", "model"), None),
    P("model"),
    P(None, "data", "model"),
    P("data", None, None),
)
SIZE = 8  # Of each axis of a leaf.


def make_params(
    leaves: int, mesh: jax.sharding.Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    specs = itertools.islice(itertools.cycle(SPECS), leaves)
    return {
        f"leaf_{index}": jax.ShapeDtypeStruct(
            (SIZE,) * len(spec),
            jnp.float32,
            sharding=NamedSharding(mesh, spec),
        )
        for index, spec in enumerate(specs)
    }
