"""Float64 NumPy oracle of GAL, Eq. 3 to 7 and Algorithm 1; nothing of ours.

Learning to Minimize the Remainder in Supervised Learning (arXiv 2201.09193).
Losses are given as (value, gradient, curvature along a vector) of features of
shape [..., d]; the network is a stack of linear layers, [(kernel, bias), ...].
"""

import numpy as np

SMALL_STEP = 0.03


def cross_entropy(labels):
    """Minus the logarithm of softmax at the label, for each example."""
    labels = np.asarray(labels)

    def softmax(z):
        shifted = np.exp(z - z.max(axis=-1, keepdims=True))
        return shifted / shifted.sum(axis=-1, keepdims=True)

    def value(z):
        top = z.max(axis=-1, keepdims=True)
        log_sum = np.log(np.exp(z - top).sum(axis=-1)) + top[..., 0]
        return log_sum - np.take_along_axis(z, labels[..., None], -1)[..., 0]

    def gradient(z):
        return softmax(z) - np.eye(z.shape[-1])[labels]

    def curvature(z, along):
        p = softmax(z)
        return p * along - p * np.sum(p * along, axis=-1, keepdims=True)

    return value, gradient, curvature


def squared_error(targets):
    """Half the squared distance; its curvature is the identity."""
    return (
        lambda z: 0.5 * np.sum((z - targets) ** 2, axis=-1),
        lambda z: z - targets,
        lambda z, along: along,
    )


def cosines():
    """The sum of cosines: curved both ways, so that r has both signs."""
    return (
        lambda z: np.sum(np.cos(z), axis=-1),
        lambda z: -np.sin(z),
        lambda z, along: -np.cos(z) * along,
    )


def signed(loss, weights):
    """Minus the loss where it is to be raised, and shares without a sign.

    The second are shares of all weights' sizes, for the means of the metrics.
    """
    value, gradient, curvature = loss
    total, size = weights.sum(), np.abs(weights).sum()
    share = weights / (total if size > 0 else 1)
    sign = np.where(share < 0, -1, 1)
    along = sign[..., None]
    mine = (
        lambda z: sign * value(z),
        lambda z: along * gradient(z),
        lambda z, vector: along * curvature(z, vector),
    )
    part = np.abs(weights) / (size if size > 0 else 1)
    return mine, np.abs(share), part, abs(total)


def network(layers, z):
    for kernel, bias in layers:
        z = z @ kernel + bias
    return z


def gal(
    layers,
    z,
    loss,
    tentative_step,
    magnitude=0.01,
    accept="<=",
    convention="paper",
    remainder="auto",
    weights=None,
):
    """The mean loss, its gradients in z and theta, and the metrics."""
    d = z.shape[-1]
    flat = z.reshape(-1, d)
    weights = np.ones(z.shape[:-1]) if weights is None else weights
    mine, share, part, total = signed(loss, weights)
    value, gradient, curvature = mine
    losses, slopes = value(z), gradient(z)
    v = network(layers, z)  # Eq. 3
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    unit = v / length
    norm = np.linalg.norm(slopes, axis=-1, keepdims=True)
    tilde = magnitude * norm * unit  # Eq. 4
    g = slopes + tilde  # Eq. 5
    released = convention == "released"
    scale = tentative_step * (share[..., None] if released else 1)
    delta = scale * g
    descent = np.sum(slopes * delta, axis=-1)
    # Eq. 7, and its slope in delta.
    finite = value(z - delta) - losses + descent
    finite_slope = slopes - gradient(z - delta)
    curved = curvature(z, delta)
    small = np.abs(delta).max(axis=-1) < SMALL_STEP
    quadratic = {"auto": small, "quadratic": True, "finite": False}[remainder]
    quadratic = np.broadcast_to(quadratic, small.shape)
    r = np.where(quadratic, np.sum(delta * curved, axis=-1) / 2, finite)
    slope = np.where(quadratic[..., None], curved, finite_slope)
    change = r - descent
    if released:  # The first-order term has 1 / N once more.
        r = r + (1 / total - 1) * descent
        slope = slope + (1 / total - 1) * slopes
        mean = np.sum(share * r)
        size, to_r = abs(mean), np.sign(mean) * share  # Eq. 6
        change = np.full_like(change, np.sum(share * change))
    else:
        size, to_r = np.sum(part * np.abs(r)), np.sign(r) * part  # Eq. 6
    accepted = {  # Line 7
        "<=": change <= 0,
        "<": change < 0,
        "always": np.full(change.shape, True),
        "never": np.full(change.shape, False),
    }[accept]
    # Line 13: from r through delta, g and the normalization to v.
    pull = to_r[..., None] * slope * scale * magnitude * norm
    to_v = (pull - unit * np.sum(unit * pull, -1, keepdims=True)) / length
    return {
        "loss": np.sum(share * losses),
        # Lines 8 and 10.
        "z": share[..., None] * np.where(accepted[..., None], g, slopes),
        "theta": _through(layers, flat, to_v.reshape(-1, d)),
        "acceptance": np.sum(part * accepted),
        "remainder": size,
        "cosine": np.sum(part * np.sum(unit * slopes / norm, axis=-1)),
    }


def share_improved(
    layers, z, loss, tentative_step, magnitude=0.01, weights=None
):
    """Fig. 8b: how often g lowers an example's loss more than dl/dz."""
    weights = np.ones(z.shape[:-1]) if weights is None else weights
    (value, gradient, _), _, part, _ = signed(loss, weights)
    v, slopes = network(layers, z), gradient(z)
    norm = np.linalg.norm(slopes, axis=-1, keepdims=True)
    unit = v / np.linalg.norm(v, axis=-1, keepdims=True)
    g = slopes + magnitude * norm * unit
    after, plainly = (value(z - tentative_step * way) for way in (g, slopes))
    return np.sum(part * (after < plainly))


def _through(layers, z, to_v):
    """Line 14: from v to every layer's (kernel, bias)."""
    inputs = [z]
    for kernel, bias in layers:
        inputs.append(inputs[-1] @ kernel + bias)
    gradients = []
    for (kernel, _), entering in zip(
        reversed(layers), reversed(inputs[:-1]), strict=True
    ):
        gradients.append((entering.T @ to_v, to_v.sum(axis=0)))
        to_v = to_v @ kernel.T
    return gradients[::-1]
