"""What the tests compare with, in float64 NumPy; nothing of the library.

``agr``, ``adan``, ``lga`` and ``gal`` are the rules as their papers print them,
for people to read: plain float64 arrays, one weight matrix or one batch at a
time. Of what the benchmarks run beside them, ``baselines`` has PyTorch's
optimizers, AdaBound and Lookahead, and ``surface`` the surface of GAL's 3D
example.
"""

from tests.oracles import adan, agr, gal, lga

__all__ = ["adan", "agr", "gal", "lga"]
