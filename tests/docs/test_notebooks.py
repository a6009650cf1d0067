"""Each notebook of the docs runs, and holds what its text says and shows."""

import base64
import json
import pathlib
import subprocess
import sys

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
NOTEBOOKS = sorted(path.stem for path in (DOCS / "notebooks").glob("*.py"))
# Pictures that a notebook shows, and words that it prints.
SHOWN = {"three_methods": (3, ("largest alpha", "the push", "accepted"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    ran = subprocess.run(
        [sys.executable, DOCS / "make_notebook.py", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder


def cells_of(folder, name):
    cells = json.loads((folder / f"{name}.ipynb").read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"], cells


def kinds(cell):
    return [output["output_type"] for output in cell["outputs"]]


def printed(cells):
    return "".join(
        "".join(output["text"])
        for cell in cells
        for output in cell["outputs"]
        if output["output_type"] == "stream"
    )


def test_every_text_is_a_notebook():
    there = {path.stem for path in (DOCS / "notebooks").glob("*.ipynb")}
    assert set(NOTEBOOKS) == there == set(SHOWN)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_outputs_are_there(name):
    code, _ = cells_of(DOCS / "notebooks", name)
    shown, words = SHOWN[name]
    pictures = [
        base64.b64decode(output["data"]["image/png"])
        for cell in code
        for output in cell["outputs"]
        if output["output_type"] == "display_data"
    ]
    assert len(pictures) == shown
    for picture in pictures:
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 5_000  # None is empty.
    for each in words:
        assert each in printed(code)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_and_is_of_its_text(name, made):
    code, cells = cells_of(DOCS / "notebooks", name)
    code_now, cells_now = cells_of(made, name)
    assert [cell["source"] for cell in cells] == [
        cell["source"] for cell in cells_now
    ]
    assert list(map(kinds, code)) == list(map(kinds, code_now))
    # Its numbers are of the release and the processor that made it.
    lines, lines_now = (
        [line.split()[0] for line in printed(each).splitlines()]
        for each in (code, code_now)
    )
    assert lines == lines_now
