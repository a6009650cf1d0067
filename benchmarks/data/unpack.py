"""Archives, of which no member can land outside the folder it goes to."""

from collections.abc import Callable, Iterator
import pathlib
import shutil
import stat
import tarfile
from typing import IO, NamedTuple
import zipfile
import zlib

from benchmarks.data.files import DataError, one_line


class _Member(NamedTuple):
    """What tar and zip have in common."""

    name: str
    is_folder: bool
    is_file: bool  # Neither: a link, a device, a pipe.
    open: Callable[[], IO[bytes] | None]


def is_archive(path: pathlib.Path) -> bool:
    """Returns whether a file's name is that of an archive."""
    return path.name.endswith((".zip", ".tar.gz", ".tgz"))


def unpack(archive: pathlib.Path, destination: pathlib.Path) -> None:
    """Unpacks a .zip, .tar.gz or .tgz.

    Raises:
        DataError: The archive is damaged, or has a member that is no plain file
            or folder within the destination.
    """
    members = _zip if archive.suffix == ".zip" else _tar
    try:
        for member in members(archive):
            _write(member, archive, destination)
    except (
        EOFError,
        NotImplementedError,  # A compression that zipfile does not know.
        OSError,
        RuntimeError,  # A password is asked for.
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"{archive.name}: cannot be unpacked ({one_line(error)}); if there "
            "is room on the disk, the archive is damaged: get it again"
        ) from error


def _zip(archive: pathlib.Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            # The upper half is a Unix mode, or zero if made elsewhere.
            kind = stat.S_IFMT(info.external_attr >> 16)
            yield _Member(
                info.filename,
                info.is_dir(),
                kind in (0, stat.S_IFREG),
                lambda info=info: opened.open(info),
            )


def _tar(archive: pathlib.Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:gz") as opened:
        for info in opened:
            yield _Member(
                info.name,
                info.isdir(),
                info.isfile(),
                lambda info=info: opened.extractfile(info),
            )


def _write(
    member: _Member, archive: pathlib.Path, destination: pathlib.Path
) -> None:
    parts = pathlib.PurePosixPath(member.name).parts
    # Backslashes and colons are separators and drives on Windows.
    if (
        ".." in parts
        or member.name.startswith("/")
        or set("\\:") & set(member.name)
    ):
        raise _refused(archive, member, "leads outside its folder")
    path = destination.joinpath(*parts)
    if member.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    content = member.open() if member.is_file else None
    if content is None:
        raise _refused(archive, member, "is no plain file")
    path.parent.mkdir(parents=True, exist_ok=True)
    # No member may overwrite what another one wrote.
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)


def _refused(archive: pathlib.Path, member: _Member, why: str) -> DataError:
    return DataError(
        f"{archive.name}: its member {member.name!r} {why}; nothing of the "
        "archive was kept, get it from elsewhere"
    )
