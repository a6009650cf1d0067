"""Tables of a run, for the terminal, as JSON and as Markdown with plots."""

from collections.abc import Mapping, Sequence
import pathlib

from benchmarks.reporting import (
    pages,
    pairing,
    plots,
    repeats,
    tables,
    terminal,
    verdicts,
)
from benchmarks.reporting.terminal import Column
from benchmarks.runs import files, results
from benchmarks.study import Result, Study


def write(
    study: Study, result: Result, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
    """Writes a result's JSON, Markdown and pictures; returns their paths."""
    packed = {f"{name}.json": results.pack(result)}
    return _write(folder, packed | _made_from(study, result, name))


def write_all(
    studies: Mapping[str, Study], out: pathlib.Path
) -> list[pathlib.Path]:
    """Writes the results of all runs in a folder, and their overview.

    Args:
        studies: All that there are, by their names.
        out: The folder.
    """
    paths, overview = [], {}
    found = {
        name: results.entries(name, study, out / name)
        for name, study in studies.items()
    }
    at_hand = {
        name: [entry.result for entry in entries]
        for name, entries in found.items()
    }
    aa = studies.get(repeats.NAME)
    # Of several presets the last is the largest.
    repeated = (at_hand.get(repeats.NAME) or [None])[-1]
    for name, study in studies.items():
        overview[name] = {}
        for entry in found[name]:
            more = []
            if aa and name == repeats.NAME:
                more = pairing.section(studies, at_hand, entry.result)
            elif aa and not study.file:
                more = repeats.section(study, entry.result, aa, repeated)
            contents = _made_from(study, entry.result, entry.name, more)
            if not entry.is_packed:
                contents[f"{entry.name}.json"] = results.pack(entry.result)
            paths += _write(out / name, contents)
            overview[name][f"{name}/{entry.name}.md"] = entry.result
    if not paths:
        return []
    readme = out / "README.md"
    start = pages.OVERVIEW.encode()
    if readme.exists() and not readme.read_bytes().startswith(start):
        print(f"{readme}: not an overview of studies; left as it is")
        return paths
    text = pages.overview(studies, overview)
    return [*paths, *_write(out, {readme.name: text.encode()})]


def print_table(study: Study, result: Result) -> None:
    """Prints a result's table and its caption to standard output."""
    rows = [row for row in verdicts.rows(study, result) if row.seeds]
    columns = [
        Column("method", no_wrap=True),
        *(Column(m.label, no_wrap=True, right=True) for m in study.metrics),
    ]
    for variant in dict.fromkeys(row.variant for row in rows):
        terminal.print_table(
            columns,
            [
                (row.method, *tables.means(study, row))
                for row in rows
                if row.variant == variant
            ],
            title=variant or None,
        )
    sentences = verdicts.sentences(study, result)
    legend = verdicts.legend(rows)
    terminal.print_text("\n".join(filter(None, [*sentences, legend])))
    pairs = dict.fromkeys(
        f"{row.method} with {verdicts.method(study, row.method).baseline}"
        for row in rows
        if row.comparisons
    )
    if pairs:
        terminal.print_text(f"Compared: {', '.join(pairs)}.")
    terminal.print_text(pages.caption(study, result))


def _write(
    folder: pathlib.Path, contents: Mapping[str, bytes]
) -> list[pathlib.Path]:
    files.put_half_written_aside(folder)  # By a report that was killed.
    for file_name, content in contents.items():
        files.write_atomically(folder / file_name, content)
    return [folder / file_name for file_name in contents]


def _made_from(
    study: Study, result: Result, name: str, more: Sequence[str] = ()
) -> dict[str, bytes]:
    """Returns all files of a result but its JSON.

    Args:
        study: The study.
        result: The result.
        name: What the files are called.
        more: Further parts of its page.
    """
    pictures = {
        f"{name}.curves.png": plots.curves(study, result),
        f"{name}.effects.png": plots.effects(study, result),
    }
    if study.pictures:
        for ending, png in study.pictures(study, result).items():
            pictures[f"{name}.{ending.removesuffix('.png')}.png"] = png
    drawn = {path: png for path, png in pictures.items() if png is not None}
    page = pages.page(study, result, list(drawn), more)
    return {f"{name}.md": page.encode()} | drawn
