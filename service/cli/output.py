"""Prints the results of commands: tables that fit the terminal, one JSON document, readable times.

Only a terminal gets colours and folded lines. Piped output is plain, and a line stays a line. Every
text is made printable here, so nothing from outside is obeyed by the terminal.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from mirt.observe.printable import printable, printable_block, printable_json

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")]

PIPED_WIDTH: Final = 1_000
GAP: Final = 2
MIN_TEXT: Final = 20


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table.

    In a narrow terminal a column with ``cut_to`` is shortened first, down to that many characters.
    Then the column with the highest ``spare`` is left out, and so on; one with 0 never is.
    """

    title: str
    justify: Literal["left", "right"] = "left"
    spare: int = 0
    style: str | None = None
    cut_to: int | None = None


Cell = str | int | float | None
Row = tuple[Sequence[Cell], str | None]
"""The cells of a table row, and its style."""


def console() -> "Console":
    """Return a console on standard output; piped, its lines are practically never folded."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(highlight=False, markup=False, width=width)


def say(*lines: str, style: str | None = None) -> None:
    """Print lines; a line break within one of them is shown, and ends no line."""
    out = console()
    for line in lines:
        out.print(printable(line), style=style, soft_wrap=not out.is_terminal)


def say_block(text: str, *, style: str | None = None) -> None:
    """Print a text that may have several lines."""
    say(*printable_block(text).split("\n"), style=style)


def hang(lead: str, text: str, *, style: str | None = None) -> None:
    """Print one line after its lead; where a terminal folds it, it goes on below its beginning."""
    _hang(lead, " " * len(lead), printable(text), style)


def quote(lead: str, text: str) -> None:
    """Print a text of several lines, each after the lead, so that none passes for one of ours."""
    for line in printable_block(text).split("\n"):
        _hang(lead, lead, line, None)


def emit(document: Any) -> None:
    """Print one JSON document: dataclasses as objects, times in ISO 8601 and UTC."""
    text = json.dumps(_plain(document), ensure_ascii=False, indent=2, default=str)
    print(printable_json(text))


def table(columns: Sequence[Column], rows: Sequence[Row], *, empty: str) -> None:
    """Print a table that fits the terminal, or ``empty`` if there are no rows.

    The last line names the columns that were left out.
    """
    if not rows:
        say(empty, style="dim")
        return
    from rich.table import Table

    out = console()
    cells = [[_format(cell) for cell in row] for row, _ in rows]
    widths = _fit(columns, _natural_widths(columns, cells), out.width)
    drawing = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for index, width in widths.items():
        column = columns[index]
        is_cut = column.cut_to is not None
        drawing.add_column(
            column.title,
            justify=column.justify,
            style=column.style,
            width=width if is_cut else None,
            no_wrap=is_cut,
            overflow="ellipsis" if is_cut else "fold",
        )
    for row, (_, style) in zip(cells, rows, strict=True):
        drawing.add_row(*(row[index] for index in widths), style=style)
    out.print(drawing)
    if left_out := [column.title for n, column in enumerate(columns) if n not in widths]:
        say(f"left out: {', '.join(left_out)}; a wider terminal or --json shows them", style="dim")


def moment(at: datetime | None) -> str:
    """Format a point in time, in UTC; ``never`` for None."""
    return "never" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _hang(lead: str, further: str, line: str, style: str | None) -> None:
    out = console()
    room = max(MIN_TEXT, out.width - len(lead))
    parts = wrap(line, room) if out.is_terminal else [line]
    for number, part in enumerate(parts or [""]):
        out.print((further if number else lead) + part, style=style, soft_wrap=True)


def _natural_widths(columns: Sequence[Column], cells: list[list[str]]) -> list[int]:
    from rich.cells import cell_len

    return [
        max(cell_len(text) for text in (column.title, *(row[index] for row in cells)))
        for index, column in enumerate(columns)
    ]


def _fit(columns: Sequence[Column], natural: Sequence[int], width: int) -> dict[int, int]:
    """Return the width of each column that is shown, by its index."""
    least = [
        have if column.cut_to is None else min(have, max(column.cut_to, len(column.title)))
        for column, have in zip(columns, natural, strict=True)
    ]
    kept = list(range(len(columns)))
    while sum(least[index] + GAP for index in kept) - GAP > width:
        spare = max(kept, key=lambda index: columns[index].spare)
        if columns[spare].spare == 0:
            break
        kept.remove(spare)
    left = width + GAP - sum(least[index] + GAP for index in kept)
    widths = {}
    for index in kept:
        more = max(0, min(natural[index] - least[index], left))
        widths[index] = least[index] + more
        left -= more
    return widths


def _format(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.1f}" if isinstance(cell, float) else printable(str(cell))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return round(value, 3) if isinstance(value, float) else value
