"""Optimizers in float64 NumPy: the parameters after each gradient.

They are PyTorch's, but for ``around_sgd``, which is Lookahead, and ``bounded``,
which is AdaBound.
"""

import math

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


def asgd(x, gradients, rate, decay=1e-4, power=0.75, start=1e6):
    """``torch.optim.ASGD``; returns iterates and averages."""
    eta, mu, average = rate, 1.0, np.zeros_like(x)
    iterates, averages = [], []
    for step, g in enumerate(gradients, start=1):
        x = x * (1 - decay * eta) - eta * g
        average = average + mu * (x - average)
        eta = rate / (1 + decay * rate * step) ** power
        mu = 1 / max(1, step - start)
        iterates.append(x)
        averages.append(average)
    return iterates, averages


def sgd(x, gradients, rate, momentum=0.0):
    buffer = np.zeros_like(x)
    for g in gradients:
        buffer = momentum * buffer + g
        x = x - rate * buffer
        yield x


def adamax(x, gradients, rate):
    mean, largest = np.zeros_like(x), np.zeros_like(x)
    for step, g in enumerate(gradients, start=1):
        mean = 0.9 * mean + 0.1 * g
        largest = np.maximum(0.999 * largest, np.abs(g) + 1e-8)
        x = x - rate * mean / (1 - 0.9**step) / largest
        yield x


def adadelta(x, gradients, rate):
    square, moved = np.zeros_like(x), np.zeros_like(x)
    for g in gradients:
        square = 0.9 * square + 0.1 * g**2
        delta = np.sqrt(moved + 1e-6) / np.sqrt(square + 1e-6) * g
        moved = 0.9 * moved + 0.1 * delta**2
        x = x - rate * delta
        yield x


def around_sgd(x, gradients, rate, period=5, part=0.5):
    slow = x
    for step, g in enumerate(gradients, start=1):
        x = x - rate * g
        if step % period == 0:
            slow = x = slow + part * (x - slow)
        yield x


def bounded(x, gradients, rate, final=0.02, gamma=0.5, clipped=None):
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gradients, start=1):
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        size = rate * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        size = size / (np.sqrt(square) + 1e-8)
        low = final * (1 - 1 / (gamma * t + 1))
        high = final * (1 + 1 / (gamma * t))
        if clipped is not None:
            clipped += np.where(size < low, -1, np.where(size > high, 1, 0))[
                None
            ].tolist()
        x = x - np.clip(size, low, high) * mean
        yield x
