"""Descents on the surface of GAL's 3D example, and a picture of their paths."""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import numpy as np
import optax

from benchmarks import plots
from benchmarks.adabound import adabound
from benchmarks.cache import by_content
from benchmarks.lookahead import lookahead
from benchmarks.study import Job, Method, Outcome, Study
import optaxmods

START = (0.75, 1.0)
POINTS = 50  # Of a curve, beside its start; all runs' steps are multiples.
PANEL = 2.3  # Inches of a picture's width.
DIGITS = 4  # After the point, in curves; a picture needs no more.

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "gd": optax.sgd,
    "rmsprop": optax.rmsprop,
    "adam": optax.adam,
    "lookahead": lambda rate, **arguments: lookahead(
        optax.sgd(rate), **arguments
    ),
    "adabound": adabound,
}
DRAWS = {"uniform": jax.random.uniform, "normal": jax.random.normal}

# The authors' network.
WIDTHS = (64, 24, 2)
# Table VI is on an error rate: of noise it claims no faster descent.
METHODS = {
    "plain": Method("the optimizer alone; its runs do not depend on the seed"),
    "gal": Method(
        "GAL; theta has the same optimizer",
        "plain",
        claimed=True,
        arguments={"widths": WIDTHS, "learns": True},
    ),
    "frozen": Method(
        "GAL whose theta stays as it was drawn",
        "plain",
        arguments={"widths": WIDTHS, "learns": False},
    ),
    "uniform": Method(
        "noise of U(-1, 1) in place of h(z; theta)",
        "plain",
        arguments={"draw": "uniform", "minval": -1.0, "maxval": 1.0},
    ),
    "normal": Method(
        "noise of N(0, 1) in place of h(z; theta)",
        "plain",
        arguments={"draw": "normal"},
    ),
}


MakeOptimizer = Callable[[Any], optax.GradientTransformation]


class Path(NamedTuple):
    """Where a descent was, before its first step and after each."""

    points: jax.Array  # [steps + 1, 2]
    values: jax.Array  # [steps + 1]; f there.
    accepted: jax.Array  # [steps + 1]; of the adjustment there.


def surface(points: jax.Array) -> jax.Array:
    """Returns f of [..., 2], which is even: its minima come in pairs."""
    x, y = points[..., 0], points[..., 1]
    hills = jnp.sin(x**2) * jnp.cos(3 * y**2) * jnp.exp(-((x * y) ** 2))
    return -hills - jnp.exp(-((x + y) ** 2))


@by_content
def optimizer(name: str, **arguments: Any) -> MakeOptimizer:
    """Returns a function of the learning rate that makes an optimizer."""
    return functools.partial(OPTIMIZERS[name], **arguments)


@by_content
def adjustment_network(widths: Sequence[int]) -> nn.Module:
    """The authors': linear, biases of 0, and no activation."""
    glorot = nn.initializers.xavier_uniform()
    layers = [nn.Dense(width, kernel_init=glorot) for width in widths]
    return nn.Sequential(tuple(layers))


@by_content
def noise_network(draw: str, **arguments: Any) -> tuple[Any, Any]:
    """A network whose output is drawn, whatever theta and the features.

    Args:
        draw: A key of ``DRAWS``.
        arguments: Those of the distribution.
    """

    def init(key: jax.Array, features: jax.Array) -> dict[str, jax.Array]:
        del key, features
        return {"unused": jnp.zeros([])}

    def apply(theta: Any, features: jax.Array, key: jax.Array) -> jax.Array:
        del theta
        return DRAWS[draw](key, features.shape, **arguments)

    return init, apply


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


def adjusted(*, learns: bool = False, **network: Any) -> Mapping[str, Any]:
    """Returns what ``descents`` is told of a method's arguments."""
    if not network:
        return {"network": None, "learns": False}
    make = noise_network if "draw" in network else adjustment_network
    return {"network": make(**network), "learns": learns}


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


def pictures(study: Study, result: Mapping[str, Any]) -> dict[str, bytes]:
    """Draws the paths: a column an optimizer, a row a method beside plain."""
    places: dict[tuple[str, str], list[Any]] = {}
    for cell in result["cells"]:
        if not cell["diverged"]:
            place = places.setdefault((cell["variant"], cell["method"]), [])
            place.append(cell["curves"])
    baselines = {
        name: method.baseline
        for name, method in study.methods.items()
        if method.baseline and any(other == name for _, other in places)
    }
    rows = list(baselines)
    columns = [
        name
        for name in study.variants
        if any(other == name for other, _ in places)
    ]
    if not rows or not columns:
        return {}
    looks = plots.styles(study)
    box = _box([curves for runs in places.values() for curves in runs])
    width, height = (high - low for low, high in box)
    figure = Figure(
        figsize=(
            PANEL * len(columns) + 0.6,
            (PANEL * height / width + 0.1) * len(rows) + 1.4,
        ),
        layout="constrained",
    )
    grid = figure.subplots(
        len(rows), len(columns), sharex=True, sharey=True, squeeze=False
    )
    for panels, method in zip(grid, rows, strict=True):
        for panel, variant in zip(panels, columns, strict=True):
            _draw_surface(panel, box)
            for curves in places.get((variant, method), []):
                _draw_path(panel, curves, looks[method]["color"], 0.35)
            baseline = baselines[method]
            # The plain runs are all the same.
            for curves in places.get((variant, baseline), [])[:1]:
                _draw_path(panel, curves, looks[baseline]["color"], 1.0)
            panel.plot(*START, "o", color="black", markersize=4)
        panels[0].set_ylabel(f"{method}\ny", fontsize=9)
    for panel, variant in zip(grid[0], columns, strict=True):
        panel.set_title(variant, fontsize=10, fontweight="bold")
    for panel in grid[-1]:
        panel.set_xlabel("x", fontsize=9)
    names = dict.fromkeys([*baselines.values(), *rows])
    figure.legend(
        handles=[
            Line2D([], [], color=looks[name]["color"], label=name)
            for name in names
        ],
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
    )
    figure.suptitle(
        "Paths from (0.75, 1), one a seed, on the contours of f (dark is low);"
        "\na cross marks each end",
        fontsize=11,
    )
    return {"paths": plots.to_png(figure)}


def _box(paths: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Returns what of x and of y the picture shows: all paths, and a margin."""
    margin = 0.2
    numbers = [np.concatenate([path[name] for path in paths]) for name in "xy"]
    return [(n.min() - margin, n.max() + margin) for n in numbers]


def _draw_surface(panel: Axes, box: Sequence[tuple[float, float]]) -> None:
    x, y = np.meshgrid(*(np.linspace(low, high, 121) for low, high in box))
    heights = np.asarray(surface(jnp.stack([x, y], axis=-1)))
    # The lighter half of the greys, so that black stands out.
    darkest = 2 * heights.min() - heights.max()
    panel.contourf(x, y, heights, 24, cmap="Greys_r", vmin=darkest)
    panel.contour(x, y, heights, 12, colors="white", linewidths=0.5)
    panel.set_aspect("equal")
    panel.tick_params(labelsize=plots.SMALL)


def _draw_path(
    panel: Axes, curves: Mapping[str, Any], color: str, alpha: float
) -> None:
    panel.plot(
        curves["x"], curves["y"], color=color, alpha=alpha, linewidth=1.2
    )
    panel.plot(curves["x"][-1], curves["y"][-1], "x", color=color, markersize=5)
