"""Runs what is missing of a study.

The last bits of a number depend on which seeds were trained in one program. The
seeds of a plan are therefore cut into the same groups however much of it is
finished, and a group that lacks a cell is trained as a whole: a run that was
killed resumes to what it would have been.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import json
import math
import pathlib
import time
from typing import Any, NamedTuple
import zlib

import jax
import numpy as np

from benchmarks.runs import cells, files
from benchmarks.study import (
    Cell,
    Configuration,
    Data,
    Job,
    Key,
    Outcome,
    Settings,
    Study,
)


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


class Group(NamedTuple):
    """Seeds of a variant and method that one program trains."""

    variant: str
    method: str
    seeds: Sequence[int]
    missing: Sequence[int]  # Those that have no cell.
    configuration: Settings  # Of each of its cells.


class Done(NamedTuple):
    """What came of a run."""

    folder: pathlib.Path
    finished: int  # Cells that this run added.
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
    _check_known("preset", [preset], study.presets, name)
    chosen = study.presets[preset]
    methods = methods or study.to_run(chosen)
    variants = variants or chosen.variants or list(study.variants)
    _check_known("method", methods, study.methods, name)
    _check_known("variant", variants, study.variants, name)
    for method in methods:
        if study.methods[method].not_run:
            why = study.methods[method].not_run
            raise ValueError(f"{method!r} of {name} cannot be run: {why}")
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
            f" {kind}s are {', '.join(map(repr, known))}"
        )


def run(
    plan: Plan,
    start: Callable[[int], None] = lambda total: None,
    advance: Callable[[str, int], None] = lambda label, steps: None,
) -> Done:
    """Trains every group of seeds of which a cell is missing.

    Args:
      plan: what to run.
      start: called once with the number of progress steps to come.
      advance: called with a label and the number of steps that are done.
    """
    study = plan.study
    data = study.load(_settings(plan), plan.data_dir)
    shared = _shared_configuration(plan, data)
    folder = cells.run_folder(plan.out, shared)
    files.put_half_written_aside(folder)
    files.write_atomically(
        folder / cells.CONFIGURATION, files.to_json(cells.as_json(shared))
    )
    groups = _groups(plan, folder, shared)
    unfinished = [group for group in groups if group.missing]
    start(sum(study.steps(_settings(plan, g.variant)) for g in unfinished))
    for group in unfinished:
        label = f"{group.method} {group.variant}".strip()
        found = _train(plan, group, data, functools.partial(advance, label, 1))
        _save(folder, group, found)
    planned = sum(len(group.seeds) for group in groups)
    finished = sum(len(group.missing) for group in unfinished)
    return Done(folder, finished, planned - finished)


def _save(folder: pathlib.Path, group: Group, found: Sequence[Cell]) -> None:
    """Saves what a group lacked; raises the first error after all were tried.

    They were trained together: one that cannot be written takes no other along.
    """
    errors = []
    for cell in found:
        if cell.seed in group.missing:
            try:
                cells.save(folder, cell, group.configuration, len(found))
            except files.WriteError as error:
                errors.append(error)
    if errors:
        raise errors[0]


def fingerprint(description: str, data: Any) -> Data:
    """Returns how much data there is, and a checksum of it."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(data)]
    numbers = [leaf for leaf in leaves if leaf.dtype.kind in "biuf"]
    checksum = 0
    for leaf in numbers:
        checksum = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), checksum)
    shapes = [list(leaf.shape) for leaf in numbers]
    return Data(description, shapes, f"{checksum:08x}")


def _settings(plan: Plan, variant: str | None = None) -> Settings:
    """Returns the settings of a run, or those of one of its variants."""
    own = {} if variant is None else plan.study.variants[variant]
    preset = plan.study.presets[plan.preset]
    return {**preset.settings, **plan.overrides, **own}


def _shared_configuration(plan: Plan, data: Any) -> Configuration:
    """Returns what all cells of a run share, as it is read from JSON."""
    shared = Configuration(
        plan.name,
        plan.preset,
        _settings(plan),
        plan.study.model,
        fingerprint(plan.study.data, data),
    )
    return cells.from_json(json.loads(json.dumps(cells.as_json(shared))))


def _groups(
    plan: Plan, folder: pathlib.Path, shared: Configuration
) -> list[Group]:
    """Returns all groups of a plan, whatever is finished already."""
    groups = []
    for variant in plan.variants:
        size = _settings(plan, variant).get("seeds_at_once") or len(plan.seeds)
        for method in plan.methods:
            wanted = cells.configuration_of(plan.study, shared, variant, method)
            for first in range(0, len(plan.seeds), size):
                seeds = list(plan.seeds[first : first + size])
                missing = [
                    seed
                    for seed in seeds
                    if cells.load(folder, Key(variant, method, seed), wanted)
                    is None
                ]
                groups.append(Group(variant, method, seeds, missing, wanted))
    return groups


def _train(
    plan: Plan, group: Group, data: Any, on_progress: Callable[[], None]
) -> list[Cell]:
    """Trains a whole group; returns what was measured, seed by seed."""
    job = Job(
        group.method,
        _settings(plan, group.variant),
        group.seeds,
        data,
        on_progress,
        plan.study.methods[group.method].arguments,
    )
    begin = time.perf_counter()
    outcomes = plan.study.run(job)
    wall = (time.perf_counter() - begin) / len(group.seeds)
    return [
        _cell(group, seed, outcome, wall)
        for seed, outcome in zip(group.seeds, outcomes, strict=True)
    ]


def _cell(group: Group, seed: int, outcome: Outcome, wall: float) -> Cell:
    curves = {k: [float(x) for x in v] for k, v in outcome.curves.items()}
    final = {k: float(v) for k, v in outcome.final.items()}
    numbers = [*final.values(), *(x for v in curves.values() for x in v)]
    return Cell(
        group.variant,
        group.method,
        seed,
        diverged=not all(map(math.isfinite, numbers)),
        wall_seconds=round(wall, 3),
        digest=cells.digest(group.configuration),
        curves=curves,
        final=final,
    )
