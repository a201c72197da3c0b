"""Run transactions that are bounded in time and raise the errors of this project.

A process has one engine.
"""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import pq
from sqlalchemy import URL, Connection, Table, create_engine, event, make_url, text
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mirt.clock import Clock, time_left, utc_now
from mirt.errors import DatabaseError, ServerUrlError, SoftTimeLimitExceeded
from mirt.store.engine.database_clock import DatabaseClock
from mirt.store.engine.group_commit import GroupCommit
from mirt.store.engine.pipe import Limits, attach, pipe_of
from mirt.store.engine.piped_connection import PipedConnection
from mirt.store.engine.private_file import make_private, make_private_folder
from mirt.store.engine.statement_errors import BusyError, StatementError
from mirt.store.engine.timeouts import TIMED_OUT, statement_timeout
from mirt.store.tables.storable import storable_json

CONNECT_TIMEOUT_S: Final = 3
STATEMENT_TIMEOUT_S: Final = 8.0
LOCK_TIMEOUT_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.01
IDLE_S: Final = 10.0
"""Seconds that a transaction may do nothing.

Without this limit, the locks of a machine that is gone or frozen last until the network notices,
which takes hours. Its leases run out, but no worker can claim the tasks. Our transactions wait for
nothing but the database, so they are idle for milliseconds at most.
"""
_LIMITS: Final = """
SELECT set_config('statement_timeout', %(statement)s, true),
       set_config('lock_timeout', %(lock)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle)s, true),
       extract(epoch FROM clock_timestamp())::float8
"""
PING_AFTER_S: Final = 5.0
"""Seconds after which a pooled connection is asked whether it still lives, before it is used."""
AWAY: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    sqlite3.OperationalError,
    sqlite3.InterfaceError,
    sqlite3.InternalError,
)
"""Errors of the server, the way to it or its load: a retry may succeed."""
IN_THE_WAY: Final = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
UNTAKEN: Final = ("22", "54")
"""PostgreSQL's classes of values that it cannot take or keep, as one too long for an index. The
driver counts some of them as errors of the server; but no retry helps."""
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
            make_private_folder(Path(str(self.url.database)).parent)
        self.engine = create_engine(
            self.url,
            hide_parameters=True,
            json_serializer=storable_json,
            **_engine_options(self.url, pool_size),
        )
        self._lost_at = 0.0
        self.commits = GroupCommit(self.transaction)
        self._server_clock = None if self.is_sqlite else DatabaseClock(self.ping)
        if self._server_clock is None:
            if not reads_only:
                event.listen(self.engine, "do_connect", self._close_file_to_others)
            prepare = _prepare_reading_sqlite if reads_only else _prepare_sqlite
            event.listen(self.engine, "connect", prepare)
            event.listen(
                self.engine, "begin", _begin_reading_sqlite if reads_only else _begin_sqlite
            )
        else:
            event.listen(self.engine, "do_connect", _connect_postgres)
            event.listen(self.engine, "checkout", self._check_out)
            event.listen(self.engine, "checkin", _check_in)
            begin = "BEGIN READ ONLY" if reads_only else "BEGIN"
            attach(self.engine, begin, _limits, self._server_clock)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the SQLite file of the embedded mode."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def clock(self) -> Clock:
        """The clock that everything in this database is dated by, the same on every machine."""
        return self._server_clock or utc_now

    def clock_ahead_s(self) -> float:
        """Return the seconds by which the clock of this machine is ahead of ``clock``.

        Raises:
            DatabaseError: the database has not been reached yet, and cannot be reached now.
        """
        return self._server_clock.ahead_s() if self._server_clock else 0.0

    @contextmanager
    def transaction(self, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[Connection]:
        """Begin a transaction; commit it at the end, or roll it back after an error.

        ``lock_timeout_s`` bounds the wait for each lock, in seconds.

        Raises:
            DatabaseError: the database cannot be reached, times out or breaks a deadlock.
            SoftTimeLimitExceeded: the database has not answered by the deadline of the task.
        """
        connection: Connection | None = None
        try:
            with self.engine.begin() as connection:
                if pipe := pipe_of(connection):
                    pipe.lock_timeout_s = lock_timeout_s
                yield connection
        except PoolTimeoutError:
            raise DatabaseError("no database connection became free in time") from None
        except DBAPIError as failed:
            raise self._translated(failed.orig or failed) from None
        except psycopg.Error as failed:
            raise self._translated(failed) from None

    def _translated(self, failed: BaseException) -> Exception:
        """Return the error that a driver's error means, without what it quotes of a statement."""
        if isinstance(failed, psycopg.OperationalError):
            self._lost_at = time.monotonic()
        if isinstance(failed, TIMED_OUT) and time_left(1) <= 0:
            return SoftTimeLimitExceeded()
        why = f"{type(failed).__name__}: {_primary(failed)}"
        if isinstance(failed, IN_THE_WAY):
            return BusyError(why)
        if str(getattr(failed, "sqlstate", None))[:2] in UNTAKEN:
            return StatementError(why)
        if isinstance(failed, AWAY) or getattr(failed, "sqlstate", None) == NOT_ALLOWED:
            return DatabaseError(why)
        # The others are bugs in our statement; a retry does not help.
        return StatementError(why)

    def _close_file_to_others(self, *_: object) -> None:
        if self.url.database not in {None, "", ":memory:"}:
            make_private(Path(str(self.url.database)))

    def _check_out(self, connection: Any, record: Any, _proxy: object) -> None:
        """Replace a pooled connection that the server has ended meanwhile.

        A busy connection is not asked: that would cost a round trip for each transaction.
        """
        used_at = record.info.setdefault("used_at", time.monotonic())
        if time.monotonic() - used_at < PING_AFTER_S and used_at > self._lost_at:
            return
        try:
            connection.execute("SELECT 1")
        except psycopg.Error:
            raise DisconnectionError from None
        record.info["used_at"] = time.monotonic()

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
    """Parse a DSN as people write it: ``postgres://`` and ``postgresql://`` mean psycopg 3.

    Raises:
        ServerUrlError: PostgreSQL takes no such option, as those of a pooler or of another driver.
    """
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "postgresql":
        _check_options(parsed)
    return parsed


def _check_options(url: URL) -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if unknown := [f'"{name}"' for name in url.query if name not in known]:
        problem = f"PostgreSQL knows no option {' and no option '.join(unknown)}"
        raise ServerUrlError("DATABASE_URL", problem)
    within_s = str(url.query.get("connect_timeout", 0))
    if not re.fullmatch(r"-?\d{1,9}", within_s, re.ASCII):
        raise ServerUrlError("DATABASE_URL", "connect_timeout must be a whole number of seconds")


def _engine_options(url: URL, pool_size: int) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": LOCK_TIMEOUT_S, "check_same_thread": False}}
    return {
        "pool_size": pool_size,
        "max_overflow": 2,
        "pool_timeout": CONNECT_TIMEOUT_S,
        "pool_recycle": 1800,
        # The connection that was used last: it is awake, and has its statements prepared.
        "pool_use_lifo": True,
        # psycopg would prepare behind a pooler, too. ``PipedConnection`` knows when it may.
        # With autocommit the driver begins no transaction by itself: ours begin in ``Pipe``.
        "connect_args": {"prepare_threshold": None, "autocommit": True},
    }


def _limits(lock_timeout_s: float) -> Limits:
    # Local to the transaction, so they are safe behind a pooler in transaction mode.
    return _LIMITS, {
        "statement": _ms(STATEMENT_TIMEOUT_S),
        "lock": str(round(1000 * min(lock_timeout_s, statement_timeout(LOCK_TIMEOUT_S)))),
        "idle": str(round(1000 * IDLE_S)),
    }


def _ms(longest_s: float) -> str:
    return str(round(1000 * statement_timeout(longest_s)))


def _connect_postgres(_dialect: object, _record: object, args: Any, options: Any) -> Any:
    # For libpq, too, a limit of zero or less is none. It wants whole seconds, at least two.
    asked_s = int(options.get("connect_timeout", 0))
    within_s = ceil(max(2, time_left(asked_s if asked_s > 0 else CONNECT_TIMEOUT_S)))
    connection = PipedConnection.connect(*args, **{**options, "connect_timeout": within_s})
    try:
        connection.find_out_whether_to_prepare()
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that begins to write fails at once while another one writes.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_reading_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _prepare_reading_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None
    dbapi_connection.execute("PRAGMA query_only = ON")


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None
    _log_ahead(dbapi_connection)
    dbapi_connection.execute("PRAGMA synchronous = FULL")


def _log_ahead(dbapi_connection: Any) -> None:
    """Turn on the write-ahead log. SQLite itself never waits for the lock that this may need."""
    ends = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            dbapi_connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(_LOOK_AGAIN_S)
        else:
            return


def _check_in(_connection: object, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _primary(failed: BaseException) -> str:
    """Return what the server or the driver says, without the values that DETAIL quotes."""
    diagnosis = getattr(failed, "diag", None)
    return str(getattr(diagnosis, "message_primary", None) or failed).strip()


def upsert(tx: Connection, table: Table) -> Any:
    """Return an INSERT of the dialect in use; both have the same ``on_conflict_…`` methods."""
    return (sqlite_insert if tx.dialect.name == "sqlite" else postgres_insert)(table)
