"""GAL's direct route without gradients: what it takes, and what it gives."""

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, agr, gal, with_lga
from tests.helpers.gal_blocks import (
    ADJUSTER,
    HEAD,
    SHAPES,
    THETA,
    D,
    K,
    drawn,
    loops,
    overshot,
)
from tests.helpers.gal_problem import assert_close

# The trace holds theta's gradient for us to see.
TX = gal(ADJUSTER, D, optimizer=optax.trace(0.0))
STATE = TX.init(None)._replace(gal_theta=THETA)
PARAMS = {
    "hidden": jnp.asarray(
        np.random.default_rng(1).standard_normal((K, K)), jnp.float32
    ),
    "head": HEAD,
}


def hidden_of(params, inputs):
    return jnp.tanh(inputs @ params["hidden"])


def tied(params):
    """What the last layer is made of, not all of it its own."""
    return {"head": params["head"], "mix": params["hidden"]}


def layer(parts, hidden):
    return (hidden @ parts["mix"]) @ parts["head"]


def wanted(inputs, labels, params=PARAMS, adjuster=ADJUSTER, **arguments):
    """By the loss, whole."""

    def objective(params, theta):
        logits = layer(tied(params), hidden_of(params, inputs))
        return adjuster.loss(
            theta, logits, overshot, targets=labels, **arguments
        )[0]

    return jax.jit(jax.grad(objective, argnums=(0, 1)))(params, THETA)


def made(
    inputs, labels, head, params=PARAMS, tx=TX, loss_fn=overshot, **arguments
):
    """The updates and theta's gradient; with ``head`` the layer is inside."""

    def features_of(params):
        hidden, parts = hidden_of(params, inputs), tied(params)
        return (hidden, parts) if head else layer(parts, hidden)

    given, pullback = jax.vjp(features_of, params)
    features, parts = given if head else (given, None)
    updates, state = tx.update(
        None,
        STATE,
        params,
        features=features,
        loss_fn=loss_fn,
        pullback=pullback,
        targets=labels,
        head=(layer, parts) if head else None,
        **arguments,
    )
    return updates, state.gal_opt_state.trace


# Every pair of what the three are.
@pytest.mark.parametrize(
    ("name", "weighted", "head", "block_size"),
    [
        ("even", False, False, None),
        ("even", False, True, 4),
        ("uneven", True, False, 4),
        ("uneven", True, True, None),
    ],
)
def test_targets_blocks_and_the_last_layer(name, head, block_size, weighted):
    inputs, labels, weights = drawn(SHAPES[name])
    given = {"example_weights": weights if weighted else None}

    def step(inputs, labels):
        return made(inputs, labels, head, block_size=block_size, **given)

    program = jax.jit(step).trace(inputs, labels)
    assert bool(loops(program.jaxpr.jaxpr)) == (block_size is not None)
    got = program.lower().compile()(inputs, labels)
    assert_close(got, wanted(inputs, labels, **given))


@pytest.mark.parametrize("block_size", [None, 4])
def test_the_layer_may_have_integers(block_size):
    inputs, labels, _ = drawn(SHAPES["even"])
    order = jnp.array([1, 0, 3, 2, 4])

    def shuffled(parts, hidden):
        return layer(parts["numbers"], hidden)[..., parts["order"]]

    def features_of(params):
        others = {"order": order, "key": jax.random.key(0)}
        return hidden_of(params, inputs), {"numbers": tied(params), **others}

    @jax.jit
    def update(params):
        (hidden, parts), pullback = jax.vjp(features_of, params)
        return TX.update(
            None,
            STATE,
            params,
            features=hidden,
            loss_fn=overshot,
            pullback=pullback,
            targets=labels,
            head=(shuffled, parts),
            block_size=block_size,
        )[0]

    def objective(params):
        logits = shuffled(features_of(params)[1], hidden_of(params, inputs))
        return ADJUSTER.loss(THETA, logits, overshot, targets=labels)[0]

    assert_close(update(PARAMS), jax.jit(jax.grad(objective))(PARAMS))


