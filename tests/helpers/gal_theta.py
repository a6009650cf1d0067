"""Theta beside the oracle's."""

import numpy as np


def layers_of(theta):
    """Theta as the oracle has it, [(kernel, bias), ...] in float64."""
    return [
        (np.float64(layer["kernel"]), np.float64(layer["bias"]))
        for layer in theta.values()
    ]


def cosine(theta, layers):
    """Between a gradient of ours and one of the oracle's."""
    ours, theirs = (
        np.concatenate([x.ravel() for x in sum(pairs, ())])
        for pairs in (layers_of(theta), layers)
    )
    return ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
