"""The commands that stand in pages, helps and documents can be given."""

import itertools
import pathlib
import re
import shlex

import pytest

from benchmarks import __main__ as command_line
from benchmarks import studies
from benchmarks.costs import __main__ as costs
from benchmarks.reporting import pages, report
from benchmarks.runs import names, results, runner
from benchmarks.studies import lga_mnist
from benchmarks.study import Method
from tests.helpers.made_up import (
    HARD_NAMES,
    NAME,
    STUDY,
    joined,
    only_studies,
    result_of,
)

ROOT = pathlib.Path(__file__).parents[2]


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
    monkeypatch.setattr(report, "write_all", lambda found, out: [out])
    monkeypatch.setattr(results, "collect", lambda found, folder: None)
    monkeypatch.setattr(report, "write", lambda *_, **__: [])
    monkeypatch.setattr(report, "print_table", lambda found, result: None)

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
    only_studies(monkeypatch, {"demo": studies.find("demo"), NAME: changed})


def cells_of(plans):
    return {
        (plan.name, plan.preset, variant, method, seed)
        for plan in plans
        for variant in plan.variants
        for method in plan.methods
        for seed in plan.seeds
    }


def result_with(name, found, preset, cells, **changes):
    """A result of cells (variant, method, seed), as a page needs it."""
    blank = result_of({"plain": [0.5]})
    settings = {**found.presets[preset].settings, **changes}
    return blank._replace(
        study=name,
        preset=preset,
        configuration=blank.configuration._replace(settings=settings),
        cells=[
            blank.cells[0]._replace(variant=variant, method=method, seed=seed)
            for variant, method, seed in cells
        ],
    )


def selections(found, preset):
    """Sets of cells: all of a preset, each name alone, pairs, and mixtures."""
    chosen = found.presets[preset]
    of_preset = list(chosen.variants or found.variants)
    to_run, every = found.to_run(chosen), found.to_run()
    yield itertools.product(of_preset, to_run, range(chosen.seeds))
    yield itertools.product(found.variants, every, range(2))
    for variant in found.variants:
        yield [(variant, to_run[0], 0)]
    for method in every:
        yield [(of_preset[0], method, 0)]
    pairs = list(itertools.combinations(found.variants, 2))
    for pair in pairs[:: 1 + len(pairs) // 30]:  # Of many some.
        yield itertools.product(pair, every[-2:], range(3))
    # Each variant with other methods and seeds.
    for number, variant in enumerate(found.variants):
        yield [
            (variant, method, seed)
            for variant in [variant, of_preset[0]]
            for method in every[number % len(every) :]
            for seed in range(1 + number)
        ]


@pytest.mark.parametrize("name", studies.names())
def test_a_page_s_commands_run_what_it_shows(name, planned):
    found = studies.find(name)
    orders = [list(names) for names in (found.variants, found.methods)]

    def place(cell):
        *names, seed = cell
        return *map(list.index, orders, names), seed

    for preset in found.presets:
        for cells in map(set, selections(found, preset)):
            ordered = sorted(cells, key=place)
            result = result_with(name, found, preset, ordered)
            *runs, last = pages.commands(found, result)
            plans = [plan for command in runs for plan in planned(command)]
            assert len(plans) == len(runs)
            assert cells_of(plans) == {(name, preset, *key) for key in cells}
            assert planned(last) == []


def test_the_demo_s_command_has_its_epochs(planned):
    demo = studies.find("demo")
    result = result_with("demo", demo, "small", [("", "sgd", 0)], epochs=7)
    command, _ = pages.commands(demo, result)
    (plan,) = planned(command)
    assert plan.overrides == {"epochs": 7}
    assert list(plan.methods) == ["sgd"]


@pytest.mark.parametrize(
    "chosen",
    [
        *([name] for name in HARD_NAMES),
        ["a", "b, e, f"],
        ["c,d", "a"],
        HARD_NAMES,
    ],
)
def test_every_name_can_be_chosen(chosen, planned, monkeypatch):
    hard = STUDY._replace(
        methods={name: Method("one") for name in HARD_NAMES},
        variants={name: {} for name in HARD_NAMES},
    )
    only(monkeypatch, hard)
    cells = list(itertools.product(chosen, chosen, [0]))
    command, _ = pages.commands(hard, result_with(NAME, hard, "small", cells))
    if chosen != HARD_NAMES:  # Those are the preset's.
        assert "--methods" in command
        assert "--variants" in command
    (plan,) = planned(command)
    assert sorted(plan.methods) == sorted(plan.variants) == sorted(chosen)
    for names_of, known in ("methods", hard.methods), ("variants", {}):
        option = names.option(names_of, chosen, known)
        (plan,) = planned(f"python -m benchmarks run {NAME} {option}")
        assert list(getattr(plan, names_of)) == chosen


def test_what_a_study_no_longer_has_is_in_no_command(planned, monkeypatch):
    only(monkeypatch, STUDY)
    scores = {"plain": [0.5], "gone": [0.5]}
    result = result_of(scores, variant="slow")
    result = joined(result, result_of(scores, variant="left"))
    page = pages.page(STUDY, result, [])
    gone = "No longer to be run: the settings `left`; the methods `gone`."
    assert gone in page
    command, _ = pages.commands(STUDY, result)
    assert cells_of(planned(command)) == {(NAME, "small", "slow", "plain", 0)}
    # Nor is one that is listed, but cannot be run.
    methods = {**STUDY.methods, "plain": Method("odd", not_run="it is odd")}
    changed = STUDY._replace(methods=methods)
    page = pages.page(changed, result, [])
    assert "the methods `plain`, `gone`." in page
    assert "To repeat" not in page
    page = pages.page(changed._replace(presets={}), result, [])
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
    _, _, module, *arguments = shlex.split(command)
    if module == "benchmarks":
        if "--help" not in command:
            planned(command)
            return
        main = command_line.main
    else:
        # Each measures: that it takes the options is all that is asked here.
        assert module == "benchmarks.costs"
        main, arguments = costs.main, [*arguments, "--help"]
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 0
    capsys.readouterr()


OWN_STUDY = ROOT / "docs" / "examples" / "own_study.py"
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
            # The documents stand for any study with its metavar, and for the
            # reader's own with a name that is not here.
            command = command.replace("my_study.py", str(OWN_STUDY))
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
