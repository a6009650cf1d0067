"""Downloads: all of a set or nothing of it."""

from collections.abc import Sequence
import errno
import os
import pathlib
import shutil
import tempfile
from typing import NamedTuple

import pooch

from benchmarks.data import unpack
from benchmarks.data.files import CACHE_VARIABLE, DataError, one_line

_DOWNLOADER = pooch.HTTPDownloader(
    chunk_size=1 << 20,
    headers={
        # Decoded on the way, a .gz would no longer match its checksum.
        "Accept-Encoding": "identity",
        # Some hosts refuse the names of well-known libraries.
        "User-Agent": "optaxmods-benchmarks",
    },
)
# Another address would not help.
_OF_THE_DISK = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
)


class Remote(NamedTuple):
    """One file to download; an archive is unpacked."""

    file: str
    addresses: tuple[str, ...]  # Asked in this order.
    checksum: (
        str  # With the name of its algorithm in front: md5:..., sha256:...
    )


def download(remotes: Sequence[Remote], target: pathlib.Path) -> None:
    """Makes the folder ``target`` from what is downloaded.

    An archive has to hold a folder of the target's name; files that are no
    archives are put into the target.

    Each process works in a folder of its own beside the target, and renames the
    set into place once it is whole: what is there is whole, whatever fails, and
    whoever else downloads the same set at the same time.

    Raises:
        DataError: A download failed, or is not what its checksum says.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=target.parent, prefix=f".{target.name}-"
        ) as temporary:
            workplace = pathlib.Path(temporary)
            for remote in remotes:
                _add(remote, workplace, target.name)
            _move(workplace / "set" / target.name, target)
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written ({one_line(error)}); free the place "
            f"or name another in {CACHE_VARIABLE}"
        ) from error


def _add(remote: Remote, workplace: pathlib.Path, folder: str) -> None:
    """Downloads one file into ``workplace``/set/``folder``."""
    file = _retrieve(remote, workplace / "download")
    destination = workplace / "set"
    if unpack.is_archive(file):
        unpack.unpack(file, destination)
        file.unlink()
        if not (destination / folder).is_dir():
            raise DataError(
                f"{remote.file}: holds no folder {folder}; name the folder of "
                "a copy with --data-dir"
            )
    else:
        (destination / folder).mkdir(parents=True, exist_ok=True)
        # Unlike the download's own file, a copy has the usual permissions.
        shutil.copyfile(file, destination / folder / remote.file)


def _retrieve(remote: Remote, folder: pathlib.Path) -> pathlib.Path:
    failures = []
    for address in remote.addresses:
        try:
            path = pooch.retrieve(
                address,
                known_hash=remote.checksum,
                fname=remote.file,
                path=folder,
                # Its type names the arguments otherwise than its caller does.
                downloader=_DOWNLOADER,  # pyright: ignore
            )
        # ValueError is that of a wrong checksum; the others are OSErrors.
        except (OSError, ValueError) as error:
            # Errors of a connection come from requests, without a number.
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise
            failures.append(f"{address}: {_reason(error)}")
        else:
            return pathlib.Path(path)
    raise DataError(
        f"{remote.file}: cannot be downloaded ({'; '.join(failures)}); try "
        "again, or name the folder of a copy with --data-dir"
    )


def _reason(error: Exception) -> str:
    # Of a connection that failed, what is within says the same more shortly.
    inner = error.args[0] if error.args else None
    return one_line(getattr(inner, "reason", error))


def _move(source: pathlib.Path, target: pathlib.Path) -> None:
    try:
        os.rename(source, target)
    except OSError:
        # Another process was faster; its copy is as good.
        if not target.is_dir():
            raise