def test_targets_beside_gradients():
    inputs, labels, _ = drawn(SHAPES["even"])

    def logits_of(params):
        return layer(tied(params), hidden_of(params, inputs))

    features, pullback = jax.vjp(logits_of, PARAMS)
    (plain,) = pullback(
        jax.grad(lambda z: overshot(z, labels).mean())(features)
    )
    updates, state = TX.update(
        plain,
        STATE,
        features=features,
        loss_fn=overshot,
        pullback=pullback,
        targets=labels,
    )
    got = updates, state.gal_opt_state.trace
    assert_close(got, wanted(inputs, labels))


@pytest.mark.parametrize(
    ("head", "block_size", "check_vma"),
    [
        (False, None, True),
        (False, 1, False),
        (True, None, False),
        (True, 1, True),
    ],
)
def test_shards(head, block_size, check_vma):
    inputs, labels, weights = drawn((2, 8))
    adjuster = GradientAdjuster((4, 3), 0.09, 3.0, axis_name="data")
    tx = gal(adjuster, D, optimizer=optax.trace(0.0))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    def step(inputs, labels, weights):
        return made(
            inputs,
            labels,
            head,
            tx=tx,
            block_size=block_size,
            example_weights=weights,
        )

    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(P(None, "data"),) * 3,
        out_specs=P(),
        check_vma=check_vma,
    )
    got = jax.jit(mapped)(inputs, labels, weights)
    assert_close(got, wanted(inputs, labels, example_weights=weights))


@pytest.mark.parametrize("absent", [None, optax.MaskedNode()])
def test_the_gradients_are_like_the_params(absent):
    inputs, labels, _ = drawn(SHAPES["even"])
    params = PARAMS | {
        "count": jnp.arange(3),
        "frozen": {"scale": jnp.ones(())},
    }

    def features_of(params):
        logits = layer(tied(params), hidden_of(params, inputs))
        return logits * params["frozen"]["scale"]

    features, pullback = jax.vjp(features_of, params)

    def update(params):
        return TX.update(
            None,
            STATE,
            params,
            features=features,
            loss_fn=overshot,
            pullback=pullback,
            targets=labels,
        )[0]

    want, _ = wanted(inputs, labels)
    # Of a branch that is taken out of the params nothing comes back.
    got, whole = update({**params, "frozen": absent}), update(params)
    assert got["frozen"] == absent
    for updates in (got, whole):
        assert_close({name: updates[name] for name in PARAMS}, want)
        # As it is, optax.apply_updates takes it.
        np.testing.assert_array_equal(updates["count"], [0, 0, 0])
    chex.assert_trees_all_equal_shapes(whole, params)
    # Not knowing the params, it returns what the pullback does.
    alone = update(None)
    assert_close({name: alone[name] for name in PARAMS}, want)
    assert alone["count"].dtype == jax.dtypes.float0
    assert alone["frozen"]["scale"] != 0


@pytest.mark.parametrize(
    ("wrap", "nothing"),
    [
        (lambda tx: tx, {}),
        (lambda tx: tx, ()),
        (optax.with_extra_args_support, None),
    ],
)
def test_in_a_chain(wrap, nothing):
    inputs, labels, _ = drawn(SHAPES["even"])
    inject = optax.inject_hyperparams(
        lambda rate: optax.chain(
            wrap(gal(ADJUSTER, D, optimizer=optax.sgd(0.1))),
            optax.clip(0.01),
            optax.adamw(rate, weight_decay=0.1),
        )
    )
    tx = inject(rate=0.1)

    def features_of(params):
        return layer(tied(params), hidden_of(params, inputs))

    features, pullback = jax.vjp(features_of, PARAMS)
    given = {"features": features, "pullback": pullback, "loss_fn": overshot}
    (plain,) = pullback(
        jax.grad(lambda z: overshot(z, labels).mean())(features)
    )
    state = tx.init(PARAMS)
    got, want = (
        tx.update(grads, state, PARAMS, targets=labels, **given)
        for grads in (nothing, plain)
    )
    assert_close(got, want)


def without_gradients(tx):
    """What an optimizer with GAL makes of None for gradients."""
    inputs, labels, _ = drawn(SHAPES["even"])
    features, pullback = jax.vjp(
        lambda params: layer(tied(params), hidden_of(params, inputs)), PARAMS
    )
    return tx.update(
        None,
        tx.init(PARAMS),
        PARAMS,
        value=jnp.float32(1),
        features=features,
        loss_fn=overshot,
        targets=labels,
        pullback=pullback,
    )[0]


