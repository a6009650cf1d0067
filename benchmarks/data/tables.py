"""Tables with a number to predict: California, Boston, diabetes.

Of each table a fifth of the rows, always the same, is held out to test on, or
what another ``split`` says. The inputs are shifted and scaled by the training
rows' mean and standard deviation; the targets are as published.
"""

from collections.abc import Sequence
import pathlib

import numpy as np
from sklearn.datasets import load_diabetes

from benchmarks.data import sources
from benchmarks.data.files import damaged, read_lines
from benchmarks.data.splits import (
    Rows,
    Split,
    SplitIndices,
    split_indices,
    split_rows,
)

_BOSTON_COLUMNS = [
    *("crim", "zn", "indus", "chas", "nox", "rm", "age", "dis", "rad", "tax"),
    *("ptratio", "b", "lstat", "medv"),
]


def california(
    data_dir: pathlib.Path | None = None, *, split: SplitIndices = split_indices
) -> Split[Rows]:
    """Returns the California housing prices of 1990, in 100,000 dollars.

    16,512 districts to train on, 4,128 to test on. The inputs are those of
    scikit-learn, in its order: median income, median age of the houses, rooms
    a household, bedrooms a household, population, occupants a household,
    latitude, longitude.
    """
    path = sources.find("california", data_dir) / "cal_housing.data"
    columns = _numbers(path, read_lines(path), 9).T
    longitude, latitude, age, rooms, bedrooms = columns[:5]
    population, households, income, value = columns[5:]
    if not np.all(households > 0):
        raise damaged(path, "has a district without households")
    inputs = [
        *(income, age, rooms / households, bedrooms / households),
        *(population, population / households, latitude, longitude),
    ]
    stacked = np.stack(inputs, axis=1)
    return split_rows(stacked, value / 100_000, "california", split)


def boston(
    data_dir: pathlib.Path | None = None, *, split: SplitIndices = split_indices
) -> Split[Rows]:
    """Returns the Boston housing prices of 1978, in 1,000 dollars.

    404 tracts to train on, 102 to test on, with 13 inputs in the file's order.
    One of these, ``b``, is made of the share of Black residents on a racist
    assumption, for which scikit-learn has dropped the set; it is here only
    because published results use it.
    """
    path = sources.find("boston", data_dir) / "BostonHousing.csv"
    header, *lines = read_lines(path) or [""]
    if _fields(header) != _BOSTON_COLUMNS:
        raise damaged(path, f"its header is not {','.join(_BOSTON_COLUMNS)}")
    table = _numbers(path, lines, len(_BOSTON_COLUMNS))
    return split_rows(table[:, :-1], table[:, -1], "boston", split)


def diabetes(
    data_dir: pathlib.Path | None = None, *, split: SplitIndices = split_indices
) -> Split[Rows]:
    """Returns the progression of diabetes after a year, as a score.

    353 patients to train on, 89 to test on, with ten inputs. The table comes
    with scikit-learn, so ``data_dir`` is not looked at.
    """
    del data_dir
    inputs, targets = load_diabetes(return_X_y=True, scaled=False)
    columns = np.asarray(inputs), np.asarray(targets)
    return split_rows(*columns, "diabetes", split)


def _fields(line: str) -> list[str]:
    # No field of these tables holds a comma; some stand in quotes.
    return [field.strip('"') for field in line.split(",")]


def _numbers(
    path: pathlib.Path, lines: Sequence[str], columns: int
) -> np.ndarray:
    """Returns the rows as float64, of shape [rows, columns]."""
    table = []
    for number, line in enumerate(lines, start=1):
        try:
            values = [float(field) for field in _fields(line)]
        except ValueError as error:
            raise damaged(
                path, f"row {number} has a field that is no number"
            ) from error
        if len(values) != columns or not np.all(np.isfinite(values)):
            raise damaged(path, f"row {number} is not {columns} finite numbers")
        table.append(values)
    if not table:
        raise damaged(path, "holds no rows")
    return np.array(table)
