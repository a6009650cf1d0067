"""Descents on the surface of GAL's 3D example."""

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.contenders.surface import adjusted, optimizer
from benchmarks.study import Job, Outcome
import optaxmods

START = (0.75, 1.0)
POINTS = 50  # Of a curve, beside its start; all runs' steps are multiples.
DIGITS = 4  # After the point, in curves; a picture needs no more.


class Path(NamedTuple):
    """Where a descent was, before its first step and after each."""

    points: jax.Array  # [steps + 1, 2]
    values: jax.Array  # [steps + 1]; f there.
    accepted: jax.Array  # [steps + 1]; of the adjustment there.


def surface(points: jax.typing.ArrayLike) -> jax.Array:
    """Returns f of [..., 2], which is even: its minima come in pairs."""
    points = jnp.asarray(points)
    x, y = points[..., 0], points[..., 1]
    hills = jnp.sin(x**2) * jnp.cos(3 * y**2) * jnp.exp(-((x * y) ** 2))
    return -hills - jnp.exp(-((x + y) ** 2))


def run(job: Job) -> Sequence[Outcome]:
    """Descends from the start once for each seed, all seeds together."""
    settings = job.settings
    descend = functools.partial(
        descents,
        make=optimizer(settings["optimizer"], **settings.get("arguments", {})),
        steps=settings["steps"],
        start=jnp.asarray(job.data, jnp.float32),
        rate=settings["learning_rate"],
        magnitude=settings["magnitude"],
        tentative_step=settings["beta"] * settings["learning_rate"],
        seeds=jnp.asarray(job.seeds),
    )
    paths = jax.device_get(descend(**adjusted(**job.arguments)))
    plain = jax.device_get(descend(**adjusted()))
    goal = goal_of(plain.values[0], settings["share_of_descent"])
    outcomes = [
        _outcome(jax.tree.map(lambda leaf, row=row: leaf[row], paths), goal)
        for row in range(len(job.seeds))
    ]
    job.on_progress()
    return outcomes


def goal_of(plain: np.ndarray, share: float) -> float:
    """Returns f at a share of the way to the lowest value of a plain run."""
    return float(plain[0] - share * (plain[0] - plain.min()))


def steps_to(values: np.ndarray, goal: float) -> int:
    """Returns the steps until f is no more than the goal, or all there are."""
    (reached,) = np.nonzero(values <= goal)
    return int(reached[0]) if reached.size else len(values) - 1


def _outcome(path: Path, goal: float) -> Outcome:
    values, points = np.asarray(path.values), np.asarray(path.points)
    stride = max(1, (len(values) - 1) // POINTS)
    curves = {"f": values, "x": points[:, 0], "y": points[:, 1]}
    return Outcome(
        curves={
            name: np.asarray(curve[::stride], float).round(DIGITS).tolist()
            for name, curve in curves.items()
        },
        final={
            "steps": steps_to(values, goal),
            "arrived": float(np.any(values <= goal)),
            "final_f": float(values[-1]),
            # None is taken after the last step.
            "accepted": float(np.mean(path.accepted[:-1])),
        },
    )


@functools.partial(
    jax.jit, static_argnames=("network", "learns", "make", "steps")
)
def descents(
    *,
    network: Any,
    learns: bool,
    make: MakeOptimizer,
    steps: int,
    start: jax.Array,
    rate: jax.typing.ArrayLike,
    magnitude: jax.typing.ArrayLike,
    tentative_step: jax.typing.ArrayLike,
    seeds: jax.Array,
) -> Path:
    """Returns the paths of a method, one for each seed.

    Args:
        network: GAL's; without it, the optimizer is alone.
        learns: Whether theta does, or stays as it was drawn.
        make: Makes the optimizer, of the learning rate.
        steps: How many.
        start: Where from.
        rate: The learning rate.
        magnitude: GAL's.
        tentative_step: GAL's.
        seeds: Of theta and the noise.
    """
    adjuster = optaxmods.GradientAdjuster(
        network=network,
        # Traced, it gives no warning: the authors' for this example are at and
        # above that from which training can diverge.
        magnitude=jnp.asarray(magnitude),
        tentative_step=tentative_step,
    )

    def descend(seed: jax.Array) -> Path:
        theta_key, noise_key = jax.random.split(jax.random.key(seed))
        tx, slope_of = optax.with_extra_args_support(make(rate)), _plain_slope
        if network is not None:
            theta = optaxmods.gal(
                adjuster,
                2,
                optimizer=make(rate) if learns else optax.set_to_zero(),
                key=theta_key,
            )
            tx = optax.chain(theta, tx)
            slope_of = functools.partial(_adjusted_slope, adjuster)

        def step(carry: Any, key: jax.Array) -> Any:
            point, state = carry
            slope, extra_args, accepted = slope_of(point, state, key)
            here = Path(point, surface(point), accepted)
            updates, state = tx.update(slope, state, point, **extra_args)
            return (optax.apply_updates(point, updates), state), here

        # One more than the steps: of the last only the start is looked at.
        keys = jax.random.split(noise_key, steps + 1)
        return jax.lax.scan(step, (start, tx.init(start)), keys)[1]

    return jax.vmap(descend)(seeds)


def _plain_slope(point: jax.Array, state: Any, key: jax.Array) -> Any:
    del state, key
    return jax.grad(surface)(point), {}, jnp.zeros([])


def _adjusted_slope(
    adjuster: optaxmods.GradientAdjuster,
    point: jax.Array,
    state: Any,
    key: jax.Array,
) -> Any:
    def objective(point: jax.Array, theta: Any) -> Any:
        # The two parameters are the features of the only example.
        return adjuster.loss(theta, point[None], surface, key=key)

    (slope, theta_slope), metrics = jax.grad(
        objective, argnums=(0, 1), has_aux=True
    )(point, optaxmods.adjuster_params(state))
    return slope, {"adjuster_grads": theta_slope}, metrics["acceptance"]
