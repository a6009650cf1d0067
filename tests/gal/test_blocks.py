"""GAL in blocks of examples: the same as GAL of the whole."""

import functools

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from benchmarks.costs.compiled import collectives
from optaxmods import GradientAdjuster
from tests import oracles
from tests.helpers.gal_blocks import (
    ADJUSTER,
    HEAD,
    SHAPES,
    THETA,
    D,
    K,
    by_hidden,
    by_logits,
    cross_entropy,
    drawn,
    expected,
    gradients,
    loops,
    overshot,
)
from tests.helpers.gal_cases import assert_as_in_the_oracle
from tests.helpers.gal_problem import assert_close
from tests.helpers.gal_theta import layers_of
from tests.helpers.wide import enable_x64

EXPLICIT = (AxisType.Explicit, AxisType.Explicit)
ROUTES = {"logits": by_logits, "hidden states": by_hidden}


def in_blocks(route, *inputs, **arguments):
    return gradients(ROUTES[route], *inputs, block_size=4, **arguments)


# Every pair of what the three are.
@pytest.mark.parametrize(
    ("route", "name", "weighted"),
    [
        ("logits", "even", False),
        ("logits", "uneven", True),
        ("hidden states", "even", True),
        ("hidden states", "uneven", False),
    ],
)
def test_as_the_whole(route, name, weighted):
    hidden, labels, weights = drawn(SHAPES[name])
    got = in_blocks(
        route,
        HEAD,
        hidden,
        THETA,
        labels=labels,
        example_weights=weights if weighted else None,
    )
    want = expected(name, weighted)
    assert_close(got, want)
    assert 0 < want[0][1]["acceptance"] < 1


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("accept", "name", "weighted"),
    [
        ("<=", "even", False),
        ("<=", "uneven", True),
        ("always", "even", True),
        ("always", "uneven", False),
    ],
)
def test_as_in_the_oracle(accept, name, weighted):
    shape = SHAPES[name]
    z = 2 * np.random.default_rng(3).standard_normal((*shape, D))
    _, labels, weights = drawn(shape)
    weights = np.float64(weights) if weighted else None
    adjuster = GradientAdjuster((4, 3), 0.09, accept=accept)

    @jax.jit
    def ours(step):
        return jax.value_and_grad(
            lambda z, theta: adjuster.loss(
                theta,
                z,
                cross_entropy,
                targets=labels,
                block_size=4,
                tentative_step=step,
                example_weights=weights,
            ),
            argnums=(0, 1),
            has_aux=True,
        )(jnp.asarray(z), THETA)

    @jax.jit
    def compared(step):
        return adjuster.compare(
            THETA,
            jnp.asarray(z),
            cross_entropy,
            targets=labels,
            block_size=4,
            tentative_step=step,
            example_weights=weights,
        )

    # At the second, "auto" takes some from the curvature and others not.
    for step in (1e-3, 0.03, 3.0):
        given = layers_of(THETA), z, oracles.gal.cross_entropy(labels), step
        want = oracles.gal.gal(*given, 0.09, accept=accept, weights=weights)
        (loss, metrics), slopes = ours(step)
        assert_as_in_the_oracle((loss, *slopes, metrics), want)
        np.testing.assert_allclose(
            compared(step),
            oracles.gal.share_improved(*given, 0.09, weights),
            atol=1e-12,
        )


@pytest.mark.usual_compilation
def test_what_is_not_cut_is_the_whole_to_the_bit():
    hidden, labels, weights = drawn((2, 8))

    def closed(head, hidden, theta):
        return ADJUSTER.loss(
            theta,
            hidden @ head,
            lambda z: overshot(z, labels),
            example_weights=weights,
        )

    want = gradients(closed, HEAD, hidden, THETA)
    for route, block_size in (("logits", None), ("hidden states", 16)):
        got = gradients(
            ROUTES[route],
            HEAD,
            hidden,
            THETA,
            labels=labels,
            example_weights=weights,
            block_size=block_size,
        )
        chex.assert_trees_all_equal(got, want)


