"""A run's page and the overview of all studies, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.reporting import tables, verdicts
from benchmarks.runs import names
from benchmarks.study import Cell, Paper, Preset, Result, Study

PROGRAM = ".venv/bin/python -m benchmarks"
OVERVIEW = "# Results of the studies"
PICTURES = {
    "curves": "The curves, mean and range over the seeds",
    "effects": "Each method minus its baseline, with 95 % intervals; an axis of"
    " powers of ten is logarithmic on both sides of 0",
    "rates": "The loss over the learning rate, a line for each number of a"
    " method",
    "parts": "What GAL's parts come to, and its adjustments over training",
    "alpha": "Quantiles of AGR's coefficients in each layer over training",
}
SMOKE = "A smoke run: it shows only that the program runs."


def page(
    study: Study,
    result: Result,
    pictures: Sequence[str],
    more: Sequence[str] = (),
) -> str:
    """Returns the page of one run; the pictures lie beside it.

    Args:
        study: The study.
        result: The run.
        pictures: Their files.
        more: Further parts, after the table.
    """
    parts = [
        f"# {study.title}",
        study.question,
        _setting(study, result),
        *_primary(study, result),
        "## Ours",
        *tables.of_run(study, result),
        caption(study, result, with_question=False),
    ]
    if verdicts.is_compared(verdicts.rows(study, result)):
        words = verdicts.WORDS.items()
        parts.append("\n".join(f"- {word}: {means}" for word, means in words))
    parts.append(_methods(study, result))
    if study.sections:
        parts += study.sections(study, result)
    parts += more
    if study.paper:
        parts += _paper(study.paper)
    parts += ["## Plots"]
    for path in pictures:
        ending = path.split(".")[-2]
        parts.append(f"![{PICTURES.get(ending, ending)}]({path})")
    parts += ["## How it was run", *_how(study, result)]
    return "\n\n".join(parts) + "\n"


def _primary(study: Study, result: Result) -> list[str]:
    """Names the primary test; the tables have its numbers."""
    named = study.primary
    if named is None:
        return []
    labels = {metric.key: metric.label for metric in study.metrics}
    where = f", at {named.variant}" if named.variant else ""
    baseline = verdicts.method(study, named.method).baseline
    text = (
        f"Primary test, named before anything was run: `{named.method}` against"
        f" `{baseline}` in {labels[named.metric]}{where}; alone, it is not"
        " corrected."
    )
    found = verdicts.primary(verdicts.rows(study, result))
    verdict = found[1].verdict if found else verdicts.LEFT_OUT
    return [f"{text} What came of it: **{verdict}**."]


def overview(
    studies: Mapping[str, Study], results: Mapping[str, Mapping[str, Result]]
) -> str:
    """Returns the overview: for each study the pages and their results."""
    rows = []
    at_hand = {
        data_set
        for name, study in studies.items()
        for data_set in study.data_sets
        if results[name]
    }
    for name, study in studies.items():
        pages = results[name]
        rows += [
            (
                f"[{name}]({path})",
                result.preset,
                study.question,
                ". ".join(verdicts.sentences(study, result)),
            )
            for path, result in pages.items()
        ]
        if not pages:
            why = verdicts.why_never_run(study, at_hand)
            rows.append((name, tables.NONE, study.question, why))
    words = "; ".join(f"*{w}*: {m}" for w, m in verdicts.WORDS.items())
    parts = [
        OVERVIEW,
        "Verdicts on every metric of a study, from tests that are paired over"
        " seeds, two-sided t, with Holm's correction over all metrics and"
        f" comparisons of the run. {words}.",
        tables.markdown(["study", "preset", "question", "verdict"], rows),
        f"Written by `{PROGRAM} report --out DIR`, where DIR is this folder.",
    ]
    return "\n\n".join(parts) + "\n"


def caption(study: Study, result: Result, *, with_question: bool = True) -> str:
    """Returns what has to be known to read the table."""
    rows = verdicts.rows(study, result)
    tests = verdicts.count_tests(rows)
    lines = [study.question] if with_question else []
    lines.append(
        "Mean ± standard deviation over the seeds, - where one diverged or none"
        " was run."
    )
    if verdicts.is_compared(rows):
        described = [m.label for m in study.metrics if not m.tested]
        but = f" but {', '.join(described)}" if described else ""
        lines.append(
            f"Every metric{but} is tested: paired over the seeds that a method"
            " and its baseline both have, two-sided t, with Holm's correction"
            f" over {tables.count(tests, 'test')}, those of all metrics and"
            " comparisons here. Intervals are not corrected."
        )
    lines += _mixed(result)
    if result.preset == "smoke":
        lines.append(SMOKE)
    return " ".join(lines)


def _mixed(result: Result) -> list[str]:
    """Returns a line where not all cells were run on and with the same."""
    found = {
        "devices": len(result.devices),
        "sets of package versions": len(result.versions),
    }
    parts = [f"{number} {what}" for what, number in found.items() if number > 1]
    if not parts:
        return []
    return [
        f"The cells come from {' and '.join(parts)}, so that a method may"
        " differ from its baseline in these, too."
    ]


def _setting(study: Study, result: Result) -> str:
    shared = result.configuration
    settings = tables.listed(shared.settings)
    lines = [
        f"- Data: {shared.data.description}",
        f"- Model: `{shared.model}`",
        f"- Preset: {result.preset} ({settings})",
    ]
    preset = study.presets.get(result.preset)
    planned = dict(preset.settings) if preset else {}
    if shared.settings != planned:
        lines.append(
            f"- Not the preset's own settings, which are: "
            f"{tables.listed(planned) or 'no more'}"
        )
    if result.preset == "smoke":
        lines.append(f"- {SMOKE}")
    return "\n".join(lines)


def _methods(study: Study, result: Result) -> str:
    lines = []
    for name in verdicts.methods(study, result):
        method = verdicts.method(study, name)
        line = f"- `{name}`: {method.description}"
        if method.baseline is not None:
            line += f"; compared with `{method.baseline}`"
        if method.claimed:
            line += ", which the paper claims it improves on"
        lines.append(line)
    for name, contender in verdicts.contenders(study).items():
        line = f"- `{name}`: {contender.description}, chosen from"
        line += f" {_in_code(contender.methods)} on validation"
        if contender.baseline:
            line += f"; compared with `{contender.baseline}`"
        lines.append(line)
    text = "\n".join(["The methods:", "", *lines])
    beyond = verdicts.beyond_preset(study, result)
    for what, left in zip(("settings", "methods"), beyond, strict=True):
        if left:
            text += (
                f"\n\nThe study's {what} that this preset leaves out:"
                f" {_in_code(left)}."
            )
    return text


def _paper(paper: Paper) -> list[str]:
    return [
        "## The paper's",
        f"{paper.source}.",
        tables.markdown(paper.header, paper.rows),
        paper.remark,
    ]


def _how(study: Study, result: Result) -> list[str]:
    versions = [
        "- " + ", ".join(f"{name} {number}" for name, number in found.items())
        for found in result.versions
    ]
    devices = [
        f"- {found.kind}, {found.platform} of JAX, {found.cpu_cores} CPU cores"
        for found in result.devices
    ]
    return [
        f"{len(result.cells)} trainings took {result.wall_seconds:,.0f} s in"
        " all, compilation included, with",
        "\n".join([*versions, *devices]),
        *_no_longer(study, result),
        *(
            ["To repeat:", "\n".join(["```sh", *lines, "```"])]
            if (lines := commands(study, result))
            else []
        ),
    ]


def _no_longer(study: Study, result: Result) -> list[str]:
    """A line where there are cells that no command can repeat."""
    variants = dict.fromkeys(cell.variant for cell in result.cells)
    methods = dict.fromkeys(cell.method for cell in result.cells)
    today = study.to_run()
    gone = {
        "preset": {result.preset} - set(study.presets),
        "settings": [name for name in variants if name not in study.variants],
        "methods": [name for name in methods if name not in today],
    }
    parts = [f"the {k} {_in_code(v)}" for k, v in gone.items() if v]
    return [f"No longer to be run: {'; '.join(parts)}."] if parts else []


def _in_code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _is_demo(result: Result) -> bool:
    # The demo has a command of its own, which alone lets the epochs be chosen.
    return result.study == "demo" and result.preset == "small"


def commands(study: Study, result: Result) -> list[str]:
    """The commands that repeat a run: one for all variants that ran alike."""
    preset = study.presets.get(result.preset)
    if preset is None:
        return []
    folder = f" --out {'demo-out' if _is_demo(result) else 'bench-out'}"
    which = study.file or result.study
    command = f"{PROGRAM} run {which} --preset {result.preset}"
    if _is_demo(result):
        command = f"{PROGRAM} demo"
        epochs = result.configuration.settings.get("epochs")
        if epochs != preset.settings["epochs"]:
            command += f" --epochs {epochs}"
    today = study.to_run()
    alike: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for variant in dict.fromkeys(cell.variant for cell in result.cells):
        if variant not in study.variants:
            continue
        mine = [cell for cell in result.cells if cell.variant == variant]
        found = {cell.method for cell in mine} & set(today)
        for seeds in sorted({_seeds(mine, name) for name in found}):
            chosen = tuple(
                method
                for method in verdicts.methods(study, result)
                if method in found and _seeds(mine, method) == seeds
            )
            alike.setdefault((seeds, chosen), []).append(variant)
    lines = []
    for (seeds, methods), variants in alike.items():
        options = _chosen(study, preset, methods, seeds)
        if set(variants) != set(preset.variants or study.variants):
            options += names.option("variants", variants, study.variants)
        lines.append(command + options + folder)
    own = f" {study.file}" if study.file else ""
    return [*lines, f"{PROGRAM} report{own}{folder}"] if lines else []


def _seeds(cells: Sequence[Cell], method: str) -> int:
    return 1 + max(cell.seed for cell in cells if cell.method == method)


def _chosen(
    study: Study, preset: Preset, methods: Sequence[str], seeds: int
) -> str:
    """The options that differ from the preset's."""
    options = "" if seeds == preset.seeds else f" --seeds {seeds}"
    if set(methods) != set(study.to_run(preset)):
        options += names.option("methods", methods, study.methods)
    return options
