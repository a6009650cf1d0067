"""What the paired comparisons of a run come to, in words."""

from collections.abc import Collection, Iterable, Mapping, Sequence
import math
from typing import NamedTuple

from benchmarks import data
from benchmarks.reporting import paired
from benchmarks.reporting.paired import Effect, Summary
from benchmarks.study import (
    Cell,
    Contender,
    Method,
    Metric,
    Primary,
    Result,
    Study,
)

SIGNIFICANT = 0.05
SMOKE = "smoke run"
ALONE = "without a baseline"
LEFT_OUT = "not run, left out or not reached"
BEYOND = "not run, not part of this preset"
NOTHING = "no effect found"
WORDS = {
    "reproduced": "better than the baseline, Holm p < 0.05, in the metric and"
    " of the method that the paper's claim is about, if often with other"
    " networks, data or settings",
    "better": "better than the baseline, Holm p < 0.05, in another metric or"
    " of a method of which the paper claims nothing",
    "harmful": "worse than the baseline, Holm p < 0.05",
    NOTHING: "Holm p of 0.05 or more, which does not show that there"
    " is no effect",
}
# For the screen.
SHORT = {
    "reproduced": "better than the baseline, p < 0.05, as the paper claims",
    "better": "better, p < 0.05, which the paper does not claim",
    "harmful": "worse, p < 0.05",
    NOTHING: "p of 0.05 or more",
}

Cells = Mapping[int, Cell]  # Of one variant and method, by seed.
Place = tuple[str, str]  # A variant and a method.


class Comparison(NamedTuple):
    """A method beside its baseline, in one metric."""

    metric: Metric
    effect: Effect
    p: float  # After Holm over all metrics and comparisons of the run.
    verdict: str
    is_primary: bool = False  # Then p is not corrected.

    @property
    def is_found(self) -> bool:
        return self.verdict in ("reproduced", "better", "harmful")


class Row(NamedTuple):
    """A method in a variant."""

    variant: str
    method: str
    seeds: int
    diverged: int
    summaries: Sequence[Summary]  # One for each metric.
    comparisons: Sequence[Comparison]  # In those tested, given a baseline.
    state: str  # What there is of it, in words.

    @property
    def verdict(self) -> str:
        """On the first metric."""
        return self.comparisons[0].verdict if self.comparisons else self.state


def variants(study: Study, result: Result) -> list[str]:
    """Returns the preset's variants, and what else was run."""
    preset = study.presets.get(result.preset)
    planned = (preset and preset.variants) or study.variants
    return _with_others(planned, (c.variant for c in result.cells))


def methods(study: Study, result: Result) -> list[str]:
    """Returns the preset's methods, and what else was run."""
    preset = study.presets.get(result.preset)
    planned = (preset and preset.methods) or study.methods
    return _with_others(planned, (c.method for c in result.cells))


def contenders(study: Study) -> Mapping[str, Contender]:
    return study.tuning.contenders if study.tuning else {}


def method(study: Study, name: str) -> Method:
    """Returns a method, or a contender as if it were one."""
    if name in contenders(study):
        contender = contenders(study)[name]
        return Method(contender.description, contender.baseline)
    return study.methods.get(name, Method("no longer a part of the study"))


def choices(study: Study, result: Result) -> dict[Place, Place]:
    """Returns what validation chose for each contender of each tuning.

    That is the best mean of those of which no seed diverged; a contender of
    which nothing was run is left out.
    """
    if study.tuning is None:
        return {}
    places, chosen = by_place(result), {}
    key, known, names = study.tuning
    for tuned, settings in names.items():
        for name, contender in known.items():
            means = {}
            for setting in settings:
                for tried in contender.methods:
                    runs = places.get((setting, tried), {})
                    mean = _summary(runs, key).mean
                    if math.isfinite(mean):
                        means[setting, tried] = mean
            if means:
                chosen[tuned, name] = min(means, key=means.__getitem__)
    return chosen


def is_grid(study: Study) -> bool:
    """Returns whether settings and methods are there to be chosen from alone.

    Nothing is compared at a setting of such a study.
    """
    known = study.methods.values()
    return bool(study.tuning) and not any(each.baseline for each in known)


