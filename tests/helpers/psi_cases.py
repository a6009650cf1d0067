"""Gradients of every dtype and size, and how near Psi has to be."""

from hypothesis import strategies as st
import jax.numpy as jnp
import numpy as np

import optaxmods
from tests.helpers.wide import enable_x64

# dtype -> (dtype the sum is formed in, dtype of the oracle).
DTYPES = {
    "float16": ("float32", np.float64),
    "bfloat16": ("float32", np.float64),
    "float32": ("float32", np.float64),
    "float64": ("float64", np.float64),
    "complex64": ("float32", np.complex128),
}
SHAPES = [(1, 2), (3, 4), (7, 5), (2, 3, 4), (16, 1), (2, 2, 2, 3)]


def apply(gradient, **arguments):
    tx = optaxmods.agr(**arguments)
    return tx.update(gradient, tx.init(gradient))[0]


def wide(array, dtype):
    return np.asarray(jnp.asarray(array)).astype(DTYPES[dtype][1])


def limits(dtype):
    real = "float32" if dtype == "complex64" else dtype
    return jnp.finfo(jnp.dtype(real))


@st.composite
def gradients(draw):
    """A finite gradient of any dtype, from subnormal to near overflow."""
    dtype = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(st.sampled_from(SHAPES))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    info = limits(dtype)
    low, high = (
        np.log10(float(info.smallest_subnormal)),
        np.log10(float(info.max)),
    )
    exponent = draw(st.floats(low, high - 0.1))
    spread = draw(st.sampled_from([0.0, 1.0, 4.0]))
    magnitude = 10.0 ** np.clip(
        exponent - spread * generator.random(shape), low, high
    )
    values = magnitude * generator.choice([-1, 1], shape)
    values[generator.random(shape) < draw(st.sampled_from([0, 0.3]))] = 0
    if dtype == "complex64":
        # The components stay finite, the modulus may overflow.
        values = values * (1 + 1j * generator.choice([-1, 0, 1], shape))
    with enable_x64(True):
        return dtype, jnp.asarray(values).astype(dtype)


def within_rounding(got, want, scale, dtype):
    """Four roundings of the wide dtype, one of the leaf's, or a subnormal."""
    summed = limits(DTYPES[dtype][0])
    error = np.abs(got - want)
    relative = 4 * float(summed.eps) + float(limits(dtype).eps) / 2
    slack = max(float(summed.tiny), float(limits(dtype).smallest_subnormal))
    return np.all(error <= relative * np.abs(scale) + slack)
