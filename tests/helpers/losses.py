"""Losses of GAL's features."""

import optax


def cross_entropy(labels):
    """The loss of each example's logits."""
    return lambda z: optax.softmax_cross_entropy_with_integer_labels(z, labels)
