"""Files that are whole or not there, also where several runs share a folder.

What is being written has a name of its own beside its place, and its writer
holds a lock on it. The lock ends with the process however that ends, and tells
of other containers and, where the file system shares locks, of other machines;
the number of a process would be another one's there, or be taken again. Where
there are no locks nobody can tell, and every such file is left alone.
"""

from collections.abc import Iterator, Mapping
import contextlib
import errno
import json
import math
import os
import pathlib
import tempfile
from typing import IO, Any
import uuid

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None

TEMPORARY = ".{}.{}.tmp"  # A file's name and one that no other writer has.
ATTEMPTS = 5
TRIED = b"\0" * 65536  # A full disk still takes an empty file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(OSError):
    """A file that cannot be written; its message is one sentence."""


def write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Leaves the old file or the new one, never half a file.

    Raises:
      WriteError: It cannot be written; the old file is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(ATTEMPTS):
            if _write(path, content):
                return
    except OSError as error:
        raise _write_error(path, error) from error
    raise _write_error(path, OSError("another process moves it away"))


def check_writable(folder: pathlib.Path) -> None:
    """Checks before minutes of training that results will have a place.

    It does so by writing: permission bits do not tell of file systems that are
    read-only or full.

    Raises:
      WriteError: Nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(TRIED)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = error.strerror or error
        raise WriteError(
            f"cannot write to a folder {str(folder)!r}: {why}"
        ) from error


def put_aside(path: pathlib.Path, why: str) -> pathlib.Path | None:
    """Renames a file to the first free name that ends in ``why``.

    Returns the name, or None where another process was faster.
    """
    number = 0
    while True:
        suffix = f".{why}" if number == 0 else f".{why}-{number}"
        target = path.with_name(path.name.removeprefix(".") + suffix)
        if not target.exists():
            try:
                return path.rename(target)
            except FileNotFoundError:
                return None
        number += 1


def put_half_written_aside(folder: pathlib.Path) -> None:
    """Renames what killed processes were writing, and names it in a line.

    What somebody is writing now stays where it is.
    """
    for path in sorted(folder.glob(TEMPORARY.format("*", "*"))):
        aside = None
        # Gone meanwhile, or somebody else's file.
        with contextlib.suppress(OSError), path.open("r+b") as file:
            if _lock(file, wait=False) and _is_at(file, path):
                aside = put_aside(path, "half")
        if aside is not None:
            print(f"{path}: half written; moved to {aside.name}")


def to_json(value: Any) -> bytes:
    """Returns JSON, with null for what is not finite."""
    return f"{json.dumps(_with_null(value), allow_nan=False)}\n".encode()


def _with_null(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _with_null(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_null(item) for item in value]
    return value


def _write(path: pathlib.Path, content: bytes) -> bool:
    """Returns whether it could be done; else the file was moved meanwhile."""
    token = uuid.uuid4().hex
    temporary = path.with_name(TEMPORARY.format(path.name, token))
    with _deleted(temporary):
        with temporary.open("xb") as file:
            _lock(file, wait=True)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:
                # Still locked, so that nobody takes it for a dead one's.
                return _moved(temporary, path)
        return _moved(temporary, path)  # Windows moves no open file.


def _moved(source: pathlib.Path, target: pathlib.Path) -> bool:
    try:
        os.replace(source, target)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _deleted(temporary: pathlib.Path) -> Iterator[None]:
    try:
        yield
    finally:
        # Of a full or read-only disk the first error tells more.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _lock(file: IO[bytes], *, wait: bool) -> bool:
    """Returns whether this process alone has the file."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # Another has it, or the file system knows no locks.
        return False
    return True


def _is_at(file: IO[bytes], path: pathlib.Path) -> bool:
    """Whether an open file is still the one of that name."""
    return os.path.samestat(os.fstat(file.fileno()), path.stat())


def _write_error(path: pathlib.Path, error: OSError) -> WriteError:
    remedy = "make room" if error.errno in FULL else "make it writable"
    return WriteError(
        f"{path}: cannot be written ({error.strerror or error}); {remedy} or"
        " name another folder with --out: what was finished before is kept"
    )
