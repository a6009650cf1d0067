"""GAL's routes: what each computes and costs, and that they agree.

There are two, and the direct one adds to gradients or makes them.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optaxmods import GradientAdjuster, adjuster_params, gal
from tests import oracles
from tests.helpers.gal_theta import layers_of
from tests.helpers.losses import cross_entropy

# Of the inputs, the hidden layer, the features; theta's layers have others.
K, H, D = 7, 11, 5
SHAPE = (3, 4)
GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.standard_normal((*SHAPE, K))
LABELS = GENERATOR.integers(0, D, SHAPE)
MODEL = {
    "hidden": GENERATOR.standard_normal((K, H)) / K**0.5,
    "output": GENERATOR.standard_normal((H, D)) / H**0.5,
}
WEIGHTS = np.array([[1, 0, 2, 1], [0.5, 1, 0, 3], [0, 0, 0.25, 1]])
# Of some examples the loss is to be raised; the second sum to less than 0.
SIGNED = WEIGHTS * np.array([1, 1, -1, 1])
WEIGHTINGS = {
    "positive": WEIGHTS,
    "signed": SIGNED,
    "mostly negative": -SIGNED,
}


def model(dtype="float32"):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), MODEL)


def features_of(params):
    """Of the dtype of the parameters."""
    inputs = jnp.asarray(INPUTS, params["hidden"].dtype)
    return jnp.tanh(inputs @ params["hidden"]) @ params["output"]


loss_fn = cross_entropy(LABELS)


def mean_loss(z, weights=None):
    losses = loss_fn(z.astype(jnp.float32))
    return jnp.average(losses, weights=weights)


def by_the_loss(tx, adjuster, params, state, **arguments):
    """The updates of both, and the state."""

    def objective(params, theta):
        features = features_of(params)
        loss, _ = adjuster.loss(theta, features, loss_fn, **arguments)
        return loss

    grads, taught = jax.grad(objective, argnums=(0, 1))(
        params, adjuster_params(state)
    )
    return tx.update(grads, state, params, adjuster_grads=taught)


def adding(tx, adjuster, params, state, **arguments):
    """The direct route, given plain gradients."""
    features, pullback = jax.vjp(features_of, params)
    weights = arguments.get("example_weights")
    (grads,) = pullback(jax.grad(mean_loss)(features, weights))
    return tx.update(
        grads,
        state,
        params,
        features=features,
        loss_fn=loss_fn,
        pullback=pullback,
        **arguments,
    )


def making(tx, adjuster, params, state, **arguments):
    """The direct route without gradients."""
    features, pullback = jax.vjp(features_of, params)
    return tx.update(
        None,
        state,
        params,
        features=features,
        loss_fn=loss_fn,
        pullback=pullback,
        **arguments,
    )


ROUTES = by_the_loss, adding, making


def plainly(tx, adjuster, params, state):
    return jax.grad(lambda params: mean_loss(features_of(params)))(params)


def products(jaxpr):
    """The matrix products in a program that touch an array of the model."""
    count = 0
    for equation in jaxpr.eqns:
        shapes = [variable.aval.shape for variable in equation.invars]
        of_the_model = any({K, H} & set(shape) for shape in shapes)
        if equation.primitive.name == "dot_general" and of_the_model:
            count += 1
        inner = jax.tree.leaves(list(equation.params.values()))
        count += sum(products(leaf) for leaf in inner if hasattr(leaf, "eqns"))
    return count


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        # Two products forward; backward two for the kernels, one between.
        (plainly, 5),
        (by_the_loss, 5),
        (adding, 5 + 3),
        (making, 5),
    ],
)
def test_backward_passes_through_the_model(route, wanted):
    adjuster = GradientAdjuster((4, 3))
    tx = gal(adjuster, D)
    program = jax.make_jaxpr(lambda *trees: route(tx, adjuster, *trees))
    assert products(program(model(), tx.init(None)).jaxpr) == wanted


def dots(function, *arguments):
    """The matrix products of the compiled program."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    return len(re.findall(r" dot\(", text))


def test_a_step_has_the_plain_one_s_products_and_gal_s_own():
    adjuster = GradientAdjuster((4, 3))
    tx = gal(adjuster, D)
    params, state = model(), tx.init(None)
    plain, by_loss, made, added = (
        dots(
            lambda *trees, route=route: route(tx, adjuster, *trees),
            params,
            state,
        )
        for route in (plainly, by_the_loss, making, adding)
    )

    def on_features(z, theta):
        return adjuster.loss(theta, z, loss_fn)[0]

    own = dots(
        jax.grad(on_features, argnums=(0, 1)),
        features_of(params),
        state.gal_theta,
    )
    assert min(plain, own) > 0
    assert by_loss == made == plain + own
    assert added == made + 3  # The second backward pass.


def counted(function):
    def counting(*arguments):
        counting.calls += 1
        return function(*arguments)

    counting.calls = 0
    return counting


@pytest.mark.parametrize(
    ("route", "remainder", "losses"),
    [
        # At z with its gradient, at z - delta, and the value itself.
        ("loss", "auto", 3),
        ("loss", "finite", 3),
        ("loss", "quadratic", 3),
        ("adding", "auto", 2),
        ("making", "auto", 3),
        # At z, and once for either direction.
        ("compare", "auto", 3),
    ],
)
def test_calls_of_the_loss_and_of_the_network(route, remainder, losses):
    # One trace: the look along dl/dz of Fig. 8b is compare's alone.
    loss = counted(loss_fn)
    network = counted(lambda theta, z: z * theta[None, None])
    adjuster = GradientAdjuster(
        network=(lambda key, z: jnp.ones(D), network), remainder=remainder
    )
    tx = gal(adjuster, D)
    theta, features = jnp.ones(D), features_of(model())

    def step(theta):
        if route == "loss":
            return jax.grad(lambda t: adjuster.loss(t, features, loss)[0])(
                theta
            )
        if route == "compare":
            return adjuster.compare(theta, features, loss)
        return tx.update(
            features if route == "adding" else None,
            tx.init(None),
            features=features,
            loss_fn=loss,
            pullback=lambda cotangent: (cotangent,),
        )

    jax.eval_shape(step, theta)
    assert (loss.calls, network.calls) == (losses, 1)


def noise(theta, z, key):
    """In place of h (Table VI)."""
    return jax.random.normal(key, z.shape) * theta["scale"][None, None]


NOISE = (lambda key, z: {"scale": jnp.arange(1.0, D + 1)}, noise)
STEPS, RATE, TENTATIVE = 4, 0.5, 2.0


def all_routes(adjuster, dtype, weights=WEIGHTS, **arguments):
    """Yields each route's params, state and updates, before every step."""
    # The trace holds theta's gradient for us to see.
    optimizer = optax.chain(optax.trace(0.0), optax.adam(1e-2))
    tx = gal(adjuster, D, optimizer=optimizer)
    weights = jnp.asarray(weights, jnp.float32)

    @jax.jit
    def step(states, count):
        given = {
            "example_weights": weights,
            "tentative_step": TENTATIVE / (1 + count),
            **{
                name: jax.random.fold_in(key, count)
                for name, key in arguments.items()
            },
        }
        return [
            route(tx, adjuster, *mine, **given)
            for route, mine in zip(ROUTES, states, strict=True)
        ]

    at = [(model(dtype), tx.init(None))] * len(ROUTES)
    for count in range(STEPS):
        after = step(at, jnp.float32(count))
        yield [
            (params, state, updates, new)
            for (params, state), (updates, new) in zip(at, after, strict=True)
        ]
        at = [
            (jax.tree.map(lambda p, u: p - RATE * u, params, updates), new)
            for (params, _), (updates, new) in zip(at, after, strict=True)
        ]


def relative_distance(got, want):
    got, want = (
        np.concatenate([np.float64(x).ravel() for x in jax.tree.leaves(tree)])
        for tree in (got, want)
    )
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def pulled_back(params, to_z):
    """The gradient in the model's kernels, in float64."""
    hidden, output = np.float64(params["hidden"]), np.float64(params["output"])
    x = np.float64(jnp.asarray(INPUTS, params["hidden"].dtype)).reshape(-1, K)
    to_z = to_z.reshape(-1, D)
    a = np.tanh(x @ hidden)
    to_hidden = (to_z @ output.T) * (1 - a**2)
    return {"hidden": x.T @ to_hidden, "output": a.T @ to_z}


@pytest.mark.parametrize(
    ("convention", "dtype", "weighting"),
    [
        ("paper", "float32", "positive"),
        ("paper", "float32", "mostly negative"),
        ("released", "bfloat16", "positive"),
        ("released", "float32", "signed"),
        ("released", "float32", "mostly negative"),
    ],
)
def test_all_routes_follow_the_oracle(convention, dtype, weighting):
    adjuster = GradientAdjuster((4,), 0.09, convention=convention)
    weights = WEIGHTINGS[weighting]
    for count, routes in enumerate(all_routes(adjuster, dtype, weights)):
        for params, state, updates, new in routes:
            want = oracles.gal.gal(
                layers_of(state.gal_theta),
                np.float64(features_of(params)),
                oracles.gal.cross_entropy(LABELS),
                TENTATIVE / (1 + count),
                0.09,
                convention=convention,
                weights=weights,
            )
            to_params = pulled_back(params, want["z"])
            assert updates["hidden"].dtype == dtype
            # The features and their cotangent are rounded to dtype.
            rounding = 2 * float(jnp.finfo(dtype).eps)
            assert relative_distance(updates, to_params) < rounding
            taught = layers_of(new.gal_opt_state[0].trace)
            # Theta's are float32 whatever the model's are.
            assert relative_distance(taught, want["theta"]) < 2e-6
            assert relative_distance(new.gal_theta, state.gal_theta) > 0.01


@pytest.mark.parametrize(
    "absent", [None, optax.MaskedNode(), "zeros", "gradients of integers"]
)
def test_a_pullback_of_more_than_the_updates(absent):
    # Of the whole model, integers included, where the updates lack a branch.
    params = model()
    params["frozen"] = {"scale": jnp.ones(()), "table": jnp.arange(3)}

    def features(params):
        table = params["frozen"]["table"].sum()
        return features_of(params) * params["frozen"]["scale"] + 0 * table

    z, pullback = jax.vjp(features, params)
    (grads,) = pullback(jax.grad(mean_loss)(z))
    tx = gal(GradientAdjuster((4,), 0.09), D)
    given = {"features": z, "loss_fn": loss_fn, "pullback": pullback}
    if absent == "gradients of integers":
        left = grads["frozen"]
    elif absent == "zeros":
        left = jax.tree.map(jnp.zeros_like, params["frozen"])
    else:
        left = absent
    updates, _ = tx.update({**grads, "frozen": left}, tx.init(params), **given)
    # The model without that branch, which multiplies by 1.
    z, pullback = jax.vjp(features_of, model())
    some = {name: grads[name] for name in ("hidden", "output")}
    given |= {"features": z, "pullback": pullback}
    whole, _ = tx.update(some, tx.init(params), **given)
    for name in ("hidden", "output"):
        np.testing.assert_array_equal(updates[name], whole[name])
        assert relative_distance(updates[name], grads[name]) > 1e-3
    if absent is None or isinstance(absent, optax.MaskedNode):
        assert updates["frozen"] == absent
    else:
        assert updates["frozen"]["table"] is left["table"]
        assert updates["frozen"]["scale"] != left["scale"]


def test_all_routes_draw_the_same_noise():
    adjuster = GradientAdjuster(magnitude=0.09, network=NOISE)
    share = WEIGHTS[..., None] / WEIGHTS.sum()
    gradient = oracles.gal.cross_entropy(LABELS)[1]
    for ours, *others in all_routes(adjuster, "float32", key=jax.random.key(3)):
        params, _, updates, new = ours
        for _, _, their_updates, their_new in others:
            assert relative_distance(updates, their_updates) < 1e-6
            theta = new.gal_theta, their_new.gal_theta
            assert relative_distance(*theta) < 1e-6
        z = np.float64(features_of(params))
        plain = pulled_back(params, share * gradient(z))
        assert relative_distance(updates, plain) > 0.01
