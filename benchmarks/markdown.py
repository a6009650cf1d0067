"""A run's page and the overview of all studies, as Markdown."""

from collections.abc import Mapping, Sequence
import math
from typing import Any

from benchmarks import study as studies
from benchmarks import verdicts
from benchmarks.statistics import Effect
from benchmarks.study import Metric, Paper, Preset, Study
from benchmarks.verdicts import Result, Row

PROGRAM = ".venv/bin/python -m benchmarks"
OVERVIEW = "# Results of the studies"
NONE = "-"
PICTURES = {
    "curves": "The curves, mean and range over the seeds",
    "effects": "Each method minus its baseline, with 95 % intervals",
}
SMOKE = "A smoke run: it shows only that the program runs."


def page(study: Study, result: Result, pictures: Sequence[str]) -> str:
    """Returns the page of one run; the pictures lie beside it."""
    parts = [
        f"# {study.title}",
        study.question,
        _setting(study, result),
        "## Ours",
        *_tables(study, result),
        caption(study, result, with_question=False),
    ]
    if verdicts.is_compared(verdicts.rows(study, result)):
        words = verdicts.WORDS.items()
        parts.append("\n".join(f"- {word}: {means}" for word, means in words))
    parts.append(_methods(study, result))
    if study.paper:
        parts += _paper(study.paper)
    parts += ["## Plots"]
    for path in pictures:
        ending = path.split(".")[-2]
        parts.append(f"![{PICTURES.get(ending, ending)}]({path})")
    parts += ["## How it was run", *_how(study, result)]
    return "\n\n".join(parts) + "\n"


def overview(results: Mapping[str, Mapping[str, Result]]) -> str:
    """Returns the overview: for each study the pages and their results."""
    rows = []
    at_hand = {
        data_set
        for name, pages in results.items()
        for data_set in studies.find(name).data_sets
        if pages
    }
    for name, pages in results.items():
        study = studies.find(name)
        rows += [
            (
                f"[{name}]({path})",
                result["preset"],
                study.question,
                verdicts.sentence(study, result),
            )
            for path, result in pages.items()
        ]
        if not pages:
            why = verdicts.why_never_run(study, at_hand)
            rows.append((name, NONE, study.question, why))
    words = "; ".join(f"*{w}*: {m}" for w, m in verdicts.WORDS.items())
    parts = [
        OVERVIEW,
        "A verdict is on a study's first metric, from tests that are paired"
        " over seeds, two-sided t, with Holm's correction over all"
        f" comparisons of the run. {words}.",
        _table(["study", "preset", "question", "verdict"], rows),
        f"Written by `{PROGRAM} report --out` with this folder.",
    ]
    return "\n\n".join(parts) + "\n"


def caption(study: Study, result: Result, *, with_question: bool = True) -> str:
    """Returns what has to be known to read the table."""
    rows = verdicts.rows(study, result)
    tests = sum(math.isfinite(row.p) for row in rows)
    lines = [study.question] if with_question else []
    lines.append(
        "Mean ± standard deviation over the seeds, - where one diverged or none"
        " was run."
    )
    if verdicts.is_compared(rows):
        lines.append(
            "Intervals are not corrected. Verdicts are on"
            f" {study.metrics[0].label}: tests paired over the seeds that a"
            " method and its baseline both have, two-sided t, Holm's correction"
            f" over {tests} {'test' if tests == 1 else 'tests'}."
        )
    if result["preset"] == "smoke":
        lines.append(SMOKE)
    return " ".join(lines)


def means(study: Study, row: Row) -> list[str]:
    """Returns a row's metrics, as mean ± deviation."""
    return [
        _mean(metric, summary)
        for metric, summary in zip(study.metrics, row.summaries, strict=True)
    ]


def _mean(metric: Metric, summary: Any) -> str:
    if not math.isfinite(summary.mean):
        return NONE
    mean = f"{metric.factor * summary.mean:.{metric.digits}f}"
    if not math.isfinite(summary.std):
        return mean
    return f"{mean} ± {metric.factor * summary.std:.{metric.digits}f}"


def _setting(study: Study, result: Result) -> str:
    shared = result["configuration"]
    settings = _listed(shared["settings"])
    lines = [
        f"- Data: {shared['data']['description']}",
        f"- Model: `{shared['model']}`",
        f"- Preset: {result['preset']} ({settings})",
    ]
    preset = study.presets.get(result["preset"])
    planned = dict(preset.settings) if preset else {}
    if shared["settings"] != planned:
        lines.append(
            f"- Not the preset's own settings, which are: "
            f"{_listed(planned) or 'no more'}"
        )
    if result["preset"] == "smoke":
        lines.append(f"- {SMOKE}")
    return "\n".join(lines)


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key.replace('_', ' ')} {'all' if value is None else value}"
        for key, value in settings.items()
    )


