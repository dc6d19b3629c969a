"""Tables of the command line: every value whole, whatever the width.

An identifier is there to be copied, so no value is ever cut. Where a row is too wide for the
terminal, prose wraps by words, and columns that do not fit go on below, a little to the right,
still one under the other.
"""

import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from itertools import zip_longest
from types import MappingProxyType
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

GAP = 2
INDENT = 2
NARROWEST_PROSE = 24
"""In how many characters prose can still be read; with less, it goes on the next line."""

STATE_STYLES: Mapping[str, str] = MappingProxyType(
    {
        "active": "green",
        "authorized": "cyan",
        "canceled": "dim",
        "dead": "red",
        "declined": "red",
        "differs": "red",
        "failed": "red",
        "pending": "yellow",
        "processed": "green",
        "processing": "yellow",
        "requires_action": "yellow",
        "retrying": "yellow",
        "revoked": "dim",
        "succeeded": "green",
        "validated": "cyan",
    }
)
"""By the first word of a cell; another word has no colour."""


class ColumnKind(Enum):
    """How a column is set: a number to the right, a state in its colour, prose by words."""

    VALUE = "value"
    NUMBER = "number"
    STATE = "state"
    PROSE = "prose"


class Column(NamedTuple):
    head: str
    kind: ColumnKind = ColumnKind.VALUE


def value(head: str) -> Column:
    return Column(head)


def number(head: str) -> Column:
    return Column(head, ColumnKind.NUMBER)


def state(head: str) -> Column:
    return Column(head, ColumnKind.STATE)


def prose(head: str) -> Column:
    return Column(head, ColumnKind.PROSE)


class Placed(NamedTuple):
    """A column of the table with its place and width on one of the lines of a row."""

    position: int
    column: Column
    width: int


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> list[Text]:
    """The heading and the rows, each in as many lines as `width` asks for; in one without it.

    With a width, a column in which nothing stands is left out.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if width is not None:
        kept = [index for index in range(len(columns)) if any(row[index] for row in cells)]
        columns = [columns[index] for index in kept]
        cells = [[row[index] for index in kept] for row in cells]
    heads = [column.head for column in columns]
    natural = [
        max(cell_len(text) for text in (head, *(row[index] for row in cells)))
        for index, head in enumerate(heads)
    ]
    places = _places(columns, natural, width)
    lines = [line for place in places for line in _line(place, heads, head=True)]
    lines += [line for row in cells for place in places for line in _line(place, row) if line]
    return lines


def instant(at: datetime | None) -> str:
    """A time of day in UTC, to the second. Empty if there is none."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def printable(text: str) -> str:
    """The text without a character that would do something to the terminal."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _places(
    columns: Sequence[Column], natural: Sequence[int], width: int | None
) -> list[list[Placed]]:
    """Which columns stand on which line of a row. The first line begins at the left."""
    lines: list[list[Placed]] = [[]]
    for index, column in enumerate(columns):
        least = _least(column, natural[index])
        if width is not None and lines[-1] and _used(lines[-1]) + GAP + least > _room(lines, width):
            lines.append([])
        lines[-1].append(Placed(index, column, least))
    return [
        _widened(line, natural, None if width is None else width - _indent(number))
        for number, line in enumerate(lines)
    ]


def _least(column: Column, natural: int) -> int:
    return min(natural, NARROWEST_PROSE) if column.kind is ColumnKind.PROSE else natural


def _used(line: Sequence[Placed]) -> int:
    return sum(placed.width for placed in line) + GAP * (len(line) - 1)


def _room(lines: Sequence[Sequence[Placed]], width: int) -> int:
    return width - _indent(len(lines) - 1)


def _indent(line_number: int) -> int:
    return INDENT if line_number else 0


def _widened(line: Sequence[Placed], natural: Sequence[int], room: int | None) -> list[Placed]:
    """What is left of the room, given to prose from left to right."""
    widened: list[Placed] = []
    left = None if room is None else max(0, room - _used(line))
    for placed in line:
        wanted = natural[placed.position] - placed.width
        more = wanted if left is None else min(wanted, left)
        left = None if left is None else left - more
        widened.append(placed._replace(width=placed.width + more))
    return widened


def _line(line: Sequence[Placed], row: Sequence[str], *, head: bool = False) -> list[Text]:
    """The cells of one line, beside each other; several lines where prose wraps."""
    blocks = [_wrapped(row[placed.position], placed) for placed in line]
    indent = " " * _indent(line[0].position)
    made: list[Text] = []
    for texts in zip_longest(*blocks, fillvalue=""):
        text = Text(indent)
        for number, (placed, cell) in enumerate(zip(line, texts, strict=True)):
            if number:
                text.append(" " * GAP)
            text.append_text(_padded(cell, placed, head=head))
        text.rstrip()
        made.append(text)
    return made


def _wrapped(cell: str, placed: Placed) -> list[str]:
    if placed.column.kind is not ColumnKind.PROSE or cell_len(cell) <= placed.width:
        return [cell]
    return textwrap.wrap(cell, placed.width, break_long_words=False, break_on_hyphens=False)


def _padded(cell: str, placed: Placed, *, head: bool) -> Text:
    """The cell in its style, with the space that fills its width: before a number, else after."""
    text = Text(cell, "bold" if head else _style(cell, placed.column))
    space = " " * max(0, placed.width - cell_len(cell))
    if placed.column.kind is ColumnKind.NUMBER:
        return Text(space).append_text(text)
    return text.append(space)


def _style(cell: str, column: Column) -> str:
    if column.kind is not ColumnKind.STATE:
        return ""
    return STATE_STYLES.get(cell.partition(" ")[0].rstrip(","), "")