@pytest.mark.parametrize(
    ("features", "block_size", "blocks"),
    [
        ((8, 64, 100), None, 0),
        ((4, 512, 1024), None, 0),
        ((4, 512, 1025), None, 2),
        ((4, 512, 32768), None, 32),
        # A block is a 32nd at least.
        ((64, 1024, 32768), None, 32),
        ((4, 512, 100), 512, 4),
        ((4, 511, 100), 512, 4),
    ],
)
def test_the_number_of_blocks(features, block_size, blocks):
    array = jax.ShapeDtypeStruct

    def loss(z, labels):
        adjuster = GradientAdjuster(
            network=(lambda key, z: (), lambda theta, z: z)
        )
        return adjuster.loss(
            (), z, cross_entropy, targets=labels, block_size=block_size
        )

    traced = jax.make_jaxpr(loss)(
        array(features, jnp.float32), array(features[:-1], jnp.int32)
    )
    lengths = [loop.params["length"] for loop in loops(traced.jaxpr)]
    assert lengths == [blocks] * (blocks > 0)


CROSSED = [("logits", "uneven"), ("hidden states", "even")]


@pytest.mark.parametrize(("route", "name"), CROSSED)
def test_under_vmap_scan_and_checkpoint(route, name):
    hidden, labels, _ = drawn(SHAPES[name])
    _, want = expected(name)

    def grad(theta):
        remat = jax.checkpoint(
            lambda *inputs: ROUTES[route](*inputs, labels=labels, block_size=4)[
                0
            ]
        )
        return jax.grad(remat, argnums=(0, 1, 2))(HEAD, hidden, theta)

    thetas = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), THETA)
    together = jax.jit(jax.vmap(grad))(thetas)
    assert_close(jax.tree.map(lambda leaf: leaf[0], together), want)
    _, scanned = jax.lax.scan(lambda _, theta: (0, grad(theta)), 0, thetas)
    assert_close(scanned, together)


@pytest.mark.parametrize("route", ROUTES)
def test_forward_mode_and_loss_scaling(route):
    hidden, labels, _ = drawn(SHAPES["uneven"])
    _, want = expected("uneven")
    inputs = HEAD, hidden, THETA

    def loss(*inputs):
        return ROUTES[route](*inputs, labels=labels, block_size=4)[0]

    tangents = jax.tree.map(jnp.ones_like, inputs)
    _, along = jax.jit(functools.partial(jax.jvp, loss))(inputs, tangents)
    wanted = jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, want, tangents))
    np.testing.assert_allclose(along, wanted, rtol=1e-4)
    scaled = jax.grad(lambda *inputs: 1024 * loss(*inputs), argnums=(0, 1, 2))
    got = jax.jit(scaled)(*inputs)
    assert_close(jax.tree.map(lambda x: x / 1024, got), want)


@pytest.mark.parametrize(("route", "name"), CROSSED)
def test_what_is_differentiated_besides(route, name):
    # What the loss closes over, targets, weights, and all of it once more.
    hidden, labels, weights = drawn(SHAPES[name])
    targets = {"to": jax.nn.one_hot(labels, D), "labels": labels}

    def loss(block_size, head, hidden, temperature, to, weights):
        def loss_fn(z, targets):
            cross = optax.softmax_cross_entropy(z / temperature, targets["to"])
            return cross + 0.1 * cross_entropy(z, targets["labels"])

        return ROUTES[route](
            head,
            hidden,
            THETA,
            {**targets, "to": to},
            loss_fn=loss_fn,
            block_size=block_size,
            example_weights=weights,
        )[0]

    inputs = HEAD, hidden, jnp.float32(1.5), targets["to"], weights
    every = tuple(range(5))

    def first(block_size, *inputs):
        return jax.grad(functools.partial(loss, block_size), every)(*inputs)

    def second(block_size, *inputs):
        """Of the gradients' sum of squares, in all inputs."""

        def squares(*inputs):
            slopes = first(block_size, *inputs)
            return sum(jnp.sum(slope**2) for slope in slopes)

        return jax.grad(squares, every)(*inputs)

    for derivative in (first, second):
        got, want = (
            jax.jit(functools.partial(derivative, size))(*inputs)
            for size in (4, None)
        )
        chex.assert_trees_all_close(got, want, rtol=1e-3, atol=1e-5)
        assert all(np.abs(slope).max() > 1e-3 for slope in want)


