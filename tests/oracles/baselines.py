"""PyTorch's optimizers in float64 NumPy: the parameters after each gradient."""

import numpy as np


def rmsprop(x, gradients, rate, eps=1e-8):
    square = np.zeros_like(x)
    for g in gradients:
        square = 0.99 * square + 0.01 * g**2
        x = x - rate * g / (np.sqrt(square) + eps)
        yield x


def adam(x, gradients, rate, b1=0.9, eps=1e-8):
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step, g in enumerate(gradients, start=1):
        mean = b1 * mean + (1 - b1) * g
        square = 0.999 * square + 0.001 * g**2
        root = np.sqrt(square / (1 - 0.999**step))
        x = x - rate * mean / (1 - b1**step) / (root + eps)
        yield x
