"""What GAL says to bad input."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from optaxmods import GradientAdjuster, gal

D = 4
FEATURES = jnp.ones((6, D))


def loss_fn(z):
    return jnp.sum(z**2, axis=-1)


def init(key, z):
    return {}


def apply(theta, z):
    return z


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"magnitude": -0.1}, r"magnitude must be in \[0, 1\]"),
        ({"magnitude": 1.5}, r"magnitude must be in \[0, 1\]"),
        ({"accept": ">="}, "accept must be one of '<=', '<', 'always'"),
        ({"convention": "code"}, "convention must be one of 'paper'"),
        ({"remainder": "cubic"}, "remainder must be one of 'auto'"),
        ({"network": "MLP"}, "network must be a flax.linen module or a pair"),
        ({"network": (init,)}, "network must be a flax.linen module"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientAdjuster(**arguments)


@dataclasses.dataclass(frozen=True)
class Larger(GradientAdjuster):
    magnitude: float = 0.3


@pytest.mark.parametrize(
    "make_it",
    [
        lambda: GradientAdjuster(magnitude=0.1),
        lambda: dataclasses.replace(GradientAdjuster(), magnitude=1),
        lambda: dataclasses.replace(Larger(magnitude=0.01), magnitude=0.5),
        lambda: Larger(),
    ],
)
def test_a_large_magnitude_is_warned_of_once_where_it_is_given(make_it):
    with pytest.warns(UserWarning, match="diverge") as record:
        make_it()
    assert len(record) == 1
    assert record[0].filename == __file__
    assert record[0].lineno == make_it.__code__.co_firstlineno


def test_using_an_adjuster_of_large_magnitude_warns_no_more():
    with pytest.warns(UserWarning, match="diverge"):
        adjuster = GradientAdjuster((4,), 0.5)
    theta = gal(adjuster, D).init(None).gal_theta  # A warning is an error.
    adjuster.loss(theta, FEATURES, loss_fn)


def test_errors_of_shape():
    adjuster = GradientAdjuster((4,))
    with pytest.raises(ValueError, match=r"at least 2, got 1.*last hidden"):
        adjuster.init(jax.random.key(0), 1)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        gal(adjuster, 1)
    theta = adjuster.init(jax.random.key(0), D + 1)
    with pytest.raises(ValueError, match=r"have 4 entries.* is one for 5"):
        adjuster.loss(theta, FEATURES, loss_fn)
    theta = adjuster.init(jax.random.key(0), D)
    with pytest.raises(ValueError, match=r"shape \(6,\).*returned shape \(\)"):
        adjuster.loss(theta, FEATURES, lambda z: loss_fn(z).mean())
    with pytest.raises(ValueError, match=r"returned shape \(\(6,\), \(6,\)\)"):
        adjuster.loss(theta, FEATURES, lambda z: (loss_fn(z), loss_fn(z)))
    with pytest.raises(ValueError, match=r"tentative_step .* schedule"):
        adjuster.loss(theta, FEATURES, loss_fn, tentative_step=lambda step: 1.0)
    with pytest.raises(ValueError, match=r"example_weights.*\(6,\).*\(4,\)"):
        adjuster.loss(theta, FEATURES, loss_fn, example_weights=jnp.ones(4))
    narrow = GradientAdjuster(network=(init, lambda t, z: z[..., :2]))
    with pytest.raises(ValueError, match=r"\(6, 4\), but it returned \(6, 2\)"):
        narrow.apply({}, FEATURES)


@pytest.mark.parametrize(
    "leaf", [jnp.arange(D), 3, jax.random.key(0), jnp.ones(D, complex)]
)
def test_a_theta_that_is_not_all_floats(leaf):
    network = (lambda key, z: {"a": jnp.ones(D), "b": [leaf]}, apply)
    name = re.escape(str(jnp.result_type(leaf)))
    for make_theta in (
        GradientAdjuster(network=network).init,
        lambda key, d: gal(GradientAdjuster(network=network), d).init(None),
    ):
        with pytest.raises(ValueError, match=rf"theta\['b'\]\[0\] is {name}"):
            make_theta(jax.random.key(0), D)


def test_update_without_either_route():
    tx = gal(GradientAdjuster((4,)), D)
    for given in ({}, {"features": FEATURES, "loss_fn": loss_fn}):
        with pytest.raises(
            TypeError, match=r"adjuster_grads=.*features=.*pull"
        ):
            tx.update(FEATURES, tx.init(None), **given)


def test_gradients_that_are_not_those_of_theta():
    tx = gal(GradientAdjuster((4,)), D)
    state = tx.init(None)
    narrow = jax.tree.map(lambda leaf: leaf[:1], state.gal_theta)
    for given in (narrow, {"kernel": FEATURES}):
        with pytest.raises(ValueError, match=r"adjuster_grads .* theta's sh"):
            tx.update(FEATURES, state, adjuster_grads=given)