@pytest.mark.parametrize("inner", [jax.jit, jax.checkpoint])
def test_traced_inside_and_differentiated_outside(inner):
    hidden, labels, _ = drawn(SHAPES["even"])
    keys = jax.random.split(jax.random.key(3), labels.shape)
    mask = hidden @ HEAD > -2

    def mean(block_size, head, mask, scale):
        def loss_fn(z, targets):
            labels, keys, mask = targets
            flat = keys.reshape(-1)
            noise = jax.vmap(lambda key: jax.random.normal(key, (D,)))(flat)
            z = scale * jnp.where(mask, z, 0) + noise.reshape(z.shape)
            return cross_entropy(z, labels)

        return by_logits(
            head,
            hidden,
            THETA,
            (labels, keys, mask),
            loss_fn=loss_fn,
            block_size=block_size,
        )[0]

    got, want = (
        jax.jit(jax.grad(inner(functools.partial(mean, size)), argnums=(0, 2)))(
            HEAD, mask, jnp.float32(1.5)
        )
        for size in (4, None)
    )
    assert_close(got, want)


@pytest.mark.parametrize("name", SHAPES)
def test_masks_and_padding(name):
    shape = SHAPES[name]
    _, labels, _ = drawn(shape)
    z = 2 * np.random.default_rng(3).standard_normal((*shape, D))
    first = (0,) * len(shape)
    for row in range(shape[-1]):
        at = (*first[1:], row)
        z[(*at, (int(labels[at]) + 1) % D)] = -np.inf
    z[first] = np.nan
    z = jnp.asarray(z, jnp.float32)
    weights = jnp.ones(shape).at[first].set(0)
    labels = labels.at[first].set(-100)

    def ours(block_size):
        grad = jax.value_and_grad(
            lambda z, theta: ADJUSTER.loss(
                theta,
                z,
                cross_entropy,
                targets=labels,
                block_size=block_size,
                example_weights=weights,
            ),
            argnums=(0, 1),
            has_aux=True,
        )
        return jax.jit(grad)(z, THETA)

    got = ours(4)
    chex.assert_tree_all_finite(got)
    assert_close(got, ours(None))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("route", ROUTES)
def test_narrow_numbers(route, dtype):
    hidden, labels, _ = drawn(SHAPES["uneven"])
    narrow = HEAD.astype(dtype), hidden.astype(dtype), THETA
    got, want = (
        gradients(loss, *narrow, labels=labels, **arguments)
        for loss, arguments in (
            (ROUTES[route], {"block_size": 4}),
            (by_logits, {}),
        )
    )
    chex.assert_trees_all_equal_dtypes(got, want)
    eps = float(jnp.finfo(dtype).eps)
    chex.assert_trees_all_close(got, want, rtol=4 * eps, atol=2 * eps)


@pytest.mark.parametrize("route", ROUTES)
def test_float16_has_room_for_the_share_of_a_large_mean(route):
    # A slope of 1e-5 in a mean of 256 examples, less than float16 has, which
    # the scale lifts again.
    scale = 2.0**19
    hidden, labels, _ = drawn((256,))
    inputs = HEAD.astype("float16"), hidden.astype("float16"), THETA

    def loss(*inputs):
        faint = lambda z, labels: 1e-5 * cross_entropy(z, labels)  # noqa: E731
        value, _ = ROUTES[route](
            *inputs, labels=labels, loss_fn=faint, block_size=64
        )
        return scale * value

    got = jax.grad(loss, argnums=(0, 1))(*inputs)
    plain = jax.grad(
        lambda head, hidden: (
            scale * 1e-5 * cross_entropy(hidden @ head, labels).mean()
        ),
        argnums=(0, 1),
    )(HEAD, hidden)
    # But for what is adjusted.
    for ours, theirs in zip(got, plain, strict=True):
        error = np.linalg.norm(np.float32(ours) - theirs)
        assert error < 0.15 * np.linalg.norm(theirs)


