"""One engine a process: how a transaction is begun, bounded in time, and reported when it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mirt.errors import DatabaseError

CONNECT_TIMEOUT_S: Final = 3
STATEMENT_TIMEOUT_MS: Final = 8_000
LOCK_TIMEOUT_MS: Final = 5_000


class Database:
    """The way to PostgreSQL, or to a SQLite file in the embedded mode.

    Opened lazily, so that a process may fork before its first transaction. Every wait is bounded:
    for a pooled connection and for connecting by ``CONNECT_TIMEOUT_S``, for a lock and a statement
    by the server itself.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = sqlalchemy_url(url)
        self.engine = create_engine(
            self.url, hide_parameters=True, **_engine_options(self.url, pool_size)
        )
        begin = _begin_sqlite if self.is_sqlite else _bound_postgres
        event.listen(self.engine, "begin", begin)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded mode's file."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit what is done inside as a whole, or nothing of it.

        Raises:
            DatabaseError: when the database cannot be reached, times out or gives up a deadlock.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except PoolTimeoutError:
            raise DatabaseError("no database connection became free in time") from None
        except (OperationalError, InterfaceError, InternalError) as failed:
            # Errors of the other classes are about our statement: bugs, not to be tried again.
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
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        return {"connect_args": {"timeout": LOCK_TIMEOUT_MS / 1000, "check_same_thread": False}}
    return {
        "pool_size": pool_size,
        "max_overflow": 2,
        "pool_timeout": CONNECT_TIMEOUT_S,
        "pool_recycle": 1800,
        "pool_pre_ping": True,
        # A transaction-mode pooler, like Supabase's, knows no prepared statements.
        "connect_args": {"connect_timeout": CONNECT_TIMEOUT_S, "prepare_threshold": None},
    }


def _bound_postgres(connection: Connection) -> None:
    # SET LOCAL ends with the transaction, so it is right behind a transaction-mode pooler too.
    connection.exec_driver_sql(
        f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS};"
        f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"
    )


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a writer fails at once when another writes.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None
    dbapi_connection.execute("PRAGMA journal_mode = WAL")
    dbapi_connection.execute("PRAGMA synchronous = FULL")


def _without_parameters(failed: DBAPIError) -> str:
    # SQLAlchemy's own text carries the statement and its parameters: customers' messages.
    return f"{type(failed.orig).__name__}: {str(failed.orig).strip()}"
