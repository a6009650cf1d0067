"""The commands, what they write and how they fail."""

import json
import math

import jax
import pytest

from benchmarks import __main__ as command_line
from benchmarks import data, studies
from tests.helpers.made_up import NAME, STUDY, contents, only_studies, run

METHODS = ["adamw", "adamw_agr"]
CURVES = ["train_loss", "test_loss", "test_accuracy"]
DEMO = studies.find("demo")


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """Adds a made-up study, and one whose data would be downloaded."""
    found = {
        "demo": DEMO,
        NAME: STUDY,
        "remote": STUDY._replace(data_sets=["mnist"]),
    }
    only_studies(monkeypatch, found)
    monkeypatch.setenv("OPTAXMODS_DATA", str(tmp_path / "cache"))
    return found


def fails(arguments, capsys):
    """Returns the error of a command, which is one line."""
    with pytest.raises(SystemExit) as exit_info:
        command_line.main(arguments)
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.endswith("\n")
    assert error.count("\n") == 1
    return error


def assert_demo_table(result, texts):
    for method in METHODS:
        runs = [c["final"] for c in result["cells"] if c["method"] == method]
        first, second = (100 * final["test_accuracy"] for final in runs)
        # Of two values the sample deviation is |a - b| / sqrt(2).
        deviation = abs(first - second) / math.sqrt(2)
        entry = f"{(first + second) / 2:.2f} ± {deviation:.2f}"
        for text in texts:
            assert any(
                method in line and entry in line for line in text.splitlines()
            )


def test_demo_writes_what_it_measured(tmp_path, capsys):
    arguments = ["demo", "--epochs", "1", "--seeds", "2"]
    arguments += ["--out", str(tmp_path), "--methods", ",".join(METHODS)]
    assert command_line.main(arguments) == 0

    captured = capsys.readouterr()
    assert captured.err == ""  # No progress bar where there is no terminal.
    folder = tmp_path / "demo"
    written = [path for path in folder.iterdir() if path.is_file()]
    assert sorted(path.name for path in written) == [
        "demo.curves.png",
        "demo.effects.png",
        "demo.json",
        "demo.md",
    ]
    picture = (folder / "demo.curves.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    result = json.loads((folder / "demo.json").read_text())
    assert len(result["cells"]) == 2 * len(METHODS)
    assert result["configuration"]["settings"]["learning_rate"] == 1e-3
    assert result["configuration"]["settings"]["epochs"] == 1
    (versions,) = result["versions"]
    assert versions["jax"] == jax.__version__
    (device,) = result["devices"]
    assert device["platform"] == jax.default_backend()
    markdown = (folder / "demo.md").read_text()
    assert_demo_table(result, [captured.out, markdown])
    assert "Compared: adamw_agr with adamw." in captured.out
    starts, ends = set(), set()
    for cell in result["cells"]:
        for name in CURVES:
            assert len(cell["curves"][name]) == 2
            last = cell["curves"][name][-1]
            assert last == pytest.approx(cell["final"][name], rel=1e-5)
        starts.add((cell["seed"], cell["curves"]["train_loss"][0]))
        ends.add(cell["final"]["train_loss"])
    # All methods start alike, and the seeds do not.
    assert len(starts) == len(dict(starts)) == 2
    assert len(ends) == 4

    (run_folder,) = (path for path in folder.iterdir() if path.is_dir())
    before, packed = contents(run_folder), (folder / "demo.json").read_bytes()
    assert command_line.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "demo: 0 trained, 4 found finished" in printed
    assert f"To train again, delete {run_folder}." in printed
    assert contents(run_folder) == before
    assert (folder / "demo.json").read_bytes() == packed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["demonstration"], "demo"),
        (["demo", "--seeds", "0"], "--seeds: must be a whole number of 1"),
        (["demo", "--seeds", "two"], "not 'two'"),
        (["demo", "--epochs", "-1"], "--epochs: must be a whole number of 1"),
        (["demo", "--epochs", "1.5"], "not '1.5'"),
        (["demo", "--out"], "--out: expected one argument"),
        (["run"], "required: STUDY"),
        (["run", "demo", "--preset", "tiny"], "invalid choice: 'tiny'"),
        (["run", "demo", "--data-dir", "none"], "there is no folder 'none'"),
        (["list", "--data-dir", "none"], "there is no folder 'none'"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert message in fails(arguments, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--methods", "adamv"], ", ".join(map(repr, DEMO.methods))),
        (["demo", "--methods", "adamw,adamv"], "no method 'adamv'"),
        (["demo", "--methods", ""], ", ".join(map(repr, DEMO.methods))),
        (["run", "demo", "--methods", "lion"], "no method 'lion' in demo"),
        (["run", "demo", "--variants", "lr 1"], "no variant 'lr 1' in demo"),
        (["run", "dem"], "no study 'dem'; the studies are"),
        (["run", "all", "--methods", "adamw"], "goes with one study"),
        (["run", "all", "--variants", "lr 1"], "goes with one study"),
        (["report"], "nothing has been run into"),
    ],
)
def test_what_is_not_there_is_one_line(arguments, message, tmp_path, capsys):
    assert message in fails([*arguments, "--out", str(tmp_path)], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_nothing_makes_no_folder(tmp_path, capsys):
    error = fails(["report", "--out", str(tmp_path / "none")], capsys)
    assert "nothing has been run into" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["file", "file/folder"])