def float16_layer(head, hidden):
    return jnp.matmul(hidden, head, preferred_element_type=jnp.float32)


def test_float16_has_room_beside_logits_of_float32():
    hidden, labels, _ = drawn((256,))
    inputs = HEAD.astype("float16"), hidden.astype("float16")

    def loss(block_size, *inputs):
        head, hidden = inputs
        return (
            2.0**19
            * GradientAdjuster((4, 3), 0.0).loss(
                THETA,
                hidden,
                lambda z, labels: 1e-5 * cross_entropy(z, labels),
                targets=labels,
                head=(float16_layer, head),
                block_size=block_size,
            )[0]
        )

    got, want = (
        jax.grad(functools.partial(loss, block_size), argnums=(0, 1))(*inputs)
        for block_size in (64, None)
    )
    for ours, theirs in zip(got, want, strict=True):
        ours, theirs = np.float32(ours), np.float32(theirs)
        error = np.linalg.norm(ours - theirs)
        assert error < 1e-2 * np.linalg.norm(theirs)


@pytest.mark.parametrize("block_size", [None, 2**17])
def test_a_sum_over_many_examples_is_finite_in_float16(block_size):
    # All slopes are along one another, and their sum is above 65504.
    examples = 2**19
    hidden = jnp.ones((examples, 2), jnp.float16)
    adjuster = GradientAdjuster((4, 3), 0.0)
    theta = adjuster.init(jax.random.key(0), 8)

    def loss(head):
        return adjuster.loss(
            theta,
            hidden,
            cross_entropy,
            targets=jnp.zeros(examples, int),
            head=(lambda head, hidden: hidden @ head, head),
            block_size=block_size,
        )[0]

    got = jax.grad(loss)(jnp.zeros((2, 8), jnp.float16))
    want = [[-7 / 8, *[1 / 8] * 7]] * 2
    np.testing.assert_allclose(got, want, rtol=2e-3)


def test_each_block_has_noise_of_its_own():
    network = (
        lambda key, z: jnp.ones([]),
        lambda theta, z, key: theta * jax.random.normal(key, z.shape),
    )
    adjuster = GradientAdjuster(network=network, accept="always")
    z = jnp.tile(jnp.array([[1.0, 2.0, 0.0]]), (8, 1))
    labels = jnp.zeros(8, int)
    to_z = jax.grad(
        lambda z: adjuster.loss(
            jnp.ones([]),
            z,
            cross_entropy,
            targets=labels,
            block_size=2,
            key=jax.random.key(0),
        )[0]
    )(z)
    assert len(np.unique(to_z[:, 0])) == 8


SIGNED = jnp.array([0.0, 0, -1, 2, 0.5, 0, 3, -1] * 2)


