"""Names as a command line takes them, commas in them and all."""

import pytest

from benchmarks.runs import names
from tests.helpers.made_up import HARD_NAMES


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["a,c,d"], ["a", "c,d"]),
        ([" a ,c , d"], ["a", "c,d"]),
        (["a, b"], ["a, b"]),
        (["a,b"], ["a, b"]),  # The longest that is a name.
        (["a", "a,b"], ["a", "a, b"]),
        (["a,a", "a"], ["a"]),
        (["b,e,f,a"], ["b, e, f", "a"]),
        (["a,x, y"], ["a", "x", "y"]),
        (["a,"], ["a", ""]),
        ([], []),
    ],
)
def test_names_are_read(texts, found):
    known = [name for name in HARD_NAMES if name]
    assert names.chosen(texts, known) == found
