"""Run transactions that are bounded in time and raise the errors of this project.

A process has one engine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Table, create_engine, event, make_url, text
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mirt.clock import time_left
from mirt.errors import DatabaseError, SoftTimeLimitExceeded
from mirt.store.engine.timeouts import TIMED_OUT, BoundedConnection, statement_timeout
from mirt.store.tables.storable import storable_json

CONNECT_TIMEOUT_S: Final = 3
STATEMENT_TIMEOUT_S: Final = 8.0
LOCK_TIMEOUT_S: Final = 5.0
IDLE_S: Final = 10.0
"""Seconds that a transaction may do nothing.

Without this limit, the locks of a machine that is gone or frozen last until the network notices,
which takes hours. Its leases run out, but no worker can claim the tasks. Our transactions wait for
nothing but the database, so they are idle for milliseconds at most.
"""
NOT_ALLOWED: Final = "42501"
"""PostgreSQL's code for a missing privilege: an error of the set-up, not of our statement."""


class Database:
    """Connections to PostgreSQL, or to a SQLite file in the embedded mode.

    Connections open lazily, so a process may fork before its first transaction.

    Every wait is bounded. ``CONNECT_TIMEOUT_S`` bounds the wait for a pooled connection and for
    connecting. The server bounds a lock and a statement (``LOCK_TIMEOUT_S``,
    ``STATEMENT_TIMEOUT_S``). ``BoundedConnection`` bounds the wait for a server that does not
    answer. The deadline of the task (``mirt.clock``) shortens all of them, but leaves a second to
    write how the task ended. The server ends a transaction that is idle for ``IDLE_S``.

    With ``reads_only`` nothing can be written, and a reader does not block the writer of a SQLite
    file.
    """

    def __init__(self, url: str, *, pool_size: int = 10, reads_only: bool = False) -> None:
        self.url = sqlalchemy_url(url)
        if self.is_sqlite and not reads_only and self.url.database not in {None, "", ":memory:"}:
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(
            self.url,
            hide_parameters=True,
            json_serializer=storable_json,
            **_engine_options(self.url, pool_size),
        )
        begin = _begin_sqlite if self.is_sqlite else _bound_postgres
        if reads_only:
            begin = _begin_reading_sqlite if self.is_sqlite else _bound_reading_postgres
        event.listen(self.engine, "begin", begin)
        if self.is_sqlite:
            prepare = _prepare_reading_sqlite if reads_only else _prepare_sqlite
            event.listen(self.engine, "connect", prepare)
        else:
            event.listen(self.engine, "do_connect", _connect_postgres)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the SQLite file of the embedded mode."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begin a transaction; commit it at the end, or roll it back after an error.

        Raises:
            DatabaseError: the database cannot be reached, times out or breaks a deadlock.
            SoftTimeLimitExceeded: the database has not answered by the deadline of the task.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except PoolTimeoutError:
            raise DatabaseError("no database connection became free in time") from None
        except (OperationalError, InterfaceError, InternalError) as failed:
            # Errors of the other classes are bugs in our statement; a retry does not help.
            if isinstance(failed.orig, TIMED_OUT) and time_left(1) <= 0:
                raise SoftTimeLimitExceeded from None
            raise DatabaseError(_without_parameters(failed)) from None
        except ProgrammingError as failed:
            if getattr(failed.orig, "sqlstate", None) != NOT_ALLOWED:
                raise
            raise DatabaseError(_without_parameters(failed)) from None

    def ping(self) -> None:
        """Run the smallest query.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self.transaction() as tx:
            tx.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def sqlalchemy_url(url: str) -> URL:
    """Parse a DSN as people write it: ``postgres://`` and ``postgresql://`` mean psycopg 3."""
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _engine_options(url: URL, pool_size: int) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": LOCK_TIMEOUT_S, "check_same_thread": False}}
    return {
        "pool_size": pool_size,
        "max_overflow": 2,
        "pool_timeout": CONNECT_TIMEOUT_S,
        "pool_recycle": 1800,
        "pool_pre_ping": True,
        # A pooler in transaction mode, like Supabase's, does not support prepared statements.
        "connect_args": {"prepare_threshold": None},
    }


def _bound_postgres(connection: Connection) -> None:
    # SET LOCAL ends with the transaction, so it is safe behind a pooler in transaction mode.
    connection.exec_driver_sql(
        f"SET LOCAL statement_timeout = {_ms(STATEMENT_TIMEOUT_S)};"
        f"SET LOCAL lock_timeout = {_ms(LOCK_TIMEOUT_S)};"
        f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * IDLE_S)}"
    )


def _ms(longest_s: float) -> int:
    return round(1000 * statement_timeout(longest_s))


def _connect_postgres(_dialect: object, _record: object, args: Any, options: Any) -> Any:
    # libpq wants whole seconds, at least two.
    within_s = ceil(max(2, time_left(CONNECT_TIMEOUT_S)))
    return BoundedConnection.connect(*args, **options, connect_timeout=within_s)


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that begins to write fails at once while another one writes.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _bound_reading_postgres(connection: Connection) -> None:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    _bound_postgres(connection)


def _begin_reading_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _prepare_reading_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None
    dbapi_connection.execute("PRAGMA query_only = ON")


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None
    dbapi_connection.execute("PRAGMA journal_mode = WAL")
    dbapi_connection.execute("PRAGMA synchronous = FULL")


def _without_parameters(failed: DBAPIError) -> str:
    # SQLAlchemy's text contains the statement and its parameters, which are customers' messages.
    return f"{type(failed.orig).__name__}: {str(failed.orig).strip()}"


def upsert(tx: Connection, table: Table) -> Any:
    """Return an INSERT of the dialect in use; both have the same ``on_conflict_…`` methods."""
    return (sqlite_insert if tx.dialect.name == "sqlite" else postgres_insert)(table)
