"""Each page's baselines against themselves: what a page can see at all."""

from collections.abc import Sequence
import functools
import pathlib
from typing import Any

from benchmarks import studies
from benchmarks.study import (
    Curve,
    Job,
    Method,
    Metric,
    Outcome,
    Preset,
    Primary,
    Settings,
    Study,
)
from benchmarks.training import loop

# Of a weight, in float32 about what another machine's rounding changes.
NOISE = {"weight_noise": 1e-7}
# The pages whose methods are compared, and that train weights; a run of those
# for accelerators takes too long to be made twice.
PAGES = (
    *("agr-digits", "agr-heavy-tails", "agr-label-noise", "agr-mnist-cnn"),
    *("agr-mnist-lenet", "agr-mnist-mlp", "agr-small-matrices"),
    *("agr-suspension", "demo", "gal-digits", "gal-regression", "lga-floor"),
)
# Half an hour on two cores is enough for these.
TOO_LONG = ("agr-mnist-cnn", "agr-mnist-lenet")
PLACES = ("first", "second", "third")


def name_of(page: str, variant: str, baseline: str) -> str:
    return ": ".join(filter(None, (page, variant, baseline)))


def _variants() -> dict[str, Settings]:
    found = {}
    for page in PAGES:
        study = studies.find(page)
        small = study.presets["small"]
        run = study.to_run(small)
        baselines = dict.fromkeys(study.methods[m].baseline for m in run)
        for variant in small.variants or study.variants:
            for baseline in baselines:
                # A method that is itself compared is no baseline of a page.
                if baseline and study.methods[baseline].baseline is None:
                    found[name_of(page, variant, baseline)] = {
                        "page": page,
                        "variant": variant,
                        "baseline": baseline,
                    }
    return found


VARIANTS = _variants()
SMOKE = ["agr-digits: lr 0.001: adamw"]
SMALL = [
    name
    for name, where in VARIANTS.items()
    if where["page"] not in TOO_LONG or where["variant"] == "lr 0.001"
    if "other seeds" not in where["variant"]
    if where["page"] != "agr-mnist-cnn"
]


def page_settings(settings: Settings) -> Settings:
    """Returns the settings that a page's small preset has in a variant."""
    study = studies.find(settings["page"])
    preset = study.presets["small"].settings
    chosen = {k: settings[k] for k in ("epochs",) if k in settings}
    return {**preset, **study.variants[settings["variant"]], **chosen}


def load(settings: Settings, data_dir: pathlib.Path | None) -> dict[str, Any]:
    found = {}
    for page in settings["pages"]:
        study = studies.find(page)
        found[page] = study.load(study.presets["small"].settings, data_dir)
    return found


def run(job: Job) -> Sequence[Outcome]:
    page, baseline = job.settings["page"], job.settings["baseline"]
    study = studies.find(page)
    inner = job._replace(
        method=baseline,
        settings=page_settings(job.settings),
        data=job.data[page],
        arguments=study.methods[baseline].arguments,
    )
    with loop.weight_noise(job.arguments.get("weight_noise", 0.0)):
        return [_outcome(study, each) for each in study.run(inner)]


def _outcome(study: Study, outcome: Outcome) -> Outcome:
    """Returns a page's metrics by their places, in the units of the page."""
    shown = zip(PLACES, study.tested, strict=False)
    final = {
        place: metric.factor * float(outcome.final[metric.key])
        for place, metric in shown
    }
    curve = outcome.curves[study.curves[0].key]
    return Outcome({"first": [float(x) for x in curve]}, final)


def _pages(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(VARIANTS[name]["page"] for name in names))


@functools.cache
def _data_sets() -> list[str]:
    sets = [s for page in PAGES for s in studies.find(page).data_sets]
    return list(dict.fromkeys(sets))


STUDY = Study(
    title="A/A: each page's baselines against themselves",
    question=(
        "How far do runs part that differ by rounding errors alone, and so,"
        " which differences can a page see, and how far do its numbers repeat"
        " on another machine?"
    ),
    tables="none; all three",
    data_sets=_data_sets(),
    data="those of each page",
    model="that of each page",
    # Both directions are the same: what is found here is a false alarm.
    metrics=[
        Metric(place, f"the page's {place} metric", True, 1.0, 5)
        for place in PLACES
    ],
    curves=[Curve("first", "the page's first curve")],
    methods={
        "once": Method("the page's baseline, as it is"),
        "again": Method(
            "the same with normal noise of 1e-7 in its initial weights",
            "once",
            arguments=NOISE,
        ),
    },
    variants=VARIANTS,
    primary=Primary("agr-digits: lr 0.001: adamw", "again", "first"),
    presets={
        "smoke": Preset(
            {"pages": _pages(SMOKE), "epochs": 1}, seeds=2, variants=SMOKE
        ),
        "small": Preset({"pages": _pages(SMALL)}, seeds=5, variants=SMALL),
        "paper": Preset({"pages": list(PAGES)}, seeds=20),
    },
    load=load,
    run=run,
    steps=lambda settings: studies.find(settings["page"]).steps(
        page_settings(settings)
    ),
)