@pytest.mark.parametrize("command", [["demo"], ["run", "demo"], ["report"]])
def test_out_that_is_no_folder_is_one_line(command, out, tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    error = fails([*command, "--out", str(tmp_path / out)], capsys)
    assert str(tmp_path / out) in error
    assert (tmp_path / "file").read_text() == "precious"


def test_help_names_methods_and_defaults(capsys):
    with pytest.raises(SystemExit) as exit_info:
        command_line.main(["demo", "--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    for name, method in DEMO.methods.items():
        assert f"{name:<10} {method.description}" in text
    assert text.split().count("(default:") == 1
    assert "demo-out" in text


def test_run_and_report(made_up, tmp_path, capsys):
    del made_up
    arguments = ["run", NAME, "--seeds", "2", "--methods", "control,plain"]
    for trained in 8, 0:
        assert command_line.main([*arguments, "--out", str(tmp_path)]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        assert f"{NAME}: {trained} trained, {8 - trained} found" in captured.out
    assert command_line.main(["report", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "README.md") in printed
    assert str(tmp_path / NAME / "small.md") in printed
    assert all((tmp_path / line).exists() for line in printed)


def test_run_of_some_variants(made_up, tmp_path, capsys):
    del made_up
    arguments = ["run", NAME, "--seeds", "1", "--out", str(tmp_path)]
    for variants, trained in ("fast", 3), ("fast, slow", 3), ("slow", 0):
        command_line.main([*arguments, "--variants", variants])
        assert f"{NAME}: {trained} trained" in capsys.readouterr().out


def put_mnist(folder):
    folder.mkdir(parents=True)
    for part in "train", "t10k":
        for kind in "images-idx3", "labels-idx1":
            (folder / f"{part}-{kind}-ubyte").touch()


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("has_data_dir", [False, True])
def test_run_all_takes_nothing_from_elsewhere(
    has_data_dir, cached, made_up, tmp_path, capsys
):
    made_up["demo"] = STUDY._replace(data_sets=["cifar10"])
    arguments = ["run", "all", "--preset", "smoke", "--out", str(tmp_path)]
    if cached:
        put_mnist(tmp_path / "cache" / "mnist")
    where = "has to be in --data-dir for 'all'"
    remote = f"not run, mnist {where}"
    if has_data_dir:
        put_mnist(tmp_path / "local" / "mnist")
        arguments += ["--data-dir", str(tmp_path / "local")]
        where = "not in --data-dir"
        remote = "6 trained, 0 found finished"
    assert command_line.main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"demo: not run, cifar10 {where}",
        f"{NAME}: 6 trained, 0 found finished",
        f"remote: {remote}",
    ]


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_run_all_leaves_out_what_needs_an_accelerator(
    backend, made_up, tmp_path, monkeypatch, capsys
):
    smoke = STUDY.presets["smoke"]._replace(accelerator=True)
    presets = {**STUDY.presets, "smoke": smoke}
    made_up["demo"] = made_up["remote"] = STUDY
    made_up[NAME] = STUDY._replace(presets=presets)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    arguments = ["--preset", "smoke", "--out", str(tmp_path)]
    assert command_line.main(["run", "all", *arguments]) == 0
    ran = "6 trained, 0 found finished"
    here = "not run, made for an accelerator" if backend == "cpu" else ran
    assert capsys.readouterr().out.splitlines() == [
        f"demo: {ran}",
        f"{NAME}: {here}",
        f"remote: {ran}",
    ]
    # Whoever names it gets it.
    assert command_line.main(["run", NAME, *arguments]) == 0
    assert "trained" in capsys.readouterr().out


def test_list_shows_studies_and_data(made_up, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    assert command_line.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, found in made_up.items():
        (line,) = [text for text in lines if text.startswith(f"│ {name} ")]
        assert found.question in line
        assert ("mnist" in line) == (name == "remote")
    for name, each in data.SETS.items():
        (line,) = [text for text in lines if text.startswith(f"│ {name} ")]
        assert each.description in line
        assert each.licence in line
        state = "here" if data.is_installed(name) else "needs a download"
        assert ("needs --data-dir" if name == "dsb2018" else state) in line


def test_list_looks_into_the_folder_of_the_data(made_up, tmp_path, capsys):
    del made_up
    put_mnist(tmp_path / "mnist")
    assert command_line.main(["list", "--data-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [text for text in lines if text.startswith("│ mnist ")]
    assert "here" in line
    (line,) = [text for text in lines if text.startswith("│ cifar10 ")]
    assert "not in" in line


def test_a_stopped_run_says_what_is_kept(made_up, tmp_path, capsys):
    def stop(job):
        if job.method != "plain":
            raise KeyboardInterrupt
        return run(job)

    made_up[NAME] = STUDY._replace(run=stop)
    arguments = ["run", NAME, "--out", str(tmp_path)]
    assert command_line.main(arguments) == 130
    assert "what was finished is kept" in capsys.readouterr().err
    (folder,) = (tmp_path / NAME).iterdir()
    assert len(list(folder.glob("*.seed-*.json"))) == 3
