"""A study that trains nothing, and cells of it."""

import json
import math

import numpy as np

from benchmarks import cells, runner, study
from benchmarks.study import Curve, Method, Metric, Outcome, Preset, Study

NAME = "made-up"
METHODS = {
    "plain": Method("the baseline"),
    "claimed": Method("the paper's", "plain", claimed=True),
    "control": Method("a control", "plain"),
}
VARIANTS = {"slow": {"rate": 0.1}, "fast": {"rate": 1.0}}


def load(settings, data_dir):
    del settings, data_dir
    return np.arange(6, dtype=np.float32)


def outcome(method, seed, rate):
    score = 0.5 + 0.01 * seed + 0.1 * rate * len(method)
    return Outcome({"score": [0.5, score]}, {"score": score})


def run(job):
    for _ in range(job.settings["epochs"]):
        job.on_progress()
    rate = job.settings.get("rate", 0.0)
    return [outcome(job.method, seed, rate) for seed in job.seeds]


STUDY = Study(
    title="A made-up study",
    question="Does it work?",
    data_sets=[],
    data="six numbers",
    model="none",
    metrics=[Metric("score", "score, %", True, 100.0, 1)],
    curves=[Curve("score", "score")],
    methods=METHODS,
    presets={
        "smoke": Preset({"epochs": 1}, seeds=2, variants=["slow"]),
        "small": Preset({"epochs": 2}, seeds=3),
        "paper": Preset({"epochs": 3}, seeds=4),
    },
    load=load,
    run=run,
    variants=VARIANTS,
)
ONE = STUDY._replace(variants={"": {}})
LOSS = Metric("loss", "loss", False, 1.0, 2)
TWO = ONE._replace(metrics=[*ONE.metrics, LOSS])

NAN = math.nan
PNG = b"\x89PNG\r\n\x1a\n"
PLAIN = [0.50, 0.60, 0.70]
BETTER = [0.61, 0.71, 0.82]
WORSE = [0.39, 0.49, 0.58]
SPREAD = [0.40, 0.60, 0.80]


def only_study(monkeypatch):
    """Makes the made-up study the only one; returns how to change it."""

    def become(changed):
        monkeypatch.setattr(study, "find", {NAME: changed}.__getitem__)

    monkeypatch.setattr(study, "names", lambda: [NAME])
    become(STUDY)
    return become


def run_into(out, study=STUDY, preset="small", **choices):
    return runner.run(runner.plan(study, NAME, preset, out=out, **choices))


def contents(folder):
    """Returns the files of a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def result_of(scores, preset="small", variant=""):
    """Returns a result: scores are each method's, by seed."""
    configuration = {
        "study": NAME,
        "preset": preset,
        "settings": dict(STUDY.presets[preset].settings),
        "model": STUDY.model,
        "data": {"description": STUDY.data},
    }
    return {
        "study": NAME,
        "preset": preset,
        "configuration": configuration,
        "versions": [{"jax": "0.0.1"}],
        "devices": [{"platform": "cpu", "kind": "abacus", "cpu_cores": 1}],
        "wall_seconds": 12.0,
        "cells": [
            {
                "variant": variant,
                "method": method,
                "seed": seed,
                "diverged": not math.isfinite(score),
                "wall_seconds": 1.0,
                "curves": {"score": [0.5, score]},
                "final": {"score": score},
            }
            for method, values in scores.items()
            for seed, score in enumerate(values)
        ],
    }


def rewrite(path, **fields):
    """Changes fields of a cell's file."""
    cell = json.loads(path.read_text()) | fields
    path.write_bytes(cells.to_json(cell))


def result_with_losses(scores, losses):
    result = result_of(scores)
    for cell in result["cells"]:
        cell["final"]["loss"] = losses[cell["method"]][cell["seed"]]
    return result


def table_row(text, method):
    (line,) = [x for x in text.splitlines() if x.startswith(f"| {method} |")]
    return [part.strip() for part in line.strip("|").split("|")]
