"""LGA against a tuned rate, momentum, Adam and sign descent, by budget."""

from collections.abc import Sequence

import numpy as np

from benchmarks.reporting import paired, tables, verdicts
from benchmarks.studies import _lga_grids as grids
from benchmarks.study import Preset, Primary, Result, Study

BUDGETS = (2, 8, 30)
LONGEST = grids.tuned(f"{BUDGETS[-1]} epochs")
GRIDS = {
    "sgd": (grids.alone("sgd"), None),
    "momentum": (grids.momenta(), "sgd"),
    "adam": (grids.alone("adam"), "sgd"),
    "sign+sgd": (grids.with_sign("sgd", falls=False), "sgd"),
    "falling+sgd": (grids.with_sign("sgd", falls=True), "sgd"),
    "lga+sgd": (grids.with_lga("sgd"), "sgd"),
    "sign+adam": (grids.with_sign("adam", falls=False), "adam"),
    "falling+adam": (grids.with_sign("adam", falls=True), "adam"),
    "lga+adam": (grids.with_lga("adam"), "adam"),
}


def stopped_early(study: Study, result: Result) -> Sequence[str]:
    """Returns a part of a page: what was tuned for the longest, on its way."""
    places, chosen = verdicts.by_place(result), verdicts.choices(study, result)
    (metric, *_), losses = study.metrics, {}
    for name in GRIDS:
        place = chosen.get((LONGEST, grids.tuned(name)))
        runs = places.get(place, {}) if place else {}
        if runs and not verdicts.diverged(runs):
            losses[name] = {s: c.curves[metric.key] for s, c in runs.items()}
    rows = []
    for name, curves in losses.items():
        plain = name.rpartition("+")[2]
        with_lga = losses.get(f"lga+{'adam' if plain == 'adam' else 'sgd'}", {})
        row = [name]
        for epochs in BUDGETS:
            ours, theirs = (
                {s: c[epochs] for s, c in each.items() if len(c) > epochs}
                for each in (curves, with_lga)
            )
            mean = np.mean([*ours.values()]) if ours else np.nan
            row.append(f"{mean:.{metric.digits}f}")
            effect = paired.compare(ours, theirs)
            row.append(
                f"{effect.mean:+.{metric.digits}f}"
                f" [{effect.low:+.{metric.digits}f},"
                f" {effect.high:+.{metric.digits}f}]"
                if np.isfinite(effect.low) and with_lga is not curves
                else tables.NONE
            )
        rows.append(row)
    if not rows:
        return []
    header = ["chosen for the longest"]
    for epochs in BUDGETS:
        header += [f"{epochs} epochs", "minus LGA"]
    return [
        "## Stopped early",
        "Where no budget is known beforehand: what validation chose for"
        f" {BUDGETS[-1]} epochs, and its {metric.label} on the way there; what"
        " falls is to be 0 at the end of the run. Beside each the difference to"
        " LGA around the same optimizer, with its 95 % interval; none of it is"
        " tested.",
        tables.markdown(header, rows, range(1, len(header))),
    ]


STUDY = grids.grid_study(
    title="LGA against a tuned rate, by budget",
    question=(
        "Is LGA ever ahead of the best rate, of momentum, of Adam or of sign"
        " descent, each tuned alike, and how much flatter is the loss over the"
        " rate with it, after 2, 8 and 30 epochs?"
    ),
    places={f"{epochs} epochs": {"epochs": epochs} for epochs in BUDGETS},
    grids=GRIDS,
    beside={"lga+sgd": "falling+sgd", "lga+adam": "falling+adam"},
    drawn={
        plain: grids.lines(plain, {"gamma": grids.with_lga(plain)})
        for plain in grids.FACTORS
    },
    more=[stopped_early],
    make=grids.make,
    primary=Primary(
        grids.tuned("2 epochs"), grids.tuned("lga+sgd"), "test_loss"
    ),
    presets={
        "smoke": Preset(
            {**grids.COMMON, "limits": grids.LIMITS["smoke"]},
            seeds=2,
            variants=[grids.at_rate("2 epochs", rate) for rate in (0.1, 0.3)],
            methods=["sgd", "falling-0.001+sgd", "lga-1e-05+sgd"],
        ),
        "small": Preset(
            {**grids.COMMON, "limits": grids.LIMITS["small"]}, seeds=8
        ),
        "paper": Preset(
            {**grids.COMMON, "limits": grids.LIMITS["paper"]},
            seeds=10,
            accelerator=True,
        ),
    },
)
