"""Runs the text of a notebook, and writes the notebook with its outputs.

``python docs/make_notebook.py`` makes each of ``docs/notebooks`` anew; given a
folder, into that one. A cell begins with ``# %%``, or ``# %% [markdown]`` for
text. What it prints and the figures that it draws are its outputs, as Jupyter
would show them.
"""

import base64
import contextlib
import io
import json
import pathlib
import re
import sys
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDER = pathlib.Path(__file__).with_name("notebooks")
CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


def cells_of(text: str) -> list[tuple[str, str]]:
    """Kind and source of each cell."""
    _, *parts = CELL.split(text)
    found = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        body = body.strip("\n")
        if mark:
            body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        found.append(("markdown" if mark else "code", body))
    return found


def run(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """The outputs of a cell."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(source, names)
    outputs = []
    if printed.getvalue():
        lines = printed.getvalue().splitlines(keepends=True)
        outputs.append(
            {"output_type": "stream", "name": "stdout", "text": lines}
        )
    for number in plt.get_fignums():
        png = io.BytesIO()
        # Without the version of what has drawn it.
        plt.figure(number).savefig(png, dpi=90, metadata={"Software": None})
        picture = base64.b64encode(png.getvalue()).decode()
        data = {"image/png": picture, "text/plain": ["<Figure>"]}
        outputs.append(
            {"output_type": "display_data", "data": data, "metadata": {}}
        )
    plt.close("all")
    return outputs


def notebook(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = []
    for number, (kind, source) in enumerate(cells_of(text)):
        cell = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": source.splitlines(keepends=True),
        }
        if kind == "code":
            cell["execution_count"] = sum(c["cell_type"] == kind for c in cells)
            cell["execution_count"] += 1
            cell["outputs"] = run(source, names)
        cells.append(cell)
    kernel = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    return {
        "cells": cells,
        "metadata": {
            "kernelspec": kernel,
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def main(folder: pathlib.Path = FOLDER) -> None:
    for source in sorted(FOLDER.glob("*.py")):
        made = json.dumps(notebook(source.read_text()), indent=1)
        (folder / f"{source.stem}.ipynb").write_text(made + "\n")


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
