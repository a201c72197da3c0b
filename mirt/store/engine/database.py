"""One engine a process: how a transaction is begun, bounded in time, and reported when it fails."""

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
"""How long a transaction may do nothing. Its locks outlive a machine that is gone, or frozen, until
the network notices, which takes hours; a lease would run out and nobody could take its task. Ours
wait for nothing but the database, and so for milliseconds at most."""
NOT_ALLOWED: Final = "42501"
"""PostgreSQL's code for a privilege that is missing: of the server, not of our statement."""


class Database:
    """The way to PostgreSQL, or to a SQLite file in the embedded mode.

    Opened lazily, so that a process may fork before its first transaction. Every wait is bounded:
    for a pooled connection and for connecting by ``CONNECT_TIMEOUT_S``, for a lock and a statement
    by the server itself, for a server that answers nothing by us, and all of them by the deadline
    of the work (``mirt.clock``), but for a second in which an end can be noted. The server waits
    for us too, for ``IDLE_S``: then it ends the transaction.

    With ``reads_only`` nothing can be written, and a writer of a SQLite file is not held up.
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
        """Whether this is the embedded mode's file."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit what is done inside as a whole, or nothing of it.

        Raises:
            DatabaseError: when the database cannot be reached, times out or gives up a deadlock.
            SoftTimeLimitExceeded: when it has not answered by the deadline of the work.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except PoolTimeoutError:
            raise DatabaseError("no database connection became free in time") from None
        except (OperationalError, InterfaceError, InternalError) as failed:
            # Errors of the other classes are about our statement: bugs, not to be tried again.
            if isinstance(failed.orig, TIMED_OUT) and time_left(1) <= 0:
                raise SoftTimeLimitExceeded from None
            raise DatabaseError(_without_parameters(failed)) from None
        except ProgrammingError as failed:
            if getattr(failed.orig, "sqlstate", None) != NOT_ALLOWED:
                raise
            raise DatabaseError(_without_parameters(failed)) from None

    def ping(self) -> None:
        """Ask the database anything.

        Raises:
            DatabaseError: when it does not answer.
        """
        with self.transaction() as tx:
            tx.execute(text("SELECT 1"))

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def sqlalchemy_url(url: str) -> URL:
    """Read a DSN as people write it: ``postgres://`` and ``postgresql://`` mean psycopg 3."""
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
        # A transaction-mode pooler, like Supabase's, knows no prepared statements.
        "connect_args": {"prepare_threshold": None},
    }


def _bound_postgres(connection: Connection) -> None:
    # SET LOCAL ends with the transaction, so it is right behind a transaction-mode pooler too.
    connection.exec_driver_sql(
        f"SET LOCAL statement_timeout = {_ms(STATEMENT_TIMEOUT_S)};"
        f"SET LOCAL lock_timeout = {_ms(LOCK_TIMEOUT_S)};"
        f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * IDLE_S)}"
    )


def _ms(longest_s: float) -> int:
    return round(1000 * statement_timeout(longest_s))


def _connect_postgres(_dialect: object, _record: object, args: Any, options: Any) -> Any:
    # In whole seconds, and two at least: so libpq wants it.
    within_s = ceil(max(2, time_left(CONNECT_TIMEOUT_S)))
    return BoundedConnection.connect(*args, **options, connect_timeout=within_s)


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a writer fails at once when another writes.
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
    # SQLAlchemy's own text carries the statement and its parameters: customers' messages.
    return f"{type(failed.orig).__name__}: {str(failed.orig).strip()}"


def upsert(tx: Connection, table: Table) -> Any:
    """Begin such an INSERT; both dialects offer the same ``on_conflict_…`` methods."""
    return (sqlite_insert if tx.dialect.name == "sqlite" else postgres_insert)(table)
