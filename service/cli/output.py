"""Prints the results of commands: tables that fit the terminal, one JSON document, readable times.

Only a terminal gets colours and folded lines. Piped output is plain, and a line stays a line.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")]

PIPED_WIDTH: Final = 1_000
GAP: Final = 2
MIN_TEXT: Final = 20


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table. In a narrow terminal, the highest ``spare`` is left out first, 0 never."""

    title: str
    justify: Literal["left", "right"] = "left"
    spare: int = 0
    style: str | None = None


Cell = str | int | float | None
Row = tuple[Sequence[Cell], str | None]
"""The cells of a table row, and its style."""


def console() -> "Console":
    """Return a console on standard output; piped, its lines are practically never folded."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(highlight=False, markup=False, width=width)


def say(*lines: str, style: str | None = None) -> None:
    """Print lines."""
    out = console()
    for line in lines:
        out.print(line, style=style, soft_wrap=not out.is_terminal)


def hang(lead: str, text: str, *, style: str | None = None) -> None:
    """Print a text after its lead; on a terminal, further lines are indented below the text."""
    out = console()
    lines = text.splitlines() or [""]
    if out.is_terminal:
        room = max(MIN_TEXT, out.width - len(lead))
        lines = [part for line in lines for part in (wrap(line, room) or [""])]
    for number, line in enumerate(lines):
        out.print((lead if number == 0 else " " * len(lead)) + line, style=style, soft_wrap=True)


def emit(document: Any) -> None:
    """Print one JSON document: dataclasses as objects, times in ISO 8601 and UTC."""
    print(json.dumps(_plain(document), ensure_ascii=False, indent=2, default=str))


def table(columns: Sequence[Column], rows: Sequence[Row], *, empty: str) -> None:
    """Print a table that fits the terminal, or ``empty`` if there are no rows."""
    if not rows:
        say(empty, style="dim")
        return
    from rich.table import Table

    out = console()
    cells = [[_format(cell) for cell in row] for row, _ in rows]
    kept = _fit(columns, cells, out.width)
    drawing = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for index in kept:
        column = columns[index]
        drawing.add_column(
            column.title, justify=column.justify, style=column.style, overflow="fold"
        )
    for row, (_, style) in zip(cells, rows, strict=True):
        drawing.add_row(*(row[index] for index in kept), style=style)
    out.print(drawing)


def moment(at: datetime | None) -> str:
    """Format a point in time, in UTC; ``never`` for None."""
    return "never" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _fit(columns: Sequence[Column], cells: list[list[str]], width: int) -> list[int]:
    from rich.cells import cell_len

    widths = [
        max(cell_len(text) for text in (column.title, *(row[index] for row in cells)))
        for index, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while sum(widths[index] + GAP for index in kept) - GAP > width:
        spare = max(kept, key=lambda index: columns[index].spare)
        if columns[spare].spare == 0:
            break
        kept.remove(spare)
    return kept


def _format(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)


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