@pytest.mark.parametrize(
    ("route", "weighted", "check_vma"),
    [
        ("logits", False, True),
        ("logits", True, False),
        ("hidden states", True, True),
        ("hidden states", False, False),
    ],
)
def test_shard_map(route, weighted, check_vma):
    hidden, labels, _ = drawn((16,))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    alone = GradientAdjuster((4, 3), 0.09, 3.0)
    adjuster = GradientAdjuster((4, 3), 0.09, 3.0, axis_name="data")

    def step(hidden, labels, weights):
        (loss, metrics), (to_head, to_hidden, to_theta) = gradients(
            ROUTES[route],
            HEAD,
            hidden,
            THETA,
            labels=labels,
            adjuster=adjuster,
            block_size=2,
            example_weights=weights if weighted else None,
        )
        if not check_vma:  # As for any loss: nothing was summed by itself.
            to_head, to_theta = jax.lax.pmean((to_head, to_theta), "data")
            to_hidden = to_hidden / 4
        better = adjuster.compare(
            THETA,
            hidden @ HEAD,
            overshot,
            targets=labels,
            block_size=2,
            example_weights=weights if weighted else None,
        )
        return (loss, metrics, better), to_head, to_theta, to_hidden

    split = P("data")
    mapped = jax.jit(
        jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(split,) * 3,
            out_specs=(P(), P(), P(), split),
            check_vma=check_vma,
        )
    )
    (loss, metrics, better), *slopes = mapped(hidden, labels, SIGNED)
    weights = SIGNED if weighted else None
    (value, want), (to_head, to_hidden, to_theta) = gradients(
        by_logits, HEAD, hidden, THETA, labels=labels, example_weights=weights
    )
    assert_close((loss, metrics), (value, want))
    assert_close(slopes, [to_head, to_theta, to_hidden])
    share = alone.compare(
        THETA,
        hidden @ HEAD,
        overshot,
        targets=labels,
        example_weights=weights,
    )
    np.testing.assert_allclose(better, share, rtol=1e-6)
    # No block waits for the other shards.
    program = mapped.trace(hidden, labels, SIGNED).jaxpr
    assert loops(program.jaxpr)
    for loop in loops(program.jaxpr):
        assert "psum" not in str(loop)


BATCH, TIME, VOCABULARY = 8, 32, 64


@pytest.mark.usual_compilation
@pytest.mark.parametrize(
    ("route", "split", "axis_type"),
    [
        ("logits", ("data", None), AxisType.Auto),
        ("logits", (None, "data"), AxisType.Explicit),
        ("hidden states", (None, "data"), AxisType.Auto),
        ("hidden states", ("data", None), AxisType.Explicit),
    ],
)
def test_on_a_mesh_no_logits_travel(route, split, axis_type):
    # Examples over one axis, in their first axis or the other, the vocabulary
    # over the other one.
    generator = np.random.default_rng(0)
    adjuster = GradientAdjuster((4,), 0.09, 3.0)
    theta = adjuster.init(jax.random.key(0), VOCABULARY)
    head = jnp.asarray(generator.standard_normal((K, VOCABULARY)), "float32")
    hidden, _, _ = drawn((BATCH, TIME))
    labels = jnp.asarray(generator.integers(VOCABULARY, size=(BATCH, TIME)))
    to = jax.nn.one_hot(labels, VOCABULARY)

    def step(head, hidden, theta, to, block_size):
        return gradients(
            ROUTES[route],
            head,
            hidden,
            theta,
            labels=to,
            adjuster=adjuster,
            loss_fn=lambda z, to: -jnp.sum(to * jax.nn.log_softmax(z), -1),
            block_size=block_size,
        )

    want = jax.jit(functools.partial(step, block_size=None))(
        head, hidden, theta, to
    )
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    specs = (
        P(None, "model"),
        P(*split, None),
        jax.tree.map(lambda leaf: P(*[None] * leaf.ndim), theta),
        P(*split, "model"),
    )
    with jax.set_mesh(mesh):
        arguments = jax.tree.map(
            lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec)),
            (head, hidden, theta, to),
            specs,
        )
        jitted = jax.jit(functools.partial(step, block_size=64))
        assert loops(jitted.trace(*arguments).jaxpr.jaxpr)
        compiled = jitted.lower(*arguments).compile()
        got = compiled(*arguments)
        # Without being told how many, it stays whole.
        whole = jax.jit(functools.partial(step, block_size=None))
        assert not loops(whole.trace(*arguments).jaxpr.jaxpr)
    assert_close(got, want)
    # Theta's first layer, and the states for one device's examples.
    largest = max(4 * VOCABULARY, BATCH * TIME * 4 // 4)
    for moved in collectives(compiled.as_text()):
        assert max(moved.sizes) <= largest, moved
    assert largest < BATCH * TIME * VOCABULARY // 8


def lengths_on_a_mesh(axis_type, split, block_size):
    """How many blocks there are of examples that a mesh splits."""
    hidden, labels, _ = drawn((BATCH, TIME))
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        hidden, labels = (
            jax.device_put(leaf, NamedSharding(mesh, P(*split, *rest)))
            for leaf, rest in ((hidden, (None,)), (labels, ()))
        )
        head = jax.device_put(HEAD, NamedSharding(mesh, P()))
        program = jax.jit(
            lambda *inputs: by_hidden(
                *inputs,
                THETA,
                labels,
                loss_fn=lambda z, labels: jnp.sum(z**2, axis=-1),
                block_size=block_size,
            )
        ).trace(head, hidden)
    return {loop.params["length"] for loop in loops(program.jaxpr.jaxpr)}


@pytest.mark.parametrize(
    ("axis_type", "split", "block_size", "count"),
    [
        # Any axis may lie on all eight devices.
        (AxisType.Auto, (None, "data"), 64, 4),
        # Of these one is on no device, or on four.
        (AxisType.Explicit, ("data", None), 16, 16),
        (AxisType.Explicit, (None, "data"), 32, 8),
    ],
)
def test_a_block_has_an_example_for_each_device(
    axis_type, split, block_size, count
):
    assert lengths_on_a_mesh(axis_type, split, block_size) == {count}


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_blocks_that_no_axis_gives_are_refused(axis_type):
    asked = "block_size=16 asks for 16 blocks.* on 8 devices.* pad the examples"
    with pytest.raises(ValueError, match=asked):
        lengths_on_a_mesh(axis_type, (None, "data"), 16)


@pytest.mark.parametrize("route", ROUTES)
def test_explicit_axes_need_no_mesh_that_is_set(route):
    # The arrays' types have it.
    hidden, labels, _ = drawn((BATCH, TIME))
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=EXPLICIT)

    def put(leaf, *spec):
        return jax.device_put(leaf, NamedSharding(mesh, P(*spec)))

    hidden = put(hidden, "data", None, None)
    theta = jax.tree.map(put, THETA)
    got, want = (
        gradients(
            ROUTES[route],
            put(HEAD),
            hidden,
            theta,
            labels=put(labels, "data", None),
            loss_fn=lambda z, labels: jnp.sum(z**4 + z, axis=-1),
            block_size=block_size,
        )
        for block_size in (16, None)
    )
    assert_close(got, want)


