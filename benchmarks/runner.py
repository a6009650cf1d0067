"""Runs what is missing of a study, cell by cell."""

from collections.abc import Callable, Mapping, Sequence
import json
import math
import pathlib
import time
from typing import Any, NamedTuple
import zlib

import jax
import numpy as np

from benchmarks import cells
from benchmarks.study import Job, Outcome, Settings, Study


class Plan(NamedTuple):
    """What a run is made of."""

    study: Study
    name: str
    preset: str
    seeds: Sequence[int]
    methods: Sequence[str]
    variants: Sequence[str]
    out: pathlib.Path
    data_dir: pathlib.Path | None
    overrides: Settings


class Done(NamedTuple):
    """What came of a run."""

    folder: pathlib.Path
    finished: int  # Cells that this run trained.
    found: int  # Cells that were there before.


def plan(
    study: Study,
    name: str,
    preset: str,
    *,
    out: pathlib.Path,
    seeds: int | None = None,
    methods: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    data_dir: pathlib.Path | None = None,
    overrides: Settings | None = None,
) -> Plan:
    """Returns a preset's plan with what the user chose instead."""
    chosen = study.presets[preset]
    methods = methods or chosen.methods or list(study.methods)
    variants = variants or chosen.variants or list(study.variants)
    _check_known("method", methods, study.methods, name)
    _check_known("variant", variants, study.variants, name)
    return Plan(
        study,
        name,
        preset,
        seeds=range(chosen.seeds if seeds is None else seeds),
        methods=methods,
        variants=variants,
        out=out,
        data_dir=data_dir,
        overrides=overrides or {},
    )


def _check_known(
    kind: str, chosen: Sequence[str], known: Mapping[str, Any], name: str
) -> None:
    unknown = [one for one in chosen if one not in known]
    if unknown:
        raise ValueError(
            f"there is no {kind} {', '.join(map(repr, unknown))} in {name}; the"
            f" {kind}s are {', '.join(known)}"
        )


def run(
    plan: Plan,
    start: Callable[[int], None] = lambda total: None,
    advance: Callable[[str, int], None] = lambda label, steps: None,
) -> Done:
    """Trains every cell that is not there yet.

    Args:
      plan: what to run.
      start: called once with the number of progress steps to come.
      advance: called with a label and the number of steps that are done.
    """
    study = plan.study
    settings = {**study.presets[plan.preset].settings, **plan.overrides}
    data = study.load(settings, plan.data_dir)
    shared = {
        "study": plan.name,
        "preset": plan.preset,
        "settings": settings,
        "model": study.model,
        "data": {"description": study.data, **fingerprint(data)},
    }
    shared = json.loads(json.dumps(shared))
    folder = cells.run_folder(plan.out, plan.name, plan.preset, shared)
    cells.write_atomically(folder / "configuration.json", cells.to_json(shared))
    missing, found = _missing(plan, folder, shared)
    work = [
        (
            variant,
            method,
            together,
            {**settings, **study.variants[variant]},
        )
        for (variant, method), seeds in missing.items()
        for together in _groups(seeds, settings.get("seeds_at_once"))
    ]
    start(sum(study.steps(merged) for *_, merged in work))
    finished = 0
    for variant, method, seeds, merged in work:
        label = f"{method} {variant}".strip()
        begin = time.perf_counter()
        outcomes = study.run(
            Job(
                method,
                merged,
                seeds,
                data,
                lambda label=label: advance(label, 1),
            )
        )
        wall = (time.perf_counter() - begin) / len(seeds)
        for seed, outcome in zip(seeds, outcomes, strict=True):
            key = cells.Key(variant, method, seed)
            cells.save(
                folder,
                key,
                cell_configuration(plan.study, shared, key),
                _measured(outcome, wall, len(seeds)),
            )
            finished += 1
    return Done(folder, finished, found)


def cell_configuration(
    study: Study, shared: Settings, key: cells.Key
) -> dict[str, Any]:
    """Returns all that a cell's numbers depend on, but for the seed."""
    return {
        **shared,
        "variant_settings": dict(study.variants[key.variant]),
        "method_description": study.methods[key.method].description,
    }


def fingerprint(data: Any) -> dict[str, Any]:
    """Returns how much data there is, and a checksum of it."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(data)]
    numbers = [leaf for leaf in leaves if leaf.dtype.kind in "biuf"]
    checksum = 0
    for leaf in numbers:
        checksum = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), checksum)
    return {
        "shapes": [list(leaf.shape) for leaf in numbers],
        "crc32": f"{checksum:08x}",
    }


def _missing(
    plan: Plan, folder: pathlib.Path, shared: Settings
) -> tuple[dict[tuple[str, str], list[int]], int]:
    missing, found = {}, 0
    for variant in plan.variants:
        for method in plan.methods:
            for seed in plan.seeds:
                key = cells.Key(variant, method, seed)
                wanted = cell_configuration(plan.study, shared, key)
                if cells.load(folder, key, wanted) is None:
                    missing.setdefault((variant, method), []).append(seed)
                else:
                    found += 1
    return missing, found


def _groups(seeds: list[int], size: int | None) -> list[list[int]]:
    size = size or len(seeds)
    return [seeds[i : i + size] for i in range(0, len(seeds), size)]


def _measured(outcome: Outcome, wall: float, together: int) -> dict[str, Any]:
    curves = {k: [float(x) for x in v] for k, v in outcome.curves.items()}
    final = {k: float(v) for k, v in outcome.final.items()}
    numbers = [*final.values(), *(x for v in curves.values() for x in v)]
    return {
        "wall_seconds": round(wall, 3),
        "seeds_together": together,
        "diverged": not all(map(math.isfinite, numbers)),
        "curves": curves,
        "final": final,
    }
