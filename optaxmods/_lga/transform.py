"""Loss-aware gradient adjustment (LGA): Eq. 2, 5 and its two forms.

The status of the loss stands in :mod:`optaxmods._lga.status`.
"""

from collections.abc import Callable
import functools
import numbers
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import optax

from optaxmods._lga import status
from optaxmods._lga.status import LgaState, Rule
from optaxmods._shared.arguments import (
    check_state,
    check_transformation,
    is_transformation,
    shown,
)
from optaxmods._shared.dtypes import (
    cast,
    params_beside,
    returned_as_came,
    steps_like,
    wide_dtype,
)

P = ParamSpec("P")
T = TypeVar("T")

TINY = float(jnp.finfo(jnp.float32).tiny)
# So small a quotient stays in a cache, where it is written, too; and a division
# is compiled in half of the time that products take.
SMALL = 2**14  # Entries.


class WithLgaState(NamedTuple):
    """State of :func:`with_lga`."""

    status: LgaState
    inner_state: optax.OptState


def lga(
    gamma: optax.ScalarOrSchedule,
    *,
    status_every: int,
    eps: jax.typing.ArrayLike = 0.1,
    xi: jax.typing.ArrayLike = 0.01,
    log_base: jax.typing.ArrayLike = 10,
    decay_factor: jax.typing.ArrayLike = 0.1,
    gamma_min: jax.typing.ArrayLike = 0.0,
    upper_bound: str | None = "first_window",
    lower_bound: str | jax.typing.ArrayLike = "ema",
    omega_loss: str = "step",
    push_zero_gradients: bool = False,
    gradient_floor: jax.typing.ArrayLike = 1e-6,
    axis_name: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adds an incentive where gradients are small and the loss is high.

    For the incoming update :math:`u`, the loss :math:`f_t` of the step, the
    lower bound :math:`E` and the upper bound :math:`F` that the loss's status
    keeps,

    .. math::

        u' &= u + \gamma_t \frac{\Omega(f_t)}{\varphi(u)} \\
        \Omega(f_t) &= f_t - E \text{ if } f_t - E \ge \epsilon
            \text{ and } f_t \le F, \text{ else } 0 \qquad \text{(Eq. 4)} \\
        \varphi(u) &= u + \xi \text{ if } u \ge 0, \text{ else } u - \xi
            \qquad \text{(Eq. 5)}

    so that no entry is pushed by more than :math:`\gamma \Omega / \xi` in a
    step. Chained before an optimizer, as here, the optimizer rescales the
    term; before plain SGD it is the paper's Eq. 2 with :math:`\gamma_2` =
    learning rate times ``gamma``. Around any optimizer, unscaled, Eq. 2 is
    :func:`optaxmods.with_lga`.

    The status moves once in ``status_every`` steps, a window. When window
    :math:`k` = 1, 2, ... ends with the mean loss :math:`m_k`,

    .. math::

        E_k = w_k E_{k-1} + (1 - w_k)\, m_k, \qquad
        w_k = 1 / \log(k + 10), \qquad E_0 = 0 \qquad \text{(Eq. 3)}

    and :math:`\gamma` is multiplied by ``decay_factor`` where :math:`m_k >
    m_{k-1}` (Algorithm 1, line 7). A loss that is not finite in float32 adds
    nothing and joins no window; gradients pass through as they are. Entries of
    :math:`u` below ``gradient_floor`` pass through, too.

    ``update`` needs the loss as the extra argument ``value``:
    ``tx.update(grads, state, params, value=loss)``.

    Args:
      gamma: :math:`\gamma_2`, a finite number, at least 0, or a schedule of the
        update count; the paper has 1e-8 for 10 classes, 1e-9 for 100, 1e-10
        for 200.
      status_every: steps in a window; pass the steps of an epoch. An int. In a
        resumed run it may be another: a window that has as many losses already
        closes with the next one.
      eps: :math:`\epsilon`, the least excess of the loss that counts; 0.1 (the
        paper's experiments).
      xi: :math:`\xi`, 0.01 (the paper's experiments).
      log_base: base of the logarithm in :math:`w_k`, above 1 and at most 11,
        where :math:`w_1 = 1`. 10, the reading under which the paper's gain on
        MNIST appears; ``math.e`` is the other.
      decay_factor: what ``gamma`` is multiplied by after a window whose mean
        is above the one before; 0.1 (Algorithm 1). 1 switches it off.
      gamma_min: ``gamma`` never falls below it.
      upper_bound: :math:`F`. ``"first_window"``: the first window's mean.
        ``"first_value"``: the first finite loss, as printed in Eq. 4.
        ``None``: none.
      lower_bound: ``"ema"``: Eq. 3. ``"average"``: the mean of all windows'
        means; ``"momentum"``: :math:`E_k = 0.9 E_{k-1} + 0.1 m_k` (the two
        variants of Table 13). A number: a constant bound.
      omega_loss: the loss in :math:`\Omega`: that of the ``"step"``, or the
        last completed ``"window"``'s mean.
      push_zero_gradients: whether an entry that is exactly 0 is pushed, by
        :math:`\gamma \Omega / \xi` as Eq. 5 has it. Unused rows of embedding
        tables and dead units would drift, so by default it is not.
      gradient_floor: entries of a size below it, other than 0, are left alone.
        Eq. 5 pushes hardest where gradients are smallest, so an entry that is
        zero but for rounding would be pushed in full, by the sign of the
        rounding error. 1e-6 is this library's choice, by the study lga-floor;
        0 is the paper's, and with ``push_zero_gradients=True`` all of Eq. 5 as
        printed. In that study computing in float32 left up to 2e-8 and in
        bfloat16 6e-4, whatever the dtype that the gradients arrive in.
      axis_name: mesh axes of ``jax.shard_map`` over which ``value`` is
        averaged.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` whose updates have the
      incoming tree, shapes and dtypes, and whose state is
      :class:`optaxmods.LgaState`; ``optax.tree.get(state, "lga_omega")`` reads
      a scalar out of any chain.

    Raises:
      ValueError: an argument out of its range or of no known form; at
        ``update``, a ``value`` that is no real scalar, a schedule that returns
        no number, or the state of another transformation.
      TypeError: at ``update``, no ``value``.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from optaxmods import lga
      >>> solver = optax.chain(lga(1e-4, status_every=10), optax.sgd(0.1))
      >>> weights = jnp.array([3.0, 1e-4])
      >>> state = solver.init(weights)
      >>> loss, grads = jax.value_and_grad(lambda w: jnp.sum(w**2))(weights)
      >>> updates, state = solver.update(grads, state, weights, value=loss)
      >>> print(f"{optax.tree.get(state, 'lga_omega'):.1f}")
      9.0

    References:
      Towards the Gradient Adjustment by Loss Status for Neural Network
      Optimization, anonymous authors

      In plain NumPy: :ref:`tests/oracles/lga.py <numpy-lga>`
    """
    rule = status.checked(
        Rule(
            gamma=gamma,
            status_every=status_every,
            eps=eps,
            xi=xi,
            log_base=log_base,
            decay_factor=decay_factor,
            gamma_min=gamma_min,
            upper_bound=upper_bound,
            lower_bound=lower_bound,
            omega_loss=omega_loss,
            push_zero_gradients=push_zero_gradients,
            gradient_floor=gradient_floor,
            axis_name=axis_name,
        )
    )

    def init_fn(params: optax.Params) -> LgaState:
        del params
        return status.initial(rule)

    def update_fn(updates, state, params=None, *, value=None, **extra_args):
        del params, extra_args
        push, state = _step(rule, state, value)
        added = jax.tree.map(
            lambda u: _pushed(rule, push, u, u, 1) if _is_pushed(u) else u,
            updates,
        )
        return returned_as_came(added, updates), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _with_inner_first(make: Callable[P, T]) -> Callable[P, T]:
    """Looks at ``inner`` before Python says what else is missing."""

    @functools.wraps(make)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if args and not is_transformation(args[0]):
            given = (*args[1:], *kwargs.values())
            if any(map(is_transformation, given)):
                raise ValueError(
                    "inner comes first: with_lga(optax.sgd(0.1), 1e-6,"
                    f" status_every=...), got {shown(args[0])} for it."
                )
            check_transformation("inner", args[0])
        return make(*args, **kwargs)

    return checked


@_with_inner_first
def with_lga(
    inner: optax.GradientTransformation,
    gamma: optax.ScalarOrSchedule,
    *,
    status_every: int,
    eps: jax.typing.ArrayLike = 0.1,
    xi: jax.typing.ArrayLike = 0.01,
    log_base: jax.typing.ArrayLike = 10,
    decay_factor: jax.typing.ArrayLike = 0.1,
    gamma_min: jax.typing.ArrayLike = 0.0,
    upper_bound: str | None = "first_window",
    lower_bound: str | jax.typing.ArrayLike = "ema",
    omega_loss: str = "step",
    push_zero_gradients: bool = False,
    gradient_floor: jax.typing.ArrayLike = 1e-6,
    axis_name: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Any optimizer with the term of LGA, Eq. 2 as printed.

    With the update :math:`\Delta` of ``inner``, its learning rate included,
    and the raw gradient :math:`g`,

    .. math::

        x_{t+1} = x_t + \Delta_t - \gamma_t \frac{\Omega(f_t)}{\varphi(g_t)}
            \qquad \text{(Eq. 2)}

    The term is not scaled by the learning rate or by anything else of
    ``inner``, and a schedule of ``gamma`` is independent of ``inner``'s.

    Args:
      inner: an optimizer; what it takes as extra arguments, ``value``
        included, it gets.
      gamma: as in :func:`optaxmods.lga`, like all that follow.
      status_every: steps in a window of the status.
      eps: the least excess of the loss that counts; 0.1.
      xi: of Eq. 5; 0.01.
      log_base: of Eq. 3; 10.
      decay_factor: of Algorithm 1; 0.1.
      gamma_min: ``gamma`` never falls below it; 0.
      upper_bound: ``"first_window"``, ``"first_value"`` or ``None``.
      lower_bound: ``"ema"``, ``"average"``, ``"momentum"`` or a number.
      omega_loss: ``"step"`` or ``"window"``.
      push_zero_gradients: whether entries without a gradient are pushed.
      gradient_floor: entries of a size below it, other than 0, are not; 1e-6.
      axis_name: mesh axes over which ``value`` is averaged.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` whose updates have the
      dtypes of ``inner``'s, or wider parameters' ones, with the state
      :class:`optaxmods.WithLgaState`.

    Raises:
      ValueError: as :func:`optaxmods.lga`; ``inner`` and ``gamma`` in the other
        order; at ``update``, parameters of another tree than the gradients.
      TypeError: as :func:`optaxmods.lga`.

    Examples:
      >>> import optax
      >>> from optaxmods import with_lga
      >>> solver = with_lga(optax.sgd(1e-4), 1e-8, status_every=937)

    References:
      In plain NumPy: :ref:`tests/oracles/lga.py <numpy-lga>`
    """
    check_transformation("inner", inner)
    rule = status.checked(
        Rule(
            gamma=gamma,
            status_every=status_every,
            eps=eps,
            xi=xi,
            log_base=log_base,
            decay_factor=decay_factor,
            gamma_min=gamma_min,
            upper_bound=upper_bound,
            lower_bound=lower_bound,
            omega_loss=omega_loss,
            push_zero_gradients=push_zero_gradients,
            gradient_floor=gradient_floor,
            axis_name=axis_name,
        )
    )
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: optax.Params) -> WithLgaState:
        return WithLgaState(status.initial(rule), inner.init(params))

    def update_fn(updates, state, params=None, *, value=None, **extra_args):
        check_state(state, WithLgaState)
        push, after = _step(rule, state.status, value)
        moved, inner_state = inner.update(
            updates, state.inner_state, params, value=value, **extra_args
        )
        pushed = jax.tree.map(
            lambda g, u: _pushed(rule, push, g, u, -1) if _is_pushed(g) else u,
            updates,
            moved,
        )
        params = params_beside(moved, params)
        like = moved if params is None else steps_like(moved, params)
        return returned_as_came(pushed, like), WithLgaState(after, inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def lga_push(
    gradients: optax.Updates,
    state: optax.OptState,
    updates: optax.Updates | None = None,
    *,
    xi: jax.typing.ArrayLike = 0.01,
    push_zero_gradients: bool = False,
    gradient_floor: jax.typing.ArrayLike = 1e-6,
) -> jax.Array:
    r"""How long LGA's push is beside what it is added to, for logging.

    Around an optimizer, the length of the push of the last step,
    :math:`\gamma \Omega / \varphi(g)`, over that of the update without it. With
    ``updates=None``, as before an optimizer, over that of the gradient. Above 1
    the push decides where the step goes; that it is above 1 for long is how
    training with too large a ``gamma`` begins to diverge.

    Args:
      gradients: those that ``update`` was given, a tree of arrays.
      state: what ``update`` returned; any that holds one LGA.
      updates: with :func:`with_lga` what ``update`` returned; with :func:`lga`
        None, the default.
      xi: as LGA was given it; 0.01, the paper's (Eq. 5).
      push_zero_gradients: as LGA was given it.
      gradient_floor: as LGA was given it; 1e-6.

    Returns:
      A scalar, float32 or wider: 0 where nothing was pushed, infinity where
      nothing but the push has moved anything. ``gamma`` and Omega are those of
      the step that was just done.

    Raises:
      ValueError: the state holds no LGA, or ``xi`` or ``gradient_floor`` is no
        number for it.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from optaxmods import lga_push, with_lga
      >>> solver = with_lga(optax.sgd(0.1), 1e-3, status_every=10)
      >>> weights = jnp.array([3.0, 1e-4])
      >>> state = solver.init(weights)
      >>> loss, grads = jax.value_and_grad(lambda w: jnp.sum(w**2))(weights)
      >>> updates, state = solver.update(grads, state, weights, value=loss)
      >>> print(f"{lga_push(grads, state, updates):.2f}")
      1.47
    """
    gamma = optax.tree.get(state, "lga_gamma")
    omega = optax.tree.get(state, "lga_omega")
    if gamma is None or omega is None:
        raise ValueError(
            "state must hold an LGA, what update of a solver with lga or"
            f" with_lga returned, got {shown(state)}."
        )
    rule = status.checked(
        Rule(
            gamma=0.0,
            status_every=1,
            eps=0.1,
            xi=xi,
            log_base=10,
            decay_factor=1.0,
            gamma_min=0.0,
            upper_bound=None,
            lower_bound=0.0,
            omega_loss="step",
            push_zero_gradients=push_zero_gradients,
            gradient_floor=gradient_floor,
            axis_name=None,
        )
    )
    size = jnp.minimum(gamma * omega, status.LARGEST)
    pushes = jax.tree.map(
        lambda g: (
            _pushed(rule, size, g, jnp.zeros_like(g), 1)
            if _is_pushed(g)
            else jnp.zeros_like(g, jnp.float32)
        ),
        gradients,
    )
    # An update is what the inner optimizer made, less the push (Eq. 2).
    beside = (
        gradients
        if updates is None
        else jax.tree.map(lambda u, p: cast(u, p.dtype) + p, updates, pushes)
    )
    pushed, moved = optax.tree.norm(pushes), optax.tree.norm(beside)
    # 0 / 0 would be a step without a push.
    return pushed / jnp.where(pushed == 0, jnp.ones_like(moved), moved)


def _step(
    rule: Rule, state: LgaState, value: Any
) -> tuple[jax.Array, LgaState]:
    """Returns gamma Omega of this step, and the state after it."""
    check_state(state, LgaState)
    loss = status.checked_loss(value, rule.axis_name)
    used = status.read(rule, state, loss)
    # Infinity over an infinite gradient would be no number.
    push = jnp.minimum(used.gamma * used.omega, status.LARGEST)
    return push, status.advanced(rule, state, loss, used)


def _pushed(
    rule: Rule, push: jax.Array, gradient: Any, update: Any, direction: int
) -> jax.Array:
    """The update and gamma Omega / phi(g), in float32 or wider."""
    g, u = (cast(x, wide_dtype(x)) for x in (gradient, update))
    magnitude = jnp.abs(g)
    dtype = magnitude.dtype
    phi = magnitude + _number(rule.xi, dtype)
    push = push.astype(dtype)
    by_products = dtype == jnp.float32 and g.size > SMALL
    if by_products:
        size = push * _reciprocal(phi)  # Eq. 5
    else:
        # xi may be rounded to 0, and 0 / 0 is no number.
        size = push / jnp.maximum(phi, float(jnp.finfo(dtype).tiny))
    # An entry that is zero but for rounding has no direction.
    floor = _number(rule.gradient_floor, dtype)
    is_pushed = magnitude >= floor
    sign = jnp.sign(g)
    if rule.push_zero_gradients:
        sign = jnp.where(magnitude == 0, jnp.ones_like(g), sign)
        is_pushed |= magnitude == 0
    elif not isinstance(floor, float) or floor < TINY:
        is_pushed &= magnitude > 0  # A floor of 0 lets it through.
    # What an inner optimizer makes of a gradient that is not finite, such as a
    # step of 0, stays. A quotient by infinity is 0 already.
    if by_products or jnp.iscomplexobj(g):
        is_pushed &= magnitude < jnp.inf
    moved = u + size * sign if direction > 0 else u - size * sign
    return jax.lax.select(is_pushed, moved, cast(u, moved.dtype))


def _number(number: jax.typing.ArrayLike, dtype: jnp.dtype) -> Any:
    """Of this dtype; Python's numbers are, beside an array, and no array."""
    if isinstance(number, numbers.Real):
        return float(number)
    return jnp.asarray(number, dtype)


def _reciprocal(positive: jax.Array) -> jax.Array:
    """1 / x of a large float32 array, to two units in the last place.

    XLA's CPU backend computes no division twice: before an optimizer that
    reads the update in two moments it would write the quotient to memory.
    Products it repeats. (No issue upstream: delete it where
    tests/every/test_compiled.py passes with ``1 / x``.)
    """
    # Outside, the guess below is far off, or no positive number.
    positive = jax.lax.clamp(TINY, positive, 2.0**125)
    bits = jax.lax.bitcast_convert_type(positive, jnp.int32)
    # A float's bits are nearly its logarithm: their difference to those of 1,
    # twice, is nearly that of 1 / x. This constant is within 5.1 %.
    guess = jax.lax.bitcast_convert_type(0x7EF311C3 - bits, jnp.float32)
    for _ in range(3):  # Newton's method squares the error.
        guess = guess * (2 - positive * guess)
    return guess


def _is_pushed(array: jax.Array) -> bool:
    return jnp.issubdtype(jnp.result_type(array), jnp.inexact)