@pytest.mark.parametrize(
    ("route", "name"), [("logits", "even"), ("hidden states", "uneven")]
)
def test_a_mesh_of_one_device(route, name):
    hidden, labels, _ = drawn(SHAPES[name])
    _, want = expected(name)
    mesh = jax.make_mesh(
        (1, 1), ("data", "model"), axis_types=(AxisType.Explicit,) * 2
    )
    spec = [None, "data"][-labels.ndim :]
    with jax.set_mesh(mesh):
        hidden, labels = (
            jax.device_put(leaf, NamedSharding(mesh, P(*spec, *rest)))
            for leaf, rest in ((hidden, (None,)), (labels, ()))
        )
        inputs = jax.device_put((HEAD, THETA), NamedSharding(mesh, P()))
        _, got = gradients(
            ROUTES[route],
            inputs[0],
            hidden,
            inputs[1],
            labels=labels,
            block_size=4,
        )
    assert_close(got, want)


def test_losses_wider_than_the_features():
    hidden, labels, _ = drawn(SHAPES["uneven"])
    with enable_x64(True):
        to = jax.nn.one_hot(labels, D, dtype=jnp.float64)

        def loss(head, block_size):
            return by_logits(
                head,
                hidden,
                THETA,
                to,
                loss_fn=lambda z, to: optax.softmax_cross_entropy(
                    z.astype(jnp.float64), to
                ),
                block_size=block_size,
            )

        got, want = (
            jax.jit(
                functools.partial(
                    jax.value_and_grad(loss, has_aux=True), block_size=size
                )
            )(HEAD)
            for size in (4, None)
        )
    chex.assert_trees_all_equal_dtypes(got, want)
    assert_close(got, want)
