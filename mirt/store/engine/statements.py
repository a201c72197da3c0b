"""Statements of the hot path: built once, compiled once, and sent many in one round trip.

``fetch`` runs a statement and returns its rows. ``later`` runs one without a result: on
PostgreSQL it travels with the next statement that is read, or with COMMIT. So a transaction that
reads once and then writes takes two round trips. On SQLite, where a trip costs nothing, each
statement runs at once. Both databases run the same statements.

    ADD = Statement(lambda d: d.insert(tasks).values(id=p("id", tasks.c.id)))

    with database.transaction() as tx:
        later(tx, ADD, id="a")
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Dialect,
    Select,
    Table,
    any_,
    bindparam,
    func,
    or_,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from mirt.store.engine.pipe import pipe_of

Row = Any
"""A tuple of the columns that a statement returns, with their names as attributes."""
Query = tuple["Statement", Mapping[str, Any]]
"""A statement and its values."""


@dataclass(frozen=True, slots=True)
class Dialected:
    """The database that a statement is built for."""

    is_sqlite: bool

    def insert(self, table: Table) -> Any:
        """Begin an INSERT that can say what a conflict means."""
        return (sqlite_insert if self.is_sqlite else postgres_insert)(table)

    def found_by(self, column: Column[Any], query: Select[Any]) -> Any:
        """Return the condition that a column has one of the values of a query with a limit.

        An index finds the rows, whatever the planner takes for the number of values. With IN it
        joins the tables, and may read all of the outer one.
        """
        values = query.scalar_subquery()
        return column.in_(values) if self.is_sqlite else column == any_(func.array(values))


def p(name: str, column: Column[Any]) -> BindParameter[Any]:
    """Return a parameter of the column's type. Its name may be that of a column, too."""
    return bindparam(f"p_{name}", type_=column.type)


def one_of(column: Column[Any], values: Sequence[Any]) -> Any:
    """Return the condition that a column has one of a few constants, without an IN list."""
    return or_(*(column == value for value in values))


class Statement:
    """A statement with parameters (``p``), built and compiled at its first use."""

    def __init__(self, build: Callable[[Dialected], Any]) -> None:
        self._build = build
        self._compiled: dict[str, _Compiled] = {}

    def on(self, dialect: Dialect) -> "_Compiled":
        """Return the statement as this database takes it."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            built = self._build(Dialected(dialect.name == "sqlite"))
            compiled = self._compiled[dialect.name] = _Compiled(built, dialect)
        return compiled


class _Compiled:
    """The text of a statement, and the conversions of its parameters and rows."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        self.statement = statement
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text = str(compiled)
        self._constants = {
            name: value for name, value in compiled.params.items() if not name.startswith("p_")
        }
        self._converters: Mapping[str, Callable[[Any], Any]] = compiled._bind_processors
        columns = compiled._result_columns or ()
        names = [column.keyname for column in columns]
        self._make_row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
        readers = [column.type._cached_result_processor(dialect, None) for column in columns]
        self._readers = [(n, one) for n, one in enumerate(readers) if one is not None]

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters as the driver takes them."""
        values = {**self._constants, **named(given)}
        for name, convert in self._converters.items():
            values[name] = convert(values[name])
        return values

    def rows(self, fetched: Sequence[Sequence[Any]]) -> list[Row]:
        """Return the rows that the driver has fetched."""
        if not self._readers:
            return [self._make_row(*row) for row in fetched]
        return [self._make_row(*self._read(list(row))) for row in fetched]

    def _read(self, row: list[Any]) -> list[Any]:
        for at, convert in self._readers:
            row[at] = convert(row[at])
        return row


def named(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values under the names that ``p`` gives to their parameters."""
    return {f"p_{name}": value for name, value in given.items()}


def fetch(tx: Connection, statement: Statement, **values: Any) -> list[Row]:
    """Run a statement and return its rows, in one round trip with all that was left for later."""
    return fetch_all(tx, [(statement, values)])[0]


def fetch_all(tx: Connection, queries: Sequence[Query]) -> list[list[Row]]:
    """Run several statements in their order, and return the rows of each, in one round trip."""
    return _fetch(tx, queries, commits=False)


def _fetch(tx: Connection, queries: Sequence[Query], *, commits: bool) -> list[list[Row]]:
    compiled = [(statement.on(tx.dialect), values) for statement, values in queries]
    pipe = pipe_of(tx)
    if pipe is None:
        return [list(tx.execute(one.statement, named(values))) for one, values in compiled]
    send = pipe.send_and_commit if commits else pipe.send
    found = send(*((one.text, one.values(values)) for one, values in compiled))
    return [one.rows(rows) for (one, _), rows in zip(compiled, found, strict=True)]


def fetch_and_commit(tx: Connection, statement: Statement, **values: Any) -> list[Row]:
    """Run the last statement of a transaction and commit, in one round trip; return its rows.

    Nothing may follow it in the transaction. What makes it void must be an error of the statement.
    """
    return fetch_all_and_commit(tx, [(statement, values)])[0]


def fetch_all_and_commit(tx: Connection, queries: Sequence[Query]) -> list[list[Row]]:
    """Run the last statements of a transaction and commit, in one round trip; return their rows.

    Nothing may follow them, as with ``fetch_and_commit``.
    """
    return _fetch(tx, queries, commits=True)


def later(tx: Connection, statement: Statement, **values: Any) -> None:
    """Run a statement at the latest with the commit. The next trip raises its errors."""
    compiled = statement.on(tx.dialect)
    pipe = pipe_of(tx)
    if pipe is None:
        tx.execute(compiled.statement, named(values))
    else:
        pipe.waiting.append((compiled.text, compiled.values(values)))
