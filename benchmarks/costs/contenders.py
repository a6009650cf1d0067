"""The optimizers whose steps are timed, beside what, and in which cases."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.costs import torch_peer
import optaxmods

Optimizers = dict[str, Any]  # Transformations, or peers with a step.
RATE = 1e-3


class Row(NamedTuple):
    """One contender beside its baseline, and the highest ratio allowed."""

    method: str
    baseline: str
    limit: float | None = None


class Case(NamedTuple):
    """A tree of equal leaves, and how often a step is repeated."""

    leaves: int
    shape: tuple[int, ...]
    dtype: str
    rows: list[Row]
    rounds: int = 31  # For each of the programs.
    steps: int = 2
    programs: int = 1  # How often each contender is compiled.

    @property
    def title(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{self.leaves} leaves of {size} {self.dtype}"


def agr_as_printed() -> optax.GradientTransformation:
    """The paper's three lines, written down without further thought."""

    def damp(gradient: jax.Array) -> jax.Array:
        alpha = jnp.abs(gradient) / jnp.sum(jnp.abs(gradient))
        return gradient - alpha * gradient

    return optax.stateless(lambda updates, _: jax.tree.map(damp, updates))


def lga_as_printed(gamma: float) -> optax.GradientTransformation:
    """Eq. 2 and 5, with the division, and an Omega of 1 at every step."""

    def push(gradient: jax.Array) -> jax.Array:
        phi = gradient + jnp.where(gradient >= 0, 0.01, -0.01)
        return gradient + gamma / phi

    return optax.stateless(lambda updates, _: jax.tree.map(push, updates))


def through_float32() -> optax.GradientTransformation:
    """The least that a rule formed in float32 does to a narrow gradient."""
    return optax.stateless(
        lambda updates, _: jax.tree.map(
            lambda g: (g.astype(jnp.float32) * 0.999).astype(g.dtype), updates
        )
    )


def summed() -> optax.GradientTransformation:
    """AGR's sums alone; the gradients stay as they are."""

    def after_sum(gradient: jax.Array) -> jax.Array:
        read = jax.lax.optimization_barrier(gradient)
        total = jnp.sum(jnp.abs(read.astype(jnp.float32)))
        return jax.lax.select(total < 0, -gradient, gradient)

    return optax.stateless(lambda updates, _: jax.tree.map(after_sum, updates))


def make_optimizers() -> Optimizers:
    rate, gamma = RATE, 1e-8
    return {
        "optax.adamw": optax.adamw(rate),
        "optax.adamw again": optax.adamw(rate),
        "chain(clip_by_global_norm, optax.adamw)": optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(rate)
        ),
        "chain(a product in float32, optax.adamw)": optax.chain(
            through_float32(), optax.adamw(rate)
        ),
        "chain(AGR's sums alone, optax.adamw)": optax.chain(
            summed(), optax.adamw(rate)
        ),
        "chain(agr, optax.adamw)": optax.chain(
            optaxmods.agr(), optax.adamw(rate)
        ),
        "chain(AGR as printed, optax.adamw)": optax.chain(
            agr_as_printed(), optax.adamw(rate)
        ),
        "adamw_agr": optaxmods.adamw_agr(rate),
        "optax.adan": optax.adan(rate),
        "optax.adan again": optax.adan(rate),
        "chain(AGR as printed, optax.adan)": optax.chain(
            agr_as_printed(), optax.adan(rate)
        ),
        "adan": optaxmods.adan(rate),
        "adan_agr": optaxmods.adan_agr(rate),
        "adan, restarts": optaxmods.adan(rate, restart=100),
        "adan_agr, restarts": optaxmods.adan_agr(rate, restart=100),
        "with_lga(optax.adamw)": optaxmods.with_lga(
            optax.adamw(rate), gamma, status_every=100
        ),
        "chain(lga, optax.adamw)": optax.chain(
            optaxmods.lga(gamma, status_every=100), optax.adamw(rate)
        ),
        "chain(LGA as printed, optax.adamw)": optax.chain(
            lga_as_printed(gamma), optax.adamw(rate)
        ),
    }