def only_chosen(study: Study, result: Result) -> tuple[Study, Result]:
    """Returns a study of its contenders, and the cells that were chosen.

    Of contenders with the same methods, which are compared with several, it is
    the first.
    """
    first: dict[tuple[str, ...], str] = {}
    for name, contender in contenders(study).items():
        first.setdefault(tuple(contender.methods), name)
    known = {name: method(study, name) for name in first.values()}
    places = by_place(result)
    cells = [
        cell._replace(variant=tuned, method=name)
        for (tuned, name), place in choices(study, result).items()
        if name in known
        for cell in places[place].values()
    ]
    names = study.tuning.variants if study.tuning else {}
    chosen = study._replace(
        methods=known,
        variants={name: {} for name in names},
        tuning=None,
        presets={},
    )
    return chosen, result._replace(cells=cells)


def by_place(result: Result) -> dict[tuple[str, str], dict[int, Cell]]:
    """Returns the cells by (variant, method) and by seed."""
    places: dict[tuple[str, str], dict[int, Cell]] = {}
    for cell in result.cells:
        places.setdefault((cell.variant, cell.method), {})[cell.seed] = cell
    return places


def rows(study: Study, result: Result) -> list[Row]:
    """Returns all methods with their comparisons, variant by variant."""
    places = by_place(result)
    order = [
        (variant, name)
        for variant in variants(study, result)
        for name in methods(study, result)
    ]
    chosen = choices(study, result)
    places |= {tuned: places[place] for tuned, place in chosen.items()}
    order += chosen
    effects = [_effects(study, places, place) for place in order]
    primaries = [
        study.primary == Primary(*place, metric.key)
        for place, each in zip(order, effects, strict=True)
        for metric, _ in zip(study.tested, each, strict=False)
    ]
    p_values = [effect.p for each in effects for effect in each]
    # One family: a study looks for a difference in every metric. The primary
    # test was named before, and is none of it.
    others = iter(
        paired.holm(
            [
                p
                for p, is_primary in zip(p_values, primaries, strict=True)
                if not is_primary
            ]
        )
    )
    adjusted = iter(
        (p if is_primary else next(others), is_primary)
        for p, is_primary in zip(p_values, primaries, strict=True)
    )
    found = []
    for place, each in zip(order, effects, strict=True):
        runs = places.get(place, {})
        state = _state(study, result, places, place)
        comparisons = []
        for metric, effect in zip(study.tested, each, strict=False):
            p, is_primary = next(adjusted)
            verdict = state or _verdict(study, place[1], metric, effect, p)
            comparisons.append(
                Comparison(metric, effect, p, verdict, is_primary)
            )
        found.append(
            Row(
                *place,
                len(runs),
                diverged(runs),
                [_summary(runs, metric.key) for metric in study.metrics],
                comparisons,
                state,
            )
        )
    return found


def best_rows(study: Study, rows: Iterable[Row]) -> list[Row]:
    """Returns each method's best variant, by the first metric.

    None where no choice was to be made: of one variant, and of those that are
    not a user's to choose, such as the noise.
    """
    if study.tuning:  # Validation chooses.
        return []
    sign = 1 if study.metrics[0].larger_is_better else -1
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        if math.isfinite(row.summaries[0].mean):
            by_method.setdefault(row.method, []).append(row)
    measured = {row.variant for mine in by_method.values() for row in mine}
    settings = {
        key for name in measured for key in study.variants.get(name, {"": None})
    }
    if len(measured) < 2 or not settings <= {*study.tuned}:
        return []
    return [
        max(mine, key=lambda row: sign * row.summaries[0].mean)
        for mine in by_method.values()
    ]


def count_tests(rows: Iterable[Row]) -> int:
    """Returns how many tests Holm's family has."""
    return sum(
        math.isfinite(c.p) and not c.is_primary
        for row in rows
        for c in row.comparisons
    )


def primary(rows: Iterable[Row]) -> tuple[Row, Comparison] | None:
    """Returns the primary test, and the row that it is of."""
    for row in rows:
        for comparison in row.comparisons:
            if comparison.is_primary:
                return row, comparison
    return None


def sentences(study: Study, result: Result) -> list[str]:
    """Returns a line for each metric: which methods do what in it."""
    if result.preset == "smoke":
        return [f"{SMOKE}: shows only that the program runs"]
    compared = rows(study, result)
    if not is_compared(compared):
        return ["no verdict: its methods are measured, not compared"]
    lines = [
        f"{metric.label}: {_sum_up(compared, index)}"
        for index, metric in enumerate(study.tested)
    ]
    if found := primary(compared):
        row, comparison = found
        where = f" at {row.variant}" if row.variant else ""
        lines.insert(
            0,
            f"primary test, {row.method} in {comparison.metric.label}{where}:"
            f" {comparison.verdict}",
        )
    return lines


