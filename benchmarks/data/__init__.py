"""Data sets, each with one fixed split.

``SETS`` lists them. A loader is given the folder that holds the official files,
or downloads these into a cache, which the environment variable OPTAXMODS_DATA
moves; what it cannot load is a ``DataError``.
"""

from collections.abc import Callable
import pathlib
from typing import Any, NamedTuple

from benchmarks.data import sources
from benchmarks.data.files import DataError
from benchmarks.data.images import (
    cifar10,
    cifar100,
    digits,
    mnist,
    tinyimagenet,
)
from benchmarks.data.nuclei import Nuclei, dsb2018, windows_with_boxes
from benchmarks.data.splits import (
    Examples,
    Rows,
    Split,
    Validated,
    quarter_indices,
    window_means,
    with_validation,
)
from benchmarks.data.tables import boston, california, diabetes
from benchmarks.data.text import Text, wikitext2


class Set(NamedTuple):
    """One line of the list."""

    description: str
    licence: str  # As stated by those who publish the set.
    load: Callable[..., Any]  # Its first argument is the folder, or None.


SETS = {
    "digits": Set(
        "1,797 8x8 images of digits, in scikit-learn", "CC BY 4.0", digits
    ),
    "mnist": Set("70,000 28x28 images of digits", "CC BY-SA 3.0", mnist),
    "cifar10": Set(
        "60,000 32x32 images in 10 classes",
        "none stated; cite Krizhevsky 2009",
        cifar10,
    ),
    "cifar100": Set(
        "60,000 32x32 images in 100 classes",
        "none stated; cite Krizhevsky 2009",
        cifar100,
    ),
    "tinyimagenet": Set(
        "110,000 64x64 images in 200 classes",
        "none stated; ImageNet is for research and education",
        tinyimagenet,
    ),
    "dsb2018": Set(
        "334 256x256 images of nuclei, each nucleus marked", "CC0", dsb2018
    ),
    "wikitext2": Set("2.5 million words of Wikipedia", "CC BY-SA", wikitext2),
    "california": Set(
        "20,640 districts of California and their house prices",
        "none stated",
        california,
    ),
    "boston": Set(
        "506 tracts of Boston and their house prices", "none stated", boston
    ),
    "diabetes": Set(
        "442 patients with diabetes, in scikit-learn", "none stated", diabetes
    ),
}


def is_installed(name: str) -> bool:
    """Returns whether a set comes with a package, so that nobody fetches it.

    Args:
        name: A key of ``SETS``.
    """
    if name not in SETS:
        raise ValueError(f"there is no set {name!r}; {', '.join(SETS)} are all")
    return name not in sources.SOURCES


def is_downloadable(name: str) -> bool:
    """Returns whether an address of a set is known."""
    return not is_installed(name) and bool(sources.SOURCES[name].remotes)


def available(name: str, data_dir: pathlib.Path | None = None) -> bool:
    """Returns whether a set can be loaded without a download.

    It looks for the files of the set, not into them.

    Args:
        name: A key of ``SETS``.
        data_dir: The folder that its loader would be given; None for the cache.
    """
    return is_installed(name) or sources.present(name, data_dir)


__all__ = [
    "SETS",
    "DataError",
    "Examples",
    "Nuclei",
    "Rows",
    "Set",
    "Split",
    "Text",
    "Validated",
    "available",
    "boston",
    "california",
    "cifar10",
    "cifar100",
    "diabetes",
    "digits",
    "dsb2018",
    "is_downloadable",
    "is_installed",
    "mnist",
    "quarter_indices",
    "tinyimagenet",
    "wikitext2",
    "window_means",
    "windows_with_boxes",
    "with_validation",
]
