"""A study that trains nothing, and cells of it."""

import json
import math

import numpy as np

from benchmarks import studies
from benchmarks.reporting import report
from benchmarks.runs import files, runner
from benchmarks.study import (
    Cell,
    Configuration,
    Curve,
    Data,
    Device,
    Method,
    Metric,
    Outcome,
    Preset,
    Result,
    Study,
)

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

# Commas within names, also without a space and where a part is a name, too;
# what a shell or an option's parser would read as something else.
HARD_NAMES = [
    "a",
    "a, b",
    "c, d",
    "c,d",  # Another name.
    "b, e, f",
    "Student's t",
    'the "best", $HOME * `ls`',
    "-v",
    "--seeds",
    "two  spaces",
    "",
]

NAN = math.nan
PNG = b"\x89PNG\r\n\x1a\n"
PLAIN = [0.50, 0.60, 0.70]
BETTER = [0.61, 0.71, 0.82]
WORSE = [0.39, 0.49, 0.58]
SPREAD = [0.40, 0.60, 0.80]


def only_studies(monkeypatch, found):
    """Makes these the only studies; what is put among them is found, too."""

    def find(name):
        if name not in found:
            raise ValueError(f"there is no study {name!r}")
        return found[name]

    monkeypatch.setattr(studies, "names", lambda: list(found))
    monkeypatch.setattr(studies, "find", find)


def run_into(out, study=STUDY, preset="small", **choices):
    return runner.run(runner.plan(study, NAME, preset, out=out, **choices))


def report_all(out, study=STUDY):
    """Writes a report where there is no other study."""
    return report.write_all({NAME: study}, out)


def contents(folder):
    """Returns the files of a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def result_of(scores, preset="small", variant=""):
    """Returns a result: scores are each method's, by seed."""
    settings = dict(STUDY.presets[preset].settings)
    data = Data(STUDY.data, [[6]], "00000000")
    return Result(
        NAME,
        preset,
        Configuration(NAME, preset, settings, STUDY.model, data),
        versions=[{"jax": "0.0.1"}],
        devices=[Device("cpu", "abacus", 1)],
        wall_seconds=12.0,
        cells=[
            Cell(
                variant,
                method,
                seed,
                diverged=not math.isfinite(score),
                wall_seconds=1.0,
                digest=None,
                curves={"score": [0.5, score]},
                final={"score": score},
            )
            for method, values in scores.items()
            for seed, score in enumerate(values)
        ],
    )


def joined(result, other):
    """Returns a result with the cells of another, too."""
    return result._replace(cells=[*result.cells, *other.cells])


def rewrite(path, **fields):
    """Changes fields of a cell's file."""
    cell = json.loads(path.read_text()) | fields
    path.write_bytes(files.to_json(cell))


def result_with_losses(scores, losses):
    result = result_of(scores)
    cells = [
        cell._replace(
            final={**cell.final, "loss": losses[cell.method][cell.seed]}
        )
        for cell in result.cells
    ]
    return result._replace(cells=cells)


def table_row(text, method, header="method"):
    """Returns a method's row of the first table with such a header."""
    start = f"\n| {header} |"
    _, _, table = text.partition(start)
    table, *_ = f"{start}{table}".split("\n\n")
    (line,) = [x for x in table.splitlines() if x.startswith(f"| {method} |")]
    return [part.strip() for part in line.strip("|").split("|")]
