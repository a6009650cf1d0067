"""What the paired comparisons of a run come to, in words."""

from collections.abc import Collection, Iterable, Mapping, Sequence
import math
from typing import Any, NamedTuple

from benchmarks import data, statistics
from benchmarks.statistics import Effect, Summary
from benchmarks.study import Method, Study

SIGNIFICANT = 0.05
SMOKE = "smoke run"
ALONE = "without a baseline"
LEFT_OUT = "not run, left out or not reached"
BEYOND = "not run, not part of this preset"
WORDS = {
    "reproduced": "better than the baseline, Holm p < 0.05, as the paper claims"
    " of the method",
    "better": "better than the baseline, Holm p < 0.05, where the paper claims"
    " nothing",
    "harmful": "worse than the baseline, Holm p < 0.05",
    "no effect found": "Holm p of 0.05 or more, which does not show that there"
    " is no effect",
}

Result = Mapping[str, Any]  # What ``report.collect`` returns.
Cells = Mapping[int, Mapping[str, Any]]  # Of one variant and method, by seed.


class Row(NamedTuple):
    """A method in a variant, beside its baseline."""

    variant: str
    method: str
    seeds: int
    diverged: int
    summaries: Sequence[Summary]  # One for each metric.
    effect: Effect | None  # On the first metric; None without a baseline.
    p: float  # After Holm over the whole run.
    verdict: str


def variants(study: Study, result: Result) -> list[str]:
    """Returns the preset's variants, and what else was run."""
    preset = study.presets.get(result["preset"])
    planned = (preset and preset.variants) or study.variants
    return _with_others(planned, (c["variant"] for c in result["cells"]))


def methods(study: Study, result: Result) -> list[str]:
    """Returns the preset's methods, and what else was run."""
    preset = study.presets.get(result["preset"])
    planned = (preset and preset.methods) or study.methods
    return _with_others(planned, (c["method"] for c in result["cells"]))


def method(study: Study, name: str) -> Method:
    return study.methods.get(name, Method("no longer a part of the study"))


def by_place(result: Result) -> dict[tuple[str, str], dict[int, Any]]:
    """Returns the cells by (variant, method) and by seed."""
    places: dict[tuple[str, str], dict[int, Any]] = {}
    for cell in result["cells"]:
        place = places.setdefault((cell["variant"], cell["method"]), {})
        place[cell["seed"]] = cell
    return places


def rows(study: Study, result: Result) -> list[Row]:
    """Returns all comparisons, variant by variant."""
    places = by_place(result)
    order = [
        (variant, name)
        for variant in variants(study, result)
        for name in methods(study, result)
    ]
    effects = [_effect(study, places, place) for place in order]
    adjusted = statistics.holm(
        [math.nan if effect is None else effect.p for effect in effects]
    )
    smoke = result["preset"] == "smoke"
    unplanned = beyond_preset(study, result)
    found = []
    for place, effect, p in zip(order, effects, adjusted, strict=True):
        runs = places.get(place, {})
        if runs:
            verdict = _verdict(study, places, place, effect, p)
        else:
            beyond = any(x in y for x, y in zip(place, unplanned, strict=True))
            verdict = BEYOND if beyond else LEFT_OUT
            if method(study, place[1]).not_run:
                verdict = f"not run, {method(study, place[1]).not_run}"
        found.append(
            Row(
                *place,
                len(runs),
                diverged(runs),
                [_summary(runs, metric.key) for metric in study.metrics],
                effect,
                p,
                SMOKE if smoke and verdict in WORDS else verdict,
            )
        )
    return found


def sentence(study: Study, result: Result) -> str:
    """Returns the verdicts of all methods, in one line."""
    if result["preset"] == "smoke":
        return f"{SMOKE}: shows only that the program runs"
    verdicts: dict[str, list[str]] = {}
    for row in rows(study, result):
        if row.effect is not None:
            verdicts.setdefault(row.method, []).append(row.verdict)
    sums: dict[str, list[str]] = {}
    for name, words in verdicts.items():
        sums.setdefault(_sum_up(words), []).append(name)
    if not sums:
        return "no verdict: its methods are measured, not compared"
    return "; ".join(f"{', '.join(names)}: {s}" for s, names in sums.items())


def is_compared(rows: Iterable[Row]) -> bool:
    """Returns whether any row has a baseline."""
    return any(row.effect is not None for row in rows)


def why_never_run(study: Study, at_hand: Collection[str]) -> str:
    """Returns why there is nothing of a study, from what its file says.

    Args:
        study: The study.
        at_hand: The data sets of the studies that were run.
    """
    small = study.presets.get("small")
    if small and small.accelerator:
        return "not run, made for an accelerator"
    missing = [
        name
        for name in study.data_sets
        if not data.is_installed(name) and name not in at_hand
    ]
    if missing:
        return f"not run, its data ({', '.join(missing)}) have to be fetched"
    return "not run, there are no cells of it in this folder"


def beyond_preset(study: Study, result: Result) -> tuple[list[str], list[str]]:
    """Returns the variants and methods that a preset does not plan."""
    preset = study.presets.get(result["preset"])
    if preset is None:
        return [], []
    variants, methods = preset.variants, preset.methods
    return (
        [v for v in study.variants if variants and v not in variants],
        [m for m in study.methods if methods and m not in methods],
    )


def diverged(runs: Cells) -> int:
    return sum(cell["diverged"] for cell in runs.values())


def _with_others(planned: Iterable[str], found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*planned, *sorted(set(found))]))


def _summary(runs: Cells, key: str) -> Summary:
    values = _values(runs, key)
    if not values:
        return Summary(0, math.nan, math.nan)
    return statistics.summarize(list(values.values()))


def _values(runs: Cells, key: str) -> dict[int, float]:
    # The accuracy of a network of nan is a number, but says nothing.
    return {
        seed: math.nan if cell["diverged"] else cell["final"].get(key, math.nan)
        for seed, cell in runs.items()
    }


def _effect(
    study: Study,
    places: Mapping[tuple[str, str], Cells],
    place: tuple[str, str],
) -> Effect | None:
    variant, name = place
    baseline = method(study, name).baseline
    if baseline is None:
        return None
    key = study.metrics[0].key
    return statistics.compare(
        _values(places.get(place, {}), key),
        _values(places.get((variant, baseline), {}), key),
    )


def _verdict(
    study: Study,
    places: Mapping[tuple[str, str], Cells],
    place: tuple[str, str],
    effect: Effect | None,
    p: float,
) -> str:
    variant, name = place
    runs = places[place]
    if diverged(runs):
        return f"diverged in {diverged(runs)} of {len(runs)}"
    contender = method(study, name)
    if contender.baseline is None or effect is None:
        used = {other.baseline for other in study.methods.values()}
        return "baseline" if name in used else ALONE
    others = places.get((variant, contender.baseline))
    if not others:
        return "baseline not run"
    if diverged(others):
        return f"baseline diverged in {diverged(others)} of {len(others)}"
    if effect.pairs < 2:
        return "fewer than 2 pairs"
    if not math.isfinite(effect.mean):
        return f"{study.metrics[0].label} was not measured"
    if not math.isfinite(p):
        return "the same difference in every pair, no test"
    if p >= SIGNIFICANT:
        return "no effect found"
    if (effect.mean > 0) != study.metrics[0].larger_is_better:
        return "harmful"
    return "reproduced" if contender.claimed else "better"


def _sum_up(words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    counts = {word: words.count(word) for word in dict.fromkeys(words)}
    parts = [f"{word} in {count}" for word, count in counts.items()]
    return f"{', '.join(parts)} of {len(words)} settings"
