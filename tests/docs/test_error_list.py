"""The documentation's list of errors quotes what the code says."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def said():
    """All strings of the library, an ellipsis for what is put in."""
    for file in (ROOT / "optaxmods").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    part.value if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def quoted():
    page = (ROOT / "docs" / "errors.rst").read_text()
    rows = re.findall(r"^   \* - ``(.*?)``$", page, re.DOTALL | re.MULTILINE)
    return [" ".join(row.split()) for row in rows]


@pytest.mark.parametrize("quote", quoted())
def test_an_error_of_the_list_is_raised(quote):
    # Articles and constants are put in, too.
    words = re.sub(r"\ban? …", "…", quote)
    assert any(words in re.sub(r"\ban? …", "…", text) for text in said())


def test_the_list_is_read():
    assert len(quoted()) >= 10