MASK = {"hidden": True, "head": False}
READERS = {
    "adam": optax.chain(optax.adam(1e-3), TX),
    "masked": optax.masked(TX, MASK),
    "MultiSteps": optax.MultiSteps(TX, 2).gradient_transformation(),
    "apply_if_finite": optax.apply_if_finite(TX, 3),
    "with_lga": with_lga(TX, 1e-8, status_every=1),
}
SILENT = {
    "clip": optax.clip(1e-9),
    "clip_by_global_norm": optax.clip_by_global_norm(1e-9),
    "decay": optax.add_decayed_weights(1e3),
    "momentum": optax.trace(0.9),
    "agr": agr(),
}


@pytest.mark.parametrize("name", READERS)
def test_what_reads_gradients_around_it_fails(name):
    with pytest.raises((ValueError, TypeError, AttributeError)):
        without_gradients(READERS[name])


@pytest.fixture(scope="module")
def alone():
    return without_gradients(TX)


@pytest.mark.parametrize("name", SILENT)
def test_what_stands_before_it_does_nothing(name, alone):
    got = without_gradients(optax.chain(SILENT[name], TX))
    chex.assert_trees_all_equal(got, alone)


PULLBACK = {"pullback": lambda cotangent: (cotangent,)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": (layer, {})}, "head is for the direct route without grad"),
        ({"block_size": 2}, "block_size is for the direct route without"),
    ],
)
def test_blocks_are_for_no_gradients(arguments, message):
    features = jnp.ones((6, D))
    with pytest.raises(TypeError, match=f"{message}.* pass None in their"):
        TX.update(
            features,
            STATE,
            features=features,
            loss_fn=overshot,
            targets=jnp.zeros(6, int),
            **PULLBACK,
            **arguments,
        )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"block_size": 2}, ValueError, "block_size needs targets"),
        ({"head": layer}, ValueError, "head must be a pair"),
        ({"features": jnp.ones((6, D), int)}, ValueError, "must be real float"),
        ({"features": None}, TypeError, "or features=..., loss_fn=... and"),
        ({"pullback": None}, TypeError, "or features=..., loss_fn=... and"),
        ({"pullback": lambda dz: dz}, ValueError, "in a tuple"),
        (
            {"pullback": lambda dz: (dz[:1],)},
            ValueError,
            r"like the params, but for params of shape \(6, 5\)",
        ),
        ({"adjuster_grads": THETA}, TypeError, "adjuster_grads, of adjuster"),
    ],
)
def test_bad_arguments(arguments, error, message):
    features = jnp.ones((6, D))
    given = {"features": features, "loss_fn": lambda z: z.sum(-1), **PULLBACK}
    with pytest.raises(error, match=message):
        TX.update(None, STATE, features, **{**given, **arguments})


def test_a_pullback_that_lacks_the_layer_is_told():
    hidden, pullback = jax.vjp(lambda w: w * 2, jnp.ones((4, 3)))
    tx = gal(GradientAdjuster((4,)), 5)
    with pytest.raises(
        ValueError, match=r"with head, pullback must be .* pair"
    ):
        tx.update(
            None,
            tx.init(None),
            features=hidden,
            loss_fn=lambda z, targets: jnp.sum(z**2, axis=-1),
            targets=(),
            head=(lambda kernel, h: h @ kernel, jnp.ones((3, 5))),
            pullback=pullback,
        )


@pytest.mark.parametrize("none", [{"w": None}, [None, None]])
def test_a_tree_of_none_is_no_wish_for_gradients(none):
    # It would teach theta, and move nothing.
    features, pullback = jax.vjp(lambda w: w * 2, jnp.ones((4, 3)))
    tx = gal(GradientAdjuster((4,)), 3)
    with pytest.raises(ValueError, match="pass None in place of the tree"):
        tx.update(
            none,
            tx.init(None),
            features=features,
            loss_fn=lambda z: jnp.sum(z**2, axis=-1),
            pullback=pullback,
        )
