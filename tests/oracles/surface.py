"""The surface of GAL's 3D example, in float64."""

import math

import numpy as np


def height(x, y):
    hills = math.sin(x**2) * math.cos(3 * y**2) * math.exp(-((x * y) ** 2))
    return -hills - math.exp(-((x + y) ** 2))


def slope(x, y):
    """The gradient of ``height``, differentiated by hand."""
    sine, cosine = math.sin(x**2), math.cos(3 * y**2)
    bell, ridge = math.exp(-((x * y) ** 2)), math.exp(-((x + y) ** 2))
    along_x = 2 * x * math.cos(x**2) - 2 * x * y**2 * sine
    along_y = -6 * y * math.sin(3 * y**2) - 2 * x**2 * y * cosine
    return np.array(
        [
            -along_x * cosine * bell + 2 * (x + y) * ridge,
            -along_y * sine * bell + 2 * (x + y) * ridge,
        ]
    )
