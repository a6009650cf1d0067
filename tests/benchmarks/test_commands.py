"""The commands that stand in pages, helps and documents can be given."""

import itertools
import pathlib
import re
import shlex

import pytest

from benchmarks import __main__ as command_line
from benchmarks import (
    gal_cost,
    markdown,
    mesh_cost,
    names,
    report,
    runner,
    step_cost,
    study,
)
from benchmarks.studies import lga_mnist
from benchmarks.study import Method
from tests.helpers.made_up import NAME, STUDY, result_of

ROOT = pathlib.Path(__file__).parents[2]
COSTS = {"gal_cost": gal_cost, "mesh_cost": mesh_cost, "step_cost": step_cost}


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """Gives a command to the program; returns the plans of what it would run.

    Nothing is trained, reported or measured.
    """
    plans = []

    def keep(plan, **_):
        plans.append(plan)
        return runner.Done(tmp_path, 1, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "run", keep)
    monkeypatch.setattr(report, "write_all", lambda out: [out])
    monkeypatch.setattr(report, "collect", lambda folder: {})
    monkeypatch.setattr(report, "write", lambda *_, **__: [])
    monkeypatch.setattr(report, "print_table", lambda result: None)

    def plans_of(command):
        plans.clear()
        program, option, module, *arguments = shlex.split(command)
        assert pathlib.Path(program).name == "python"
        assert (option, module) == ("-m", "benchmarks")
        assert command_line.main(arguments) == 0
        return list(plans)

    return plans_of


def only(monkeypatch, changed):
    """Makes a study the only one beside the demo, which has its command."""
    studies = {"demo": study.find("demo"), NAME: changed}
    monkeypatch.setattr(study, "find", studies.__getitem__)


def cells_of(plans):
    return {
        (plan.name, plan.preset, variant, method, seed)
        for plan in plans
        for variant in plan.variants
        for method in plan.methods
        for seed in plan.seeds
    }


def result_with(name, found, preset, cells):
    """A result of cells (variant, method, seed), as a page needs it."""
    return {
        "study": name,
        "preset": preset,
        "configuration": {"settings": dict(found.presets[preset].settings)},
        "cells": [
            {"variant": variant, "method": method, "seed": seed}
            for variant, method, seed in cells
        ],
    }


def selections(found, preset):
    """Sets of cells: all of a preset, each name alone, pairs, and a mixture."""
    chosen = found.presets[preset]
    of_preset = list(chosen.variants or found.variants)
    to_run = study.methods_to_run(found, chosen)
    every = [name for name, each in found.methods.items() if not each.not_run]
    yield itertools.product(of_preset, to_run, range(chosen.seeds))
    yield itertools.product(found.variants, every, range(2))
    for variant in found.variants:
        yield [(variant, to_run[0], 0)]
    for method in every:
        yield [(of_preset[0], method, 0)]
    for pair in itertools.combinations(found.variants, 2):
        yield itertools.product(pair, every[-2:], range(3))
    # Each variant with other methods and seeds.
    for number, variant in enumerate(found.variants):
        yield [
            (variant, method, seed)
            for variant in [variant, of_preset[0]]
            for method in every[number % len(every) :]
            for seed in range(1 + number)
        ]


@pytest.mark.parametrize("name", study.names())
def test_a_page_s_commands_run_what_it_shows(name, planned):
    found = study.find(name)
    for preset in study.PRESETS:
        for cells in map(set, selections(found, preset)):
            ordered = [
                (variant, method, seed)
                for variant in found.variants
                for method in found.methods
                for seed in range(100)
                if (variant, method, seed) in cells
            ]
            assert len(ordered) == len(cells)
            result = result_with(name, found, preset, ordered)
            *runs, last = markdown.commands(found, result)
            plans = [plan for command in runs for plan in planned(command)]
            assert len(plans) == len(runs)
            assert cells_of(plans) == {(name, preset, *key) for key in cells}
            assert planned(last) == []


def test_the_demo_s_command_has_its_epochs(planned):
    demo = study.find("demo")
    result = result_with("demo", demo, "small", [("", "sgd", 0)])
    result["configuration"]["settings"]["epochs"] = 7
    command, _ = markdown.commands(demo, result)
    (plan,) = planned(command)
    assert plan.overrides == {"epochs": 7}
    assert list(plan.methods) == ["sgd"]


