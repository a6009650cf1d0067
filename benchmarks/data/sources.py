"""Where each set is found: its folder, its files, addresses and checksums."""

from collections.abc import Iterable
import pathlib
from typing import NamedTuple

from benchmarks.data import fetch
from benchmarks.data.fetch import Remote
from benchmarks.data.files import DataError, cache_folder


class Source(NamedTuple):
    """Where a set is found."""

    folder: str  # In the cache, and beneath the folder of --data-dir.
    # What has to be there: of each entry one of the names.
    files: tuple[tuple[str, ...], ...]
    remotes: tuple[Remote, ...] = ()  # None where no public address is known.


def _mnist_source() -> Source:
    checksums = {
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    # Yann LeCun's own site has been closed to downloads for years.
    hosts = (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    )
    return Source(
        "mnist",
        tuple((f"{name}.gz", name) for name in checksums),
        tuple(
            Remote(
                f"{name}.gz",
                tuple(f"{host}/{name}.gz" for host in hosts),
                f"md5:{checksum}",
            )
            for name, checksum in checksums.items()
        ),
    )


SOURCES = {
    "mnist": _mnist_source(),
    "cifar10": Source(
        "cifar-10-batches-bin",
        (
            tuple(f"data_batch_{batch}.bin" for batch in range(1, 6)),
            ("test_batch.bin",),
        ),
        (
            Remote(
                "cifar-10-binary.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
            ),
        ),
    ),
    "cifar100": Source(
        "cifar-100-binary",
        (("train.bin",), ("test.bin",)),
        (
            Remote(
                "cifar-100-binary.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
                "md5:03b5dce01913d631647c71ecec9e9cb8",
            ),
        ),
    ),
    "tinyimagenet": Source(
        "tiny-imagenet-200",
        (("wnids.txt",), ("val/val_annotations.txt",)),
        (
            Remote(
                "tiny-imagenet-200.zip",
                ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
                "md5:90528d7ca1a48142e341f4ef8d21d0de",
            ),
        ),
    ),
    "wikitext2": Source(
        "wikitext-2",
        tuple((f"wiki.{part}.tokens",) for part in ("train", "valid", "test")),
        (
            Remote(
                "wikitext-2-v1.zip",
                # The first is the author's; the original address, second, has
                # refused downloads since 2024.
                (
                    "https://wikitext.smerity.com/wikitext-2-v1.zip",
                    "https://s3.amazonaws.com/research.metamind.io/wikitext/"
                    "wikitext-2-v1.zip",
                ),
                "md5:542ccefacc6c27f945fb54453812b3cd",
            ),
        ),
    ),
    "california": Source(
        "CaliforniaHousing",
        (("cal_housing.data",),),
        (
            Remote(
                "cal_housing.tgz",
                # The copy that scikit-learn downloads.
                ("https://ndownloader.figshare.com/files/5976036",),
                "sha256:aaa5c9a6afe2225cc2aed2723682ae40"
                "3280c4a3695a2ddda4ffb5d8215ea681",
            ),
        ),
    ),
    "boston": Source(
        "boston",
        (("BostonHousing.csv",),),
        (
            Remote(
                "BostonHousing.csv",
                (
                    "https://raw.githubusercontent.com/selva86/datasets/"
                    "c943fa8851270387c44d26efb0f9c0aac1559e11/"
                    "BostonHousing.csv",
                ),
                "sha256:ab16ba38fbbbbcc69fe930aab1293104"
                "f1442c8279c130d9eba03dd864bef675",
            ),
        ),
    ),
    "dsb2018": Source("dsb2018", (("dsb2018_gray256.npz",),)),
}


def find(name: str, data_dir: pathlib.Path | None) -> pathlib.Path:
    """Returns the folder that holds a set's files.

    Args:
        name: A key of ``SOURCES``.
        data_dir: Where to look: in the set's folder beneath it, then in itself.
            If None, the cache is asked, and what it lacks is downloaded.

    Raises:
        DataError: There is no such set there, or the download failed.
    """
    source = SOURCES[name]
    if data_dir is not None:
        return _find_local(name, data_dir)
    target = cache_folder() / source.folder
    if not target.is_dir():
        if not source.remotes:
            raise DataError(
                f"{name}: no public address of {source.files[0][0]} is known; "
                f"name the folder that holds it with --data-dir"
            )
        fetch.download(source.remotes, target)
    return _complete(name, [target], f"delete {target} to download it again")


def present(name: str, data_dir: pathlib.Path | None) -> bool:
    """Returns whether ``find`` would succeed without a download."""
    if data_dir is not None:
        candidates = _local_folders(name, data_dir)
    else:
        candidates = [cache_folder() / SOURCES[name].folder]
    files = SOURCES[name].files
    return any(not _missing(folder, files) for folder in candidates)


def _local_folders(name: str, data_dir: pathlib.Path) -> list[pathlib.Path]:
    return [data_dir / SOURCES[name].folder, data_dir]


def _find_local(name: str, data_dir: pathlib.Path) -> pathlib.Path:
    if not data_dir.is_dir():
        raise DataError(f"{data_dir}: no such folder; correct --data-dir")
    return _complete(
        name,
        _local_folders(name, data_dir),
        "add what is missing, correct --data-dir, or leave it out to download",
    )


def _complete(
    name: str, folders: list[pathlib.Path], remedy: str
) -> pathlib.Path:
    """Returns the first folder that has all files of a set."""
    files = SOURCES[name].files
    missing = {folder: _missing(folder, files) for folder in folders}
    for folder, names in missing.items():
        if not names:
            return folder
    # Where most of a set is, there the rest was meant to be.
    closest = min(folders, key=lambda folder: len(missing[folder]))
    raise DataError(
        f"{name}: {closest} has no {', '.join(missing[closest])}; {remedy}"
    )


def _missing(
    folder: pathlib.Path, files: Iterable[tuple[str, ...]]
) -> list[str]:
    return [
        names[0]
        for names in files
        if not any((folder / name).is_file() for name in names)
    ]