def rows(
    agr: float | None = None,
    adamw_agr: float | None = None,
    adan: float | None = None,
    adan_agr: float | None = None,
) -> list[Row]:
    """The same comparisons for every case, with the case's limits."""
    return [
        Row("optax.adamw again", "optax.adamw"),
        Row("chain(clip_by_global_norm, optax.adamw)", "optax.adamw"),
        Row("chain(agr, optax.adamw)", "optax.adamw", agr),
        Row("adamw_agr", "optax.adamw", adamw_agr),
        Row("chain(AGR as printed, optax.adamw)", "optax.adamw"),
        Row("optax.adan again", "optax.adan"),
        Row("adan", "optax.adan", adan),
        Row("adan_agr", "optax.adan", adan_agr),
    ]


def lga_rows(with_lga: float | None, lga: float | None) -> list[Row]:
    return [
        Row("with_lga(optax.adamw)", "optax.adamw", with_lga),
        Row("chain(lga, optax.adamw)", "optax.adamw", lga),
        Row("chain(LGA as printed, optax.adamw)", "optax.adamw"),
    ]


TORCH = {
    "torch AdamW(fused=True)": torch_peer.AdamW(RATE, with_agr=False),
    "AGR as printed, torch AdamW(fused=True)": torch_peer.AdamW(
        RATE, with_agr=True
    ),
}
# What a narrow gradient costs whoever writes the rule.
NARROW = [
    Row("chain(a product in float32, optax.adamw)", "optax.adamw"),
    Row("chain(AGR's sums alone, optax.adamw)", "optax.adamw"),
]
LARGE, SMALL, LOW_RANK = (2048, 2048), (64, 64), (8, 512)
FIRST = Case(
    4, LARGE, "float32", rows(1.35, 1.35, 0.75, 0.85) + lga_rows(1.15, 1.4)
)
CASES = [
    FIRST,
    *[
        Case(
            200,
            shape,
            "float32",
            rows(1.2, 1.2, 1.2, 1.2) + lga_rows(1.2, 1.2),
            rounds=5,
            steps=10,
            programs=8,
        )
        for shape in (SMALL, LOW_RANK)
    ],
    Case(4, LARGE, "bfloat16", rows(1.25) + NARROW, rounds=9),
    Case(4, LARGE, "float16", rows(1.5) + NARROW, rounds=9),
    Case(4, LARGE, "float64", rows(), rounds=9),
    Case(4, LARGE, "complex64", rows(), rounds=9),
]


def once(limit: float | None, lga: float, adan: float, adan_agr: float):
    """What is done once a run, all of it beside AdamW."""
    return [
        Row("optax.adamw again", "optax.adamw"),
        Row("chain(agr, optax.adamw)", "optax.adamw", limit),
        Row("adamw_agr", "optax.adamw", limit),
        Row("chain(AGR as printed, optax.adamw)", "optax.adamw"),
        Row("chain(lga, optax.adamw)", "optax.adamw", lga),
        Row("optax.adan", "optax.adamw"),
        Row("chain(AGR as printed, optax.adan)", "optax.adamw"),
        Row("adan", "optax.adamw", adan),
        Row("adan_agr", "optax.adamw", adan_agr),
    ]


ONCE = {
    "compilation": [
        Case(100, (16, 16), "float32", once(1.5, 1.5, 2.1, 2.4), rounds=5),
        Case(1000, (16, 16), "float32", once(1.5, 1.5, 2.1, 2.4), rounds=3),
    ],
    "tracing": [
        Case(1000, (16, 16), "float32", once(1.5, 1.5, 2.2, 2.4), rounds=5)
    ],
    "abstract init": [
        Case(1000, (16, 16), "float32", once(1.5, 1.5, 2.2, 2.2), rounds=9)
    ],
}


def methods_of(case: Case) -> list[str]:
    named = [name for row in case.rows for name in (row.baseline, row.method)]
    return list(dict.fromkeys(named))


# What only its memory is asked of.
RESTARTS = "adan, restarts", "adan_agr, restarts"
RESERVED = [
    Case(
        4,
        LARGE,
        dtype,
        [
            *rows(),
            *lga_rows(None, None),
            *[Row(name, "optax.adan") for name in RESTARTS],
        ],
    )
    for dtype in ("float32", "bfloat16", "float16")
]
