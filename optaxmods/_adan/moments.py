"""The moments of Adan: Algorithm 1 of its paper, as a rule that may be damped.

AGR's Algorithm 1 is this one with other gradients in the first two moments.
"""

import functools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
import optax.tree

from optaxmods._adan.restart import Restart, check_restart, is_due
from optaxmods._shared.arguments import (
    check_floating,
    check_moments,
    check_state,
)
from optaxmods._shared.dtypes import cast, checked_dtype, widened
from optaxmods._shared.mesh import varying_axes
from optaxmods._shared.moments import (
    decay_rate,
    denominator,
    positive_eps,
    stored,
    zero_moments,
)
from optaxmods._shared.trees import beside


class ScaleByAdanState(NamedTuple):
    """State of :func:`optaxmods.scale_by_adan` and its like with AGR."""

    count: jax.typing.ArrayLike  # shape=(), dtype=jnp.int32; updates so far.
    # shape=(), dtype=jnp.int32; updates that the bias corrections count.
    since_restart: jax.typing.ArrayLike
    # Shaped like the parameters; n in float32 or wider, unless nu_dtype is
    # given, the others in their dtype, unless mu_dtype is.
    m: optax.Updates  # moment of the gradients.
    v: optax.Updates  # moment of their differences.
    n: optax.Updates  # second moment.
    g: optax.Updates  # the previous raw gradient.
    # shape=(), float32 or wider; AGR's strength and max_alpha when g came,
    # where they are arrays, as optax.inject_hyperparams makes them, or None.
    # In published Adan None.
    agr_strength: Any = None
    agr_max_alpha: Any = None


Kept = tuple[Any, Any]  # The state's last two fields.
UNDAMPED: Kept = (None, None)


class Damped(Protocol):
    """Other gradients for the first moments m and v."""

    def init(self, params: optax.Params) -> Kept:
        """What the state keeps before the first update."""
        ...

    def __call__(
        self, updates: optax.Updates, previous: optax.Updates, state: Any
    ) -> tuple[optax.Updates, optax.Updates, Kept]:
        """Both gradients of the difference, and what the state keeps."""
        ...