def _tables(study: Study, result: Result) -> list[str]:
    rows = verdicts.rows(study, result)
    compared = verdicts.is_compared(rows)
    # Where nothing is compared, a word is left only for what was not run.
    judged = any(row.verdict != verdicts.ALONE for row in rows)
    header = ["method", "seeds"]
    header += [metric.label for metric in study.metrics]
    header.append("diverged")
    if compared:
        label = study.metrics[0].label
        header += [f"{label}: minus baseline [95 % interval]", "p (Holm)"]
    if judged:
        header.append("verdict")
    parts = []
    for variant in dict.fromkeys(row.variant for row in rows):
        if variant:
            settings = _listed(study.variants.get(variant, {}))
            parts.append(f"### {variant}" + f" ({settings})" * bool(settings))
        lines = [
            _line(study, row, compared, judged)
            for row in rows
            if row.variant == variant
        ]
        numbers = len(header) - 1 - judged
        parts.append(_table(header, lines, numbers))
    return parts


def _line(study: Study, row: Row, compared: bool, judged: bool) -> list[str]:
    line = [row.method, str(row.seeds), *means(study, row), str(row.diverged)]
    if compared:
        effect = _difference(study.metrics[0], row.effect, row.seeds)
        line += [effect, _p(row.p)]
    if judged:
        line.append(row.verdict)
    return line


def _difference(metric: Metric, effect: Effect | None, seeds: int) -> str:
    if effect is None or not math.isfinite(effect.mean):
        return NONE
    digits = metric.digits
    text = f"{metric.factor * effect.mean:+z.{digits}f}"
    if math.isfinite(effect.low):
        low, high = metric.factor * effect.low, metric.factor * effect.high
        text += f" [{low:+z.{digits}f}, {high:+z.{digits}f}]"
    if effect.pairs != seeds:
        text += f", {effect.pairs} {'pair' if effect.pairs == 1 else 'pairs'}"
    return text


def _p(p: float) -> str:
    if not math.isfinite(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


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
    text = "\n".join(["The methods:", "", *lines])
    beyond = verdicts.beyond_preset(study, result)
    for what, left in zip(("settings", "methods"), beyond, strict=True):
        if left:
            names = ", ".join(f"`{name}`" for name in left)
            text += (
                f"\n\nThe study's {what} that this preset leaves out: {names}."
            )
    return text


def _paper(paper: Paper) -> list[str]:
    return [
        "## The paper's",
        f"{paper.source}.",
        _table(paper.header, paper.rows),
        paper.remark,
    ]


def _how(study: Study, result: Result) -> list[str]:
    folder = f"--out {'demo-out' if _is_demo(result) else 'bench-out'}"
    versions = [
        "- " + ", ".join(f"{name} {number}" for name, number in found.items())
        for found in result["versions"]
    ]
    devices = [
        f"- {found.get('kind', 'unknown')}, {found.get('platform', 'unknown')}"
        f" of JAX, {found.get('cpu_cores', 'unknown')} CPU cores"
        for found in result["devices"]
    ]
    return [
        f"{len(result['cells'])} trainings took"
        f" {result['wall_seconds']:,.0f} s in all, compilation included, with",
        "\n".join([*versions, *devices]),
        "To repeat:",
        "```sh\n"
        + "".join(f"{c} {folder}\n" for c in _commands(study, result))
        + f"{PROGRAM} report {folder}\n"
        "```",
    ]


def _is_demo(result: Result) -> bool:
    # The demo has a command of its own, which alone lets the epochs be chosen.
    return result["study"] == "demo" and result["preset"] == "small"


def _commands(study: Study, result: Result) -> list[str]:
    """One command for all variants that were run alike."""
    preset = study.presets.get(result["preset"])
    command = f"{PROGRAM} run {result['study']} --preset {result['preset']}"
    if _is_demo(result):
        command = f"{PROGRAM} demo"
        epochs = result["configuration"]["settings"].get("epochs")
        if preset and epochs != preset.settings["epochs"]:
            command += f" --epochs {epochs}"
    alike: dict[tuple[Any, ...], list[str]] = {}
    for variant in dict.fromkeys(cell["variant"] for cell in result["cells"]):
        mine = [c for c in result["cells"] if c["variant"] == variant]
        names = {cell["method"] for cell in mine}
        for seeds in sorted({_seeds(mine, name) for name in names}):
            chosen = [
                method
                for method in verdicts.methods(study, result)
                if method in names and _seeds(mine, method) == seeds
            ]
            alike.setdefault((seeds, *chosen), []).append(variant)
    planned = set(preset.variants or study.variants) if preset else set()
    commands = []
    for (seeds, *methods), variants in alike.items():
        options = _chosen(study, preset, methods, seeds)
        if set(variants) != planned:
            options += _option("variants", variants)
        commands.append(command + options)
    return commands


def _seeds(cells: Sequence[Mapping[str, Any]], method: str) -> int:
    return 1 + max(c["seed"] for c in cells if c["method"] == method)


def _chosen(
    study: Study, preset: Preset | None, methods: Sequence[str], seeds: int
) -> str:
    """The options that differ from the preset's."""
    planned = set(studies.methods_to_run(study, preset)) if preset else set()
    options = "" if preset and seeds == preset.seeds else f" --seeds {seeds}"
    if set(methods) != planned:
        options += _option("methods", methods)
    return options


def _option(name: str, values: Sequence[str]) -> str:
    return f" --{name} '{','.join(values)}'"


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0
) -> str:
    """Returns a table whose columns 1 to ``numbers`` are set right."""
    rules = [
        "---:" if 1 <= column <= numbers else "---"
        for column in range(len(header))
    ]
    return "\n".join(
        f"| {' | '.join(_cell(text) for text in row)} |"
        for row in [header, rules, *rows]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
