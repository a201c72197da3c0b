"""Statements of the hot path: built once, compiled once, and sent to PostgreSQL many in one trip.

A transaction of the hot path reads with ``fetch`` and writes with ``later``. On PostgreSQL what was
written waits until something is read or the transaction ends, and travels together with that: a
transaction that reads once and then writes takes two round trips, BEGIN and COMMIT among them. On
SQLite, where a trip costs nothing, each statement runs at once. Both databases run the same
statements.

    ADD = Statement(lambda d: d.insert(tasks).values(id=bindparam("id")).on_conflict_do_nothing())

    with database.transaction() as tx:
        [row] = fetch(tx, FIND, id="a")
        later(tx, ADD, id="b")
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from mirt.store.engine.pipe import pipe_of

Row = Any
"""A named tuple of the columns that a statement returns."""


@dataclass(frozen=True, slots=True)
class Dialected:
    """The two databases as a statement's builder sees them."""

    name: str

    @property
    def is_sqlite(self) -> bool:
        """Whether the statement is for the embedded mode's file."""
        return self.name == "sqlite"

    def insert(self, table: Table) -> Any:
        """Begin an INSERT that can say what a conflict means."""
        return (sqlite_insert if self.is_sqlite else postgres_insert)(table)


class Statement:
    """A statement with named parameters (``bindparam``), built and compiled when first used."""

    def __init__(self, build: Callable[[Dialected], Any]) -> None:
        self._build = build
        self._compiled: dict[str, _Compiled] = {}

    def of(self, dialect: Dialect) -> "_Compiled":
        """Return the statement for this database."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = _Compiled(self._build(Dialected(dialect.name)), dialect)
            self._compiled[dialect.name] = compiled
        return compiled


class _Compiled:
    """The text of a statement, and how its parameters and rows are converted."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        self.statement = statement
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self._constants = {
            name: value for name, value in compiled.params.items() if value is not None
        }
        self._convert: Mapping[str, Callable[[Any], Any]] = compiled._bind_processors
        columns = compiled._result_columns or ()
        self._row: Any = None
        if columns:
            self._row = namedtuple("Row", [column.keyname for column in columns])  # noqa: PYI024
        processors = [column.type._cached_result_processor(dialect, None) for column in columns]
        self._results = [(n, one) for n, one in enumerate(processors) if one is not None]

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as the driver takes them."""
        values = {**self._constants, **given}
        for name, convert in self._convert.items():
            values[name] = convert(values[name])
        return values

    def rows(self, fetched: Sequence[Sequence[Any]]) -> list[Row]:
        """Return the fetched rows as named tuples."""
        if not self._results:
            return [self._row(*row) for row in fetched]
        made = []
        for row in fetched:
            values = list(row)
            for at, convert in self._results:
                values[at] = convert(values[at])
            made.append(self._row(*values))
        return made


def fetch(tx: Connection, statement: Statement, **values: Any) -> list[Row]:
    """Run a statement and return its rows; what was written before is sent with it."""
    compiled = statement.of(tx.dialect)
    pipe = pipe_of(tx)
    if pipe is None:
        return list(tx.execute(compiled.statement, values))
    cursor = pipe.send((compiled.text, compiled.parameters(values)))
    return compiled.rows(cursor.fetchall())


def later(tx: Connection, statement: Statement, **values: Any) -> None:
    """Run a statement whose result is of no interest, at the latest with the commit.

    An error of it is raised by the next ``fetch``, or by the commit.
    """
    compiled = statement.of(tx.dialect)
    pipe = pipe_of(tx)
    if pipe is None:
        tx.execute(compiled.statement, values)
    else:
        pipe.waiting.append((compiled.text, compiled.parameters(values)))
