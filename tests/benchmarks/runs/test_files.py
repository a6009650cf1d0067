"""Files of several processes in one folder, and disks that take no more."""

import contextlib
import errno
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from benchmarks import __main__ as command_line
from benchmarks import studies
from benchmarks.runs import cells, files, runner
from tests.helpers import paused_write
from tests.helpers.full_disk import largest_file
from tests.helpers.made_up import (
    METHODS,
    NAME,
    STUDY,
    contents,
    only_studies,
    report_all,
    run_into,
)

ROOT = pathlib.Path(__file__).parents[3]
SEEDS = 3


@contextlib.contextmanager
def writer_of(path):
    """A process that has written all of a file, but for its name."""
    process = subprocess.Popen(
        [sys.executable, paused_write.__file__, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield process


@pytest.fixture
def made_up(monkeypatch):
    """Makes the made-up study the only one but for the demo's command."""
    found = {NAME: STUDY, "demo": studies.find("demo")}
    only_studies(monkeypatch, found)
    monkeypatch.setattr(studies, "names", lambda: [NAME])


def half_written(folder):
    return [path for path in folder.iterdir() if path.suffix == ".tmp"]


def test_a_run_leaves_a_live_run_s_file_and_moves_a_dead_one_s(
    tmp_path, capsys
):
    folder = run_into(tmp_path).folder
    (folder / "slow.plain.seed-0.json").unlink()
    path = folder / "other.json"
    with writer_of(path) as process:
        (written,) = half_written(folder)
        # The folder is named by the run's settings: this run has the same.
        assert run_into(tmp_path).finished == 1
        assert capsys.readouterr().out == ""
        assert half_written(folder) == [written]
        process.communicate("go on\n")
        assert process.returncode == 0
    assert path.read_bytes() == paused_write.CONTENT
    assert not half_written(folder)

    path.unlink()
    with writer_of(path) as process:
        (written,) = half_written(folder)
        process.send_signal(signal.SIGKILL)
        process.wait()
        run_into(tmp_path)
    aside = folder / f"{written.name[1:]}.half"
    assert capsys.readouterr().out == (
        f"{written}: half written; moved to {aside.name}\n"
    )
    assert aside.read_bytes() == paused_write.CONTENT
    assert not half_written(folder)
    assert not path.exists()


@pytest.mark.usefixtures("made_up")
def test_a_killed_report_s_file_is_named(tmp_path, capsys):
    run_into(tmp_path)
    left = tmp_path / NAME / ".small.md.7.tmp"
    left.write_bytes(b"# A ma")
    report_all(tmp_path)
    assert f"{left}: half written" in capsys.readouterr().out
    assert not left.exists()
    assert left.with_name("small.md.7.tmp.half").read_bytes() == b"# A ma"


@pytest.fixture
def no_locks(monkeypatch):
    """A file system on which nobody can lock."""

    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", fail)


@pytest.mark.parametrize("system", ["no locks", "no fcntl"])
def test_without_locks_nothing_is_moved(system, request, monkeypatch, tmp_path):
    if system == "no locks":
        request.getfixturevalue("no_locks")
    else:
        monkeypatch.setattr(files, "fcntl", None)
    left = tmp_path / ".a.json.7.tmp"
    left.write_bytes(b"{")
    files.put_half_written_aside(tmp_path)
    files.write_atomically(tmp_path / "a.json", b"{}\n")
    assert contents(tmp_path) == {left.name: b"{", "a.json": b"{}\n"}


def move_away(monkeypatch, tmp_path, times):
    """Moves what is being written, as a run of long ago would have done."""
    replace, moved = os.replace, []

    def late(source, target):
        if len(moved) < times:
            moved.append(source.rename(tmp_path / f"moved-{len(moved)}"))
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    return moved


def test_what_is_moved_all_the_same_is_written_again(tmp_path, monkeypatch):
    moved = move_away(monkeypatch, tmp_path, times=2)
    files.write_atomically(tmp_path / "a.json", b"{}\n")
    assert len(moved) == 2
    assert (tmp_path / "a.json").read_bytes() == b"{}\n"
    assert not half_written(tmp_path)


def test_what_is_always_moved_is_an_error(tmp_path, monkeypatch):
    move_away(monkeypatch, tmp_path, times=100)
    with pytest.raises(files.WriteError, match="another process moves it"):
        files.write_atomically(tmp_path / "a.json", b"{}\n")


def test_two_that_move_one_file_do_not_disturb_each_other(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.json"
    path.write_bytes(b"{")
    rename = pathlib.Path.rename

    def faster(self, target):
        monkeypatch.setattr(pathlib.Path, "rename", rename)
        self.rename(self.with_name("by another"))
        return self.rename(target)

    monkeypatch.setattr(pathlib.Path, "rename", faster)
    assert files.put_aside(path, "damaged") is None
    assert contents(tmp_path) == {"by another": b"{"}


def test_two_writers_of_one_file_have_files_of_their_own(tmp_path, monkeypatch):
    path, replace = tmp_path / "a.json", os.replace

    def another_first(source, target):
        # With the same process number, as in two containers.
        monkeypatch.setattr(os, "replace", replace)
        files.write_atomically(path, b"another\n")
        replace(source, target)

    monkeypatch.setattr(os, "replace", another_first)
    files.write_atomically(path, b"mine\n")
    assert contents(tmp_path) == {"a.json": b"mine\n"}


FULL = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "make room",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EIO: "make it writable",
}


def full_from(monkeypatch, file_name, code, call="fsync"):
    """Lets writing fail from the first file of a name on."""
    original, full = getattr(os, call), []

    def fail(descriptor, *others):
        source = os.readlink(f"/proc/self/fd/{descriptor}")
        if file_name in pathlib.Path(source).name:
            full.append(source)
        if full:
            # Of no file, as errors of a write are.
            raise OSError(code, os.strerror(code))
        return original(descriptor, *others)

    monkeypatch.setattr(os, call, fail)
    return full


linux_only = pytest.mark.skipif(
    not pathlib.Path("/proc/self/fd").exists(),
    reason="the names of open files are found in /proc",
)


@linux_only
@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("code", FULL, ids=errno.errorcode.get)
def test_a_full_disk_names_the_file_and_loses_nothing(
    code, tmp_path, monkeypatch, capsys
):
    arguments = ["run", NAME, "--out", str(tmp_path)]
    with monkeypatch.context() as patched:
        full_from(patched, "slow.claimed.seed-1", code)
        with pytest.raises(SystemExit) as exit_info:
            command_line.main(arguments)
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    (folder,) = (tmp_path / NAME).iterdir()
    assert error == (
        "python -m benchmarks: error:"
        f" {folder / 'slow.claimed.seed-1.json'}: cannot be written"
        f" ({os.strerror(code)}); {FULL[code]} or name another folder with"
        " --out: what was finished before is kept\n"
    )
    kept = contents(folder)
    # All of plain, and of claimed the first seed.
    assert len(kept) == 1 + SEEDS + 1
    assert command_line.main(arguments) == 0
    total = 2 * len(METHODS) * SEEDS
    assert f"{total - 4} trained, 4 found" in capsys.readouterr().out
    assert kept.items() <= contents(folder).items()


def test_one_seed_that_cannot_be_written_takes_no_other_along(
    tmp_path, monkeypatch
):
    save = cells.save

    def fail(folder, cell, *others):
        if cell.seed == 0:
            raise files.WriteError(f"{cells.file_name(cell.key)}: too large")
        return save(folder, cell, *others)

    with monkeypatch.context() as patched:
        patched.setattr(cells, "save", fail)
        with pytest.raises(
            files.WriteError, match=r"slow\.plain\.seed-0\.json: too large"
        ):
            run_into(tmp_path)
    # The first group stops the run; of it two seeds are there.
    done = run_into(tmp_path)
    assert done.found == SEEDS - 1


def test_a_limit_of_the_system_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    files.write_atomically(path, b"old\n")
    with (
        largest_file(1000),
        pytest.raises(files.WriteError, match=r"a\.json: cannot be written"),
    ):
        files.write_atomically(path, b"x" * 1001)
    assert contents(tmp_path) == {"a.json": b"old\n"}


@pytest.mark.usefixtures("made_up")
def test_a_folder_that_takes_nothing_is_found_before_training(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(runner, "run", lambda *_, **__: pytest.fail("ran"))
    for command in ["run", NAME], ["report"]:
        with largest_file(1000), pytest.raises(SystemExit):
            command_line.main([*command, "--out", str(tmp_path)])
        error = capsys.readouterr().err
        assert f"cannot write to a folder {str(tmp_path)!r}" in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@linux_only
@pytest.mark.usefixtures("made_up")
def test_a_report_on_a_full_disk_keeps_the_last_one(
    tmp_path, monkeypatch, capsys
):
    run_into(tmp_path, seeds=1)
    report_all(tmp_path)
    before = contents_of_all(tmp_path)
    run_into(tmp_path)
    full_from(monkeypatch, "small.md", errno.ENOSPC)
    monkeypatch.setattr(files, "check_writable", lambda folder: None)
    with pytest.raises(SystemExit):
        command_line.main(["report", "--out", str(tmp_path)])
    path = tmp_path / NAME / "small.md"
    assert f"{path}: cannot be written (No space" in capsys.readouterr().err
    after = contents_of_all(tmp_path)
    assert set(before) <= set(after)
    assert after[path] == before[path]
    assert not [each for each in after if each.suffix == ".tmp"]


def contents_of_all(folder):
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
