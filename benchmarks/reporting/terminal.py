"""Tables and texts on a terminal of any width, in which no name is cut."""

from collections.abc import Sequence
import textwrap
from typing import NamedTuple

from rich.console import Console
from rich.segment import Segment
from rich.table import Table

FAR = 10_000  # Columns that no table needs.


class Column(NamedTuple):
    """A column and what its entries need."""

    header: str
    min_width: int | None = None
    no_wrap: bool = False  # For names and numbers.
    right: bool = False


def console() -> Console:
    return Console(highlight=False, markup=False)


def print_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    title: str | None = None,
) -> None:
    """Prints a table; row after row where the terminal is too narrow for it."""
    table = Table(title=title)
    for column in columns:
        table.add_column(
            column.header,
            justify="right" if column.right else "left",
            min_width=column.min_width,
            no_wrap=column.no_wrap,
        )
    for row in rows:
        table.add_row(*row)
    screen = console()
    if _fits(table, screen):
        screen.print(table)
        return
    if title:
        print(title)
    for name, *others in rows:
        print(name)
        for column, entry in zip(columns[1:], others, strict=True):
            print(fill(f"{column.header}: {entry}", screen.width, "  "))
    print()


def _fits(table: Table, screen: Console) -> bool:
    far = screen.options.update(width=FAR)
    if screen.measure(table, options=far).minimum > screen.width:
        return False
    # Some columns are left narrower than they could be, and others cut.
    lines = Segment.split_lines(screen.render(table))
    return max(map(Segment.get_line_length, lines)) <= screen.width


def print_text(text: str) -> None:
    """Prints lines, and breaks them between words alone."""
    width = console().width
    for line in text.splitlines():
        print(fill(line, width))


def fill(text: str, width: int, indent: str = "") -> str:
    """Returns a text's lines, broken between words alone."""
    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
