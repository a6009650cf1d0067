"""Each rule as its paper prints it, in float64 NumPy; nothing of the library.

A step function takes and returns plain float64 arrays, one weight matrix at a
time. They are read by people, and the tests compare the library with them.
"""

from tests.oracles import adan, agr, gal, lga

__all__ = ["adan", "agr", "gal", "lga"]
