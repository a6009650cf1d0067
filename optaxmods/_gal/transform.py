"""Gradient adjustment learning (GAL): the transformation that holds theta."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optaxmods._gal import arguments, direct, losses
from optaxmods._gal.adjuster import GradientAdjuster
from optaxmods._gal.network import Theta
from optaxmods._shared.arguments import check_state, check_transformation, shown


class GalState(NamedTuple):
    """State of :func:`gal`."""

    gal_theta: Theta  # The network's arrays, float32.
    gal_opt_state: optax.OptState  # Of theta's optimizer.


def gal(
    adjuster: GradientAdjuster,
    num_features: int | None = None,
    *,
    optimizer: optax.GradientTransformation | None = None,
    key: int | jax.Array = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Holds and trains the network of a :class:`GradientAdjuster`.

    There are two routes. With :meth:`GradientAdjuster.loss` in the objective,
    the gradients are adjusted already and pass through as they are, and
    ``update`` needs theta's as ``adjuster_grads``, from
    :func:`value_and_adjusted_grad`:

    .. code-block:: python

        tx = optax.chain(gal(adjuster, 10), optax.adamw(1e-3))

        def objective(params, theta):
            return adjuster.loss(theta, model.apply(params, x), loss_fn)

        grad_fn = value_and_adjusted_grad(objective)
        (loss, metrics), grads, extra_args = grad_fn(params, state)
        updates, state = tx.update(grads, state, params, **extra_args)

    The direct route is for an objective that cannot be touched. ``update`` does
    the whole method, given ``features``, ``loss_fn`` and ``pullback``, which is
    ``jax.vjp(...)[1]`` of the function from the parameters to the features:

    .. code-block:: python

        features, pullback = jax.vjp(lambda p: model.apply(p, x), params)
        updates, state = tx.update(
            None,
            state,
            params,
            features=features,
            loss_fn=loss_fn,
            pullback=pullback,
        )

    With ``None``, or a tree without leaves such as ``{}``, in the gradients'
    place, ``update`` makes them: the adjusted gradient in the features is
    pulled back, once. It must then be the first to see them. What stands before
    ``gal`` in a chain and reads gradients, such as clipping, weight decay,
    momentum (``optax.trace``, ``optax.ema``), :func:`agr` or :func:`lga`, does
    nothing and says nothing; Adam fails, and so does what wraps ``gal`` and
    reads them, as do :func:`with_lga`, ``optax.MultiSteps``,
    ``optax.apply_if_finite``, ``optax.partition`` and ``optax.masked`` with a
    tree. Plain gradients of the
    mean loss can be given as well, and pass through all that; adjusting them is
    a second backward pass through the model.

    ``update`` takes the arguments of :meth:`GradientAdjuster.loss` by their
    names, ``head`` and ``block_size`` where it makes the gradients. With a
    ``head`` the pullback is that of the function from the parameters to the
    pair (features, the head's params).

    Args:
      adjuster: the method's settings.
      num_features: d, the size of the features' last axis, an int of at least
        2; the adjuster's if it has one. ``optax.inject_hyperparams`` takes it
        as a static argument; there is more to inject in ``optimizer``.
      optimizer: theta's; ``optax.adam(1e-3)`` by default, whose ``eps`` of 1e-8
        is too large for tentative steps well below 1: theta's gradient falls
        with their square.
        It is given the extra arguments of ``update``, such as ``value``.
        ``optax.set_to_zero()`` freezes theta. A gradient that is not finite,
        or whose square is not, leaves theta and this optimizer's state as they
        were.
      key: what theta is drawn with: an int or a key of ``jax.random``.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` with the state
      :class:`optaxmods.GalState`.

    Raises:
      ValueError: ``num_features`` below 2, or another than the adjuster's, or
        another argument of no known form; at ``update``, gradients that are
        ``None`` at every leaf, the state of another transformation,
        ``adjuster_grads`` of other shapes than theta's, or a ``pullback`` that
        returns other shapes, or kinds of number, than the gradients have, or
        the parameters.
      TypeError: at ``update``, arguments of neither route, or of both, or
        ``head`` or ``block_size`` beside plain gradients.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from optaxmods import GradientAdjuster, gal
      >>> adjuster = GradientAdjuster(hidden_sizes=(8,))
      >>> tx = optax.chain(gal(adjuster, 3), optax.sgd(0.1))
      >>> inputs, labels = jnp.eye(3), jnp.array([0, 1, 2])
      >>> def loss_fn(logits):
      ...     return optax.softmax_cross_entropy_with_integer_labels(
      ...         logits, labels
      ...     )
      >>> @jax.jit
      ... def step(weights, state):
      ...     logits, pullback = jax.vjp(lambda w: inputs @ w, weights)
      ...     updates, state = tx.update(
      ...         None,
      ...         state,
      ...         weights,
      ...         features=logits,
      ...         loss_fn=loss_fn,
      ...         pullback=pullback,
      ...     )
      ...     return optax.apply_updates(weights, updates), state
      >>> weights = jnp.zeros((3, 3))
      >>> state = tx.init(weights)
      >>> for _ in range(10):
      ...     weights, state = step(weights, state)
      >>> print(f"{loss_fn(inputs @ weights).mean():.2f}")
      0.90

      The other route is an example of :func:`value_and_adjusted_grad`.

    References:
      `Learning to Minimize the Remainder in Supervised Learning
      <https://arxiv.org/abs/2201.09193>`_, 2022

      In plain NumPy: :ref:`tests/oracles/gal.py <numpy-gal>`
    """
    if not isinstance(adjuster, GradientAdjuster):
        raise ValueError(
            "adjuster must be a GradientAdjuster(...), the first argument of"
            f" gal(adjuster, num_features), got {shown(adjuster)}."
        )
    num_features = arguments.checked_num_features(
        num_features, adjuster.num_features
    )
    arguments.check_seed(key)
    if optimizer is not None:
        check_transformation("optimizer", optimizer)
    tx = optax.with_extra_args_support(
        optax.adam(1e-3) if optimizer is None else optimizer
    )

    def init_fn(params: optax.Params) -> GalState:
        del params
        theta = adjuster.init(_as_key(key), num_features)
        # Copied: some optimizers keep what they are given, and a buffer that
        # stands in a state twice cannot be donated.
        return GalState(theta, tx.init(jax.tree.map(jnp.copy, theta)))

    def update_fn(
        updates,
        state,
        params=None,
        *,
        adjuster_grads=None,
        features=None,
        loss_fn=None,
        pullback=None,
        targets=None,
        head=None,
        block_size=None,
        tentative_step=None,
        example_weights=None,
        key=None,
        **extra_args,
    ):
        check_state(state, GalState)
        arguments.check_routes(
            adjuster_grads,
            {"features": features, "loss_fn": loss_fn, "pullback": pullback},
        )
        if adjuster_grads is not None:
            arguments.check_like(adjuster_grads, state.gal_theta)
            return updates, _taught(tx, state, adjuster_grads, extra_args)
        adjusted, taught = direct.gradients(
            adjuster,
            state.gal_theta,
            updates,
            params,
            pullback,
            features,
            loss_fn,
            targets,
            head,
            block_size,
            tentative_step,
            example_weights,
            key,
        )
        return adjusted, _taught(tx, state, taught, extra_args)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def adjuster_params(opt_state: optax.OptState) -> Theta:
    """Theta out of the state of a chain that holds one :func:`gal`.

    Args:
      opt_state: an optimizer's state; that of ``nnx.Optimizer`` too.

    Returns:
      The network's parameters as plain arrays.

    Raises:
      ValueError: no GAL in it, or more than one.
    """
    leaves = jax.tree.leaves(
        opt_state, is_leaf=lambda node: isinstance(node, GalState)
    )
    found = [leaf for leaf in leaves if isinstance(leaf, GalState)]
    if len(found) != 1:
        raise ValueError(
            f"the state must hold one GAL, but holds {len(found)}: pass the"
            " state of a chain with gal(...), or the part of one of them."
        )
    return jax.tree.map(
        arguments.plain, found[0].gal_theta, is_leaf=arguments.is_variable
    )


def _as_key(key: Any) -> jax.Array:
    if jnp.issubdtype(getattr(key, "dtype", int), jax.dtypes.prng_key):
        # Each init draws the same theta: for jax_debug_key_reuse a new key.
        return jax.random.clone(key)
    is_raw = getattr(key, "ndim", 0) == 1  # Of uint32.
    return jnp.asarray(key) if is_raw else jax.random.key(key)


def _taught(
    tx: optax.GradientTransformationExtraArgs,
    state: GalState,
    gradient: Theta,
    extra_args: Mapping[str, Any],
) -> GalState:
    """The state after theta's step, or as it was if that is not finite."""
    step, opt_state = tx.update(
        gradient, state.gal_opt_state, state.gal_theta, **extra_args
    )
    theta = optax.apply_updates(state.gal_theta, step)
    # Squares, too: one that overflows would stay in Adam's state for ever.
    squares = jax.tree.map(jnp.square, gradient)
    is_finite = losses.all_finite((squares, theta))
    return jax.tree.map(
        lambda new, old: jnp.where(is_finite, new, old),
        GalState(theta, opt_state),
        state,
    )