# Commas within names, also without a space and where a part is a name, too;
# what a shell or an option's parser would read as something else.
HARD = [
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


@pytest.mark.parametrize(
    "chosen",
    [*([name] for name in HARD), ["a", "b, e, f"], ["c,d", "a"], HARD],
)
def test_every_name_can_be_chosen(chosen, planned, monkeypatch):
    hard = STUDY._replace(
        methods={name: Method("one") for name in HARD},
        variants={name: {} for name in HARD},
    )
    only(monkeypatch, hard)
    cells = list(itertools.product(chosen, chosen, [0]))
    command, _ = markdown.commands(
        hard, result_with(NAME, hard, "small", cells)
    )
    if chosen != HARD:  # Those are the preset's.
        assert "--methods" in command
        assert "--variants" in command
    (plan,) = planned(command)
    assert sorted(plan.methods) == sorted(plan.variants) == sorted(chosen)
    for names_of, known in ("methods", hard.methods), ("variants", {}):
        option = names.option(names_of, chosen, known)
        (plan,) = planned(f"python -m benchmarks run {NAME} {option}")
        assert list(getattr(plan, names_of)) == chosen


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["a,c,d"], ["a", "c,d"]),
        ([" a ,c , d"], ["a", "c,d"]),
        (["a, b"], ["a, b"]),
        (["a,b"], ["a, b"]),  # The longest that is a name.
        (["a", "a,b"], ["a", "a, b"]),
        (["a,a", "a"], ["a"]),
        (["b,e,f,a"], ["b, e, f", "a"]),
        (["a,x, y"], ["a", "x", "y"]),
        (["a,"], ["a", ""]),
        ([], []),
    ],
)
def test_names_are_read(texts, found):
    known = [name for name in HARD if name]
    assert names.chosen(texts, known) == found


def test_what_a_study_no_longer_has_is_in_no_command(planned, monkeypatch):
    only(monkeypatch, STUDY)
    scores = {"plain": [0.5], "gone": [0.5]}
    result = result_of(scores, variant="slow")
    result["cells"] += result_of(scores, variant="left")["cells"]
    page = markdown.page(STUDY, result, [])
    gone = "No longer to be run: the settings `left`; the methods `gone`."
    assert gone in page
    command, _ = markdown.commands(STUDY, result)
    assert cells_of(planned(command)) == {(NAME, "small", "slow", "plain", 0)}
    # Nor is one that is listed, but cannot be run.
    methods = {**STUDY.methods, "plain": Method("odd", not_run="it is odd")}
    changed = STUDY._replace(methods=methods)
    page = markdown.page(changed, result, [])
    assert "the methods `plain`, `gone`." in page
    assert "To repeat" not in page
    page = markdown.page(changed._replace(presets={}), result, [])
    assert "No longer to be run: the preset `small`; the settings" in page


def test_an_error_tells_names_apart(capsys):
    wrong = ["--variants", "Boston, 300 epochs"]
    with pytest.raises(SystemExit):
        command_line.main(["run", "gal-regression", *wrong])
    error = capsys.readouterr().err
    assert "no variant 'Boston', '300 epochs' in gal-regression" in error
    assert "'Boston, 200 epochs', 'diabetes, 100 epochs'" in error


COMMAND = re.compile(r"(?:\.venv/bin/)?python -m benchmarks[^`\n]*")


def commands_in(text):
    """The commands in a text, without what a sentence puts behind them."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [match[0].rstrip(".;") for match in COMMAND.finditer(joined)]


def assert_can_be_given(command, planned, capsys):
    module = command.split()[2]
    if module == "benchmarks":
        if "--help" not in command:
            planned(command)
            return
        main, arguments = command_line.main, shlex.split(command)[3:]
    else:
        # Each measures: that it takes the options is all that is asked here.
        main = COSTS[module.removeprefix("benchmarks.")].main
        arguments = [*shlex.split(command)[3:], "--help"]
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 0
    capsys.readouterr()


WRITTEN = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.rst")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "benchmarks" / "results").rglob("*.md")),
]


def test_committed_commands_can_be_given(planned, capsys):
    seen = 0
    for path in WRITTEN:
        for command in commands_in(path.read_text()):
            # The documents stand for any study with its metavar.
            if "STUDY" not in command and command.split()[3:]:
                assert_can_be_given(command, planned, capsys)
                seen += 1
    assert seen > 40


def test_the_help_s_commands_can_be_given(planned, capsys):
    with pytest.raises(SystemExit):
        command_line.main(["demo", "--help"])
    _, command = commands_in(capsys.readouterr().out)  # After the usage.
    (plan,) = planned(command)
    assert (plan.overrides, list(plan.seeds)) == ({"epochs": 1}, [0, 1])


def test_the_commands_of_a_study_s_docstring_can_be_given(planned):
    text = lga_mnist.__doc__
    program = re.search(r'run="(.*)"', text)
    commands = re.findall(r"^ *\$run (.*)$", text.replace("\\\n", ""), re.M)
    assert len(commands) == 4
    for command in commands:
        (plan,) = planned(f"{program[1]} {command}")
        assert plan.name == "lga-mnist"
