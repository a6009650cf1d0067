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

from benchmarks import cells, writing
from benchmarks.study import Job, Outcome, Settings, Study, methods_to_run


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
    chosen = study.presets[preset]
    methods = methods or methods_to_run(study, chosen)
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
    folder = cells.run_folder(plan.out, plan.name, plan.preset, shared)
    writing.put_half_written_aside(folder)
    writing.write_atomically(
        folder / "configuration.json", cells.to_json(shared)
    )
    groups = _groups(plan, folder, shared)
    unfinished = [group for group in groups if group.missing]
    start(sum(study.steps(_settings(plan, g.variant)) for g in unfinished))
    for group in unfinished:
        label = f"{group.method} {group.variant}".strip()
        measured = _train(
            plan, group, data, functools.partial(advance, label, 1)
        )
        _save(study, folder, shared, group, measured)
    planned = sum(len(group.seeds) for group in groups)
    finished = sum(len(group.missing) for group in unfinished)
    return Done(folder, finished, planned - finished)


def _save(
    study: Study,
    folder: pathlib.Path,
    shared: Settings,
    group: Group,
    measured: Mapping[int, Mapping[str, Any]],
) -> None:
    """Saves what a group lacked; raises the first error after all were tried.

    They were trained together: one that cannot be written takes no other along.
    """
    errors = []
    for seed in group.missing:
        key = cells.Key(group.variant, group.method, seed)
        configuration = cell_configuration(study, shared, key)
        try:
            cells.save(folder, key, configuration, measured[seed])
        except writing.WriteError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def cell_configuration(
    study: Study, shared: Settings, key: cells.Key
) -> dict[str, Any]:
    """Returns all that a cell's numbers depend on, but for the seed."""
    method = study.methods[key.method]
    given = {"method_arguments": method.arguments} if method.arguments else {}
    return {
        **shared,
        "variant_settings": dict(study.variants[key.variant]),
        "method_description": method.description,
        **given,
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


def _settings(plan: Plan, variant: str | None = None) -> Settings:
    """Returns the settings of a run, or those of one of its variants."""
    own = {} if variant is None else plan.study.variants[variant]
    preset = plan.study.presets[plan.preset]
    return {**preset.settings, **plan.overrides, **own}


def _shared_configuration(plan: Plan, data: Any) -> dict[str, Any]:
    """Returns what all cells of a run share, as it is read from JSON."""
    shared = {
        "study": plan.name,
        "preset": plan.preset,
        "settings": _settings(plan),
        "model": plan.study.model,
        "data": {"description": plan.study.data, **fingerprint(data)},
    }
    return json.loads(json.dumps(shared))


def _groups(plan: Plan, folder: pathlib.Path, shared: Settings) -> list[Group]:
    """Returns all groups of a plan, whatever is finished already."""
    groups = []
    for variant in plan.variants:
        size = _settings(plan, variant).get("seeds_at_once") or len(plan.seeds)
        for method in plan.methods:
            for first in range(0, len(plan.seeds), size):
                seeds = list(plan.seeds[first : first + size])
                missing = [
                    seed
                    for seed in seeds
                    if not _is_there(
                        plan, folder, shared, cells.Key(variant, method, seed)
                    )
                ]
                groups.append(Group(variant, method, seeds, missing))
    return groups


def _is_there(
    plan: Plan, folder: pathlib.Path, shared: Settings, key: cells.Key
) -> bool:
    wanted = cell_configuration(plan.study, shared, key)
    return cells.load(folder, key, wanted) is not None


def _train(
    plan: Plan, group: Group, data: Any, on_progress: Callable[[], None]
) -> dict[int, dict[str, Any]]:
    """Trains a whole group; returns what was measured, by seed."""
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
    together = len(group.seeds)
    wall = (time.perf_counter() - begin) / together
    return {
        seed: _measured(outcome, wall, together)
        for seed, outcome in zip(group.seeds, outcomes, strict=True)
    }


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
