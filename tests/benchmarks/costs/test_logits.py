"""Ways to the gradient of token logits: one gradient, and its table."""

import functools

import jax
import jax.numpy as jnp
import pytest

from benchmarks.costs import logits
from optaxmods import adjuster_params
from tests.helpers.gal_problem import assert_close

FEW = "made up"
TIMES = {logits.PLAIN: [1.0, 3.0], logits.AGAIN: [2.0, 2.0], FEW: [4.0, 6.0]}
RESULT = logits.Result(
    reserved={
        "float32": {logits.PLAIN: 2.0, FEW: 9.046},
        "bfloat16": {logits.PLAIN: 4.0, FEW: 7.0},
    },
    milliseconds={"float32": TIMES, "bfloat16": {**TIMES, FEW: [1.0, 1.0]}},
    given={**TIMES, logits.TARGETS: [3.0, 3.0]},
    touched={FEW: 67.6},
)


def test_a_row_has_both_dtypes():
    page = "\n".join(logits.to_markdown(RESULT))
    assert "medians of 2 interleaved rounds, of 3 programs" in page
    assert "logits 4x512x32768, beside" in page
    assert "is for 2x128x32768, the ratio" in page
    # The median of 1, 2, 2, 3 is 2.
    assert f"| {FEW} | 9.05 |  | 2.50 | 7.00 |  | 0.50 |" in page
    assert "| without GAL | 2.00 |  | 1.00 | 4.00 |  | 1.00 |" in page
    assert f"| {logits.AGAIN} |  |  | 1.00 |  |  | 1.00 |" in page
    assert f"| {logits.TARGETS} | 3.00 | 1.50 (1.50 to 1.50) | 2.5 |  |" in page
    assert "|  | **67.60** |" in page


@pytest.fixture
def small(monkeypatch):
    """Logits of 8 tokens, of which a user's own blocks have 4."""
    monkeypatch.setattr(logits, "TIMED", (2, 4, 6))
    monkeypatch.setattr(logits, "RESERVED", (2, 4, 6))
    monkeypatch.setattr(logits, "WIDTH", 3)
    monkeypatch.setattr(logits, "BLOCK", 4)
    monkeypatch.setattr(logits, "PROGRAMS", 1)
    monkeypatch.setattr(logits, "DTYPES", ("float32",))


@functools.cache
def gradients():
    """Of every way: in theta, the kernel and the hidden states."""
    arguments = logits.filled(logits.arguments_of((2, 4, 6), "float32"))
    theta = adjuster_params(arguments[2])
    found = {}
    for name, gradient in logits.make_gradients().items():
        result = jax.jit(gradient)(*arguments)
        if name in (logits.DIRECT, logits.ONCE):
            layer, state = result
            taught = jax.tree.map(jnp.subtract, theta, adjuster_params(state))
            result = taught, *layer
        found[name] = result
    return found


ADJUSTED = [
    name
    for name in logits.make_gradients()
    if name not in (logits.PLAIN, logits.AGAIN, logits.WITHOUT)
]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ADJUSTED)
def test_all_ways_with_gal_make_one_gradient(name):
    assert_close(gradients()[name], gradients()["with GAL"])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", [logits.AGAIN, logits.WITHOUT])
def test_all_ways_without_make_another(name):
    plain = gradients()[logits.PLAIN]
    assert_close(gradients()[name], plain)
    kernel, adjusted = plain[0], gradients()["with GAL"][1]
    assert jnp.linalg.norm(adjusted - kernel) > 1e-3 * jnp.linalg.norm(kernel)


@pytest.mark.usefixtures("small")
def test_a_trial(monkeypatch):
    # The others have been run above.
    few = logits.PLAIN, logits.AGAIN, logits.HEAD, logits.DIRECT
    ways = {name: logits.make_gradients()[name] for name in few}
    monkeypatch.setattr(logits, "make_gradients", lambda: ways)
    result = logits.measured(2)
    names = list(logits.make_gradients())
    for dtype in logits.DTYPES:
        assert list(result.milliseconds[dtype]) == names
        reserved = result.reserved[dtype]
        assert {*reserved, logits.AGAIN} == set(names)
        # The gradient of the logits has to stand somewhere.
        assert 1 <= reserved[logits.PLAIN] < 100
    assert list(result.given) == list(logits.of_given())
    assert set(result.touched) <= set(result.given)
    for times in (*result.milliseconds.values(), result.given):
        assert {len(each) for each in times.values()} == {2}


# Compiled with few optimizations, more than a user's own loop is one.
@pytest.mark.usual_compilation
@pytest.mark.usefixtures("small")
def test_bytes_are_counted_where_there_is_no_loop(monkeypatch):
    loop = "`lax.map` and `jax.checkpoint` around `adjuster.loss`"
    counted = {logits.PLAIN, logits.USUAL, logits.TARGETS}
    ways = {name: logits.of_given()[name] for name in (*counted, loop)}
    monkeypatch.setattr(logits, "of_given", lambda: ways)
    arguments = logits.filled(logits.arguments_of((2, 4, 6), "float32"))
    kernel, hidden, state, labels = arguments
    found = logits.touched((hidden @ kernel, state, labels))
    assert set(found) == counted


needs_release = pytest.mark.skipif(
    jax.__version_info__ < (0, 10, 2),
    reason="what XLA reserves differs between its releases",
)


WRITTEN, FINITE = (
    "the paper's equations as written",
    'with GAL, `remainder="finite"`',
)
TOLD = (
    *(logits.PLAIN, logits.USUAL, FINITE, WRITTEN),
    *(logits.TARGETS, logits.HEAD),
)


@functools.cache
def reserved():
    """Compiled only, for enough logits that all else is small."""
    ways = {name: logits.make_gradients()[name] for name in TOLD}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logits, "make_gradients", lambda: ways)
        return logits.reserved()


@needs_release
def test_gal_reserves_an_array_less_than_its_equations_as_written():
    units = reserved()["float32"]
    assert units[logits.USUAL] < units[WRITTEN] - 0.9
    assert units[FINITE] < units[WRITTEN] + 0.1


@needs_release
@pytest.mark.parametrize("dtype", logits.DTYPES)
def test_blocks_reserve_what_is_promised(dtype):
    units = reserved()[dtype]
    for name, limit in logits.LIMITS[dtype].items():
        assert units[name] <= limit
    assert units[logits.HEAD] < units[logits.PLAIN] / 3
