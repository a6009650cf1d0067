"""Lookahead as an optimizer of plain parameters."""

from typing import Any, NamedTuple

import optax


class LookaheadState(NamedTuple):
    """State of ``lookahead``."""

    slow: optax.Params
    inner_state: optax.OptState  # Of optax.lookahead.


def lookahead(
    fast: optax.GradientTransformation,
    sync_period: int = 5,
    slow_step_size: float = 0.5,
) -> optax.GradientTransformation:
    """Returns ``optax.lookahead`` with the slow parameters in its state.

    That one wants fast and slow parameters in place of parameters, so that it
    cannot take another optimizer's place. Here the parameters are the fast
    ones: after every ``sync_period`` steps of ``fast``

        slow <- slow + slow_step_size (x - slow)
        x <- slow

    Args:
        fast: The optimizer of the steps between.
        sync_period: Those from one synchronization to the next.
        slow_step_size: How far the slow parameters go.

    References:
        Zhang et al., `Lookahead Optimizer: k steps forward, 1 step back
        <https://arxiv.org/abs/1907.08610>`_, 2019
    """
    inner = optax.lookahead(fast, sync_period, slow_step_size)

    def init_fn(params: optax.Params) -> LookaheadState:
        both = optax.LookaheadParams.init_synced(params)
        return LookaheadState(params, inner.init(both))

    def update_fn(
        updates: optax.Updates, state: Any, params: Any = None
    ) -> tuple[optax.Updates, LookaheadState]:
        if params is None:
            raise ValueError("lookahead needs the params in its update")
        both = optax.LookaheadParams(params, state.slow)
        moves: Any
        moves, inner_state = inner.update(updates, state.inner_state, both)
        slow = optax.apply_updates(state.slow, moves.slow)
        return moves.fast, LookaheadState(slow, inner_state)

    return optax.GradientTransformation(init_fn, update_fn)