def adan_moments(
    b1: jax.typing.ArrayLike,
    b2: jax.typing.ArrayLike,
    b3: jax.typing.ArrayLike,
    eps: jax.typing.ArrayLike,
    eps_root: jax.typing.ArrayLike,
    restart: Restart | None,
    mu_dtype: jax.typing.DTypeLike | None,
    nu_dtype: jax.typing.DTypeLike | None,
    damped: Damped | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The rule of Algorithm 1; updates as wide as their moments."""
    check_moments(eps, eps_root, b1=b1, b2=b2, b3=b3)
    b1, b2, b3 = decay_rate(b1), decay_rate(b2), decay_rate(b3)
    eps = positive_eps(eps)
    mu_dtype = checked_dtype("mu_dtype", mu_dtype)
    nu_dtype = checked_dtype("nu_dtype", nu_dtype)
    check_restart(restart)

    def init_fn(params: optax.Params) -> ScaleByAdanState:
        kept = UNDAMPED if damped is None else damped.init(params)
        check_floating(params)
        m, v, g, n = zero_moments(params, mu_dtype, nu_dtype, firsts=3)
        return ScaleByAdanState(
            count=jnp.zeros([], jnp.int32),
            since_restart=jnp.zeros([], jnp.int32),
            m=m,
            v=v,
            n=n,
            g=g,
            agr_strength=kept[0],
            agr_max_alpha=kept[1],
        )

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        check_state(state, ScaleByAdanState)
        check_floating(updates)
        m, v, n, g = (
            beside(updates, kept)
            for kept in (state.m, state.v, state.n, state.g)
        )
        regularized, previous, now = updates, g, UNDAMPED
        if damped is not None:
            regularized, previous, now = damped(updates, g, state)
        # Moments may be kept narrow, but are formed in float32 or wider.
        is_plain = regularized is updates
        gradients = widened(updates)
        regularized = gradients if is_plain else widened(regularized)
        # Algorithm 1, with decay rates b = 1 - beta; both differences are 0 in
        # the first step.
        first = state.since_restart == 0
        d = _difference(regularized, previous, first)
        raw_d = d if is_plain else _difference(gradients, g, first)
        m = optax.tree.update_moment(regularized, widened(m), b1, 1)
        v = optax.tree.update_moment(d, widened(v), b2, 1)
        extrapolated = optax.tree.add_scale(gradients, b2, raw_d)
        n = optax.tree.update_moment_per_elem_norm(
            extrapolated, widened(n), b3, 2
        )
        count = optax.safe_increment(state.count)
        since_restart = optax.safe_increment(state.since_restart)
        numerator = optax.tree.add_scale(
            optax.tree.bias_correction(m, b1, since_restart),
            b2,
            optax.tree.bias_correction(v, b2, since_restart),
        )
        scaled = jax.tree.map(
            lambda u, n_hat: u / denominator(n_hat, eps, eps_root),
            numerator,
            optax.tree.bias_correction(n, b3, since_restart),
        )
        new_state = ScaleByAdanState(
            count=count,
            since_restart=since_restart,
            m=stored(updates, m, state.m),
            v=stored(updates, v, state.v),
            n=stored(updates, n, state.n),
            g=stored(updates, _previous(gradients, v, n, g), state.g),
            agr_strength=now[0],
            agr_max_alpha=now[1],
        )
        if restart is not None:
            new_state = _restarted(new_state, is_due(restart, count))
        return scaled, new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _difference(
    updates: optax.Updates, previous: optax.Updates, first: jax.Array
) -> optax.Updates:
    def difference(g: jax.Array, g_before: jax.Array) -> jax.Array:
        d = g - g_before
        return jax.lax.select(first, jnp.zeros_like(d), d)

    return jax.tree.map(difference, updates, previous)


def _previous(
    gradients: optax.Updates,
    v: optax.Updates,
    n: optax.Updates,
    kept: optax.Updates,
) -> optax.Updates:
    """The gradients, which the kernel of the moments writes in their place.

    Where a result is an argument as it came, XLA's CPU backend first copies
    what is there to memory of its own, and its GPU backend writes it in a pass
    of its own. They cannot tell that a mean of squares is not negative. The
    TPU's joins the copy to the kernel as it is, and nothing that hides it.
    Those that are kept in a narrower dtype are converted, not copied.
    (No issue upstream: delete this where tests/every/test_compiled.py passes
    without.)
    """
    if not all(map(_are_alike, *map(jax.tree.leaves, (gradients, v, n)))):
        return gradients
    return jax.lax.platform_dependent(
        gradients,
        v,
        n,
        tpu=_as_they_came,
        default=functools.partial(
            _unless_negative, jax.tree.map(jnp.result_type, kept)
        ),
    )


def _are_alike(*leaves: Any) -> bool:
    """Whether a mesh splits them alike, so that they can be chosen from."""
    splits = {
        (jax.typeof(each).sharding, varying_axes(each)) for each in leaves
    }
    return len(splits) == 1


def _as_they_came(
    gradients: optax.Updates, v: optax.Updates, n: optax.Updates
) -> optax.Updates:
    del v, n
    return gradients


def _unless_negative(
    dtypes: Any, gradients: optax.Updates, v: optax.Updates, n: optax.Updates
) -> optax.Updates:
    def chosen(g: Any, v: Any, n: Any, dtype: Any) -> jax.Array:
        if g.dtype != dtype:
            return g
        return jax.lax.select(n < 0, cast(v, g.dtype), g)

    return jax.tree.map(chosen, gradients, v, n, dtypes)


def _restarted(state: ScaleByAdanState, due: jax.Array) -> ScaleByAdanState:
    """Algorithm 1, line 3: after the update, moments may start again."""
    emptied = functools.partial(
        jax.tree.map, lambda x: jnp.where(due, jnp.zeros_like(x), x)
    )
    # The previous gradient is dropped by since_restart = 0.
    return state._replace(
        since_restart=emptied(state.since_restart),
        m=emptied(state.m),
        v=emptied(state.v),
        n=emptied(state.n),
    )