def legend(rows: Iterable[Row]) -> str:
    """Returns what the words of the rows' verdicts mean."""
    used = {c.verdict for row in rows for c in row.comparisons}
    parts = [
        f"{word} = {short}" for word, short in SHORT.items() if word in used
    ]
    return f"({'; '.join(parts)})" if parts else ""


def is_compared(rows: Iterable[Row]) -> bool:
    """Returns whether any row has a baseline."""
    return any(row.comparisons for row in rows)


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
    preset = study.presets.get(result.preset)
    if preset is None:
        return [], []
    variants, methods = preset.variants, preset.methods
    return (
        [v for v in study.variants if variants and v not in variants],
        [m for m in study.methods if methods and m not in methods],
    )


def diverged(runs: Cells) -> int:
    return sum(cell.diverged for cell in runs.values())


def _with_others(planned: Iterable[str], found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*planned, *sorted(set(found))]))


def _summary(runs: Cells, key: str) -> Summary:
    found = values(runs, key)
    if not found:
        return Summary(0, math.nan, math.nan)
    return paired.summarize(list(found.values()))


def values(runs: Cells, key: str) -> dict[int, float]:
    """Returns a number by seed, nan where the run diverged."""
    # The accuracy of a network of nan is a number, but says nothing.
    return {
        seed: math.nan if cell.diverged else cell.final.get(key, math.nan)
        for seed, cell in runs.items()
    }


def _effects(
    study: Study,
    places: Mapping[tuple[str, str], Cells],
    place: tuple[str, str],
) -> list[Effect]:
    """Returns the effect on each tested metric; none without a baseline."""
    variant, name = place
    baseline = method(study, name).baseline
    if baseline is None:
        return []
    ours, theirs = places.get(place, {}), places.get((variant, baseline), {})
    return [
        paired.compare(values(ours, metric.key), values(theirs, metric.key))
        for metric in study.tested
    ]


def _state(
    study: Study,
    result: Result,
    places: Mapping[tuple[str, str], Cells],
    place: tuple[str, str],
) -> str:
    """Returns why there is no verdict; nothing where there may be one."""
    variant, name = place
    runs = places.get(place)
    if not runs:
        unplanned = beyond_preset(study, result)
        beyond = any(x in y for x, y in zip(place, unplanned, strict=True))
        if why := method(study, name).not_run:
            return f"not run, {why}"
        return BEYOND if beyond else LEFT_OUT
    if diverged(runs):
        return f"diverged in {diverged(runs)} of {len(runs)}"
    baseline = method(study, name).baseline
    if baseline is None:
        known = [*study.methods.values(), *contenders(study).values()]
        used = {other.baseline for other in known}
        return "baseline" if name in used else ALONE
    others = places.get((variant, baseline))
    if not others:
        return "baseline not run"
    if diverged(others):
        return f"baseline diverged in {diverged(others)} of {len(others)}"
    if len(runs.keys() & others.keys()) < 2:
        return "fewer than 2 pairs"
    return SMOKE if result.preset == "smoke" else ""


def _verdict(
    study: Study, name: str, metric: Metric, effect: Effect, p: float
) -> str:
    if not math.isfinite(effect.mean):
        return f"{metric.label} was not measured"
    if not math.isfinite(p):
        return "the same difference in every pair, no test"
    if p >= SIGNIFICANT:
        return NOTHING
    if (effect.mean > 0) != metric.larger_is_better:
        return "harmful"
    # The papers' claims are about what a study measures first.
    is_claim = method(study, name).claimed and metric == study.metrics[0]
    return "reproduced" if is_claim else "better"


def _sum_up(compared: Iterable[Row], index: int) -> str:
    """Returns what was found in one metric, methods with the same together."""
    verdicts: dict[str, list[str]] = {}
    for row in compared:
        if row.comparisons:
            verdict = row.comparisons[index].verdict
            verdicts.setdefault(row.method, []).append(verdict)
    sums: dict[str, list[str]] = {}
    for name, words in verdicts.items():
        if set(words) != {NOTHING}:
            sums.setdefault(_counted(words), []).append(name)
    parts = [f"{', '.join(names)} {words}" for words, names in sums.items()]
    if any(NOTHING in words for words in verdicts.values()):
        parts.append(f"else {NOTHING}" if parts else NOTHING)
    return "; ".join(parts)


def _counted(words: Sequence[str]) -> str:
    """Returns a method's verdicts over the settings, but for "nothing"."""
    if len(words) == 1:
        return words[0]
    counts = {word: words.count(word) for word in words if word != NOTHING}
    parts = [f"{word} in {count}" for word, count in counts.items()]
    return f"{', '.join(parts)} of {len(words)} settings"
