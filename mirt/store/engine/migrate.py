"""Migrate the database to the schema that this code needs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from mirt.errors import DatabaseError
from mirt.store.engine.database import (
    AWAY,
    CONNECT_TIMEOUT_S,
    NOT_ALLOWED,
    Database,
    sqlalchemy_url,
)
from mirt.store.engine.lock_patience import LOCK_TIMEOUT_S, PATIENCE_S, with_lock_patience
from mirt.store.engine.revision import is_usable_newer, revision_of

log = structlog.get_logger(__name__)

_LOCK: Final = 0x6D697274
_LOOK_AGAIN_S: Final = 0.2


def upgrade(url: str, *, to: str = "head") -> None:
    """Run every migration that is missing, up to the revision ``to``. Safe in two processes.

    The service may go on meanwhile: no statement waits long for a lock that stops others, indexes
    are built beside the writers, and updates commit in batches. A migration that was cut off begins
    again at the next call. A newer schema that this version works on stays as it is.

    Raises:
        DatabaseError: the database cannot be reached, or another transaction holds a lock for ten
            minutes.
    """
    if sqlalchemy_url(url).get_backend_name() == "sqlite":
        _upgrade_sqlite(url, to)
        return
    engine = _engine(url)
    try:
        with _alone(engine):
            _upgrade_postgres(engine, to)
    except DBAPIError as failed:
        orig = failed.orig
        if isinstance(orig, AWAY) or getattr(orig, "sqlstate", None) == NOT_ALLOWED:
            raise DatabaseError(f"{type(orig).__name__}: {str(orig).strip()}") from None
        raise
    finally:
        engine.dispose()


def _upgrade_sqlite(url: str, to: str) -> None:
    database = Database(url)
    # Another process may be migrating the file, which takes longer than a transaction of ours.
    event.listen(database.engine, "connect", _wait_for_the_file)
    try:
        with database.transaction() as tx:
            if not is_usable_newer(tx):
                _run(tx, to, commits_each_step=False)
    finally:
        database.close()


def _wait_for_the_file(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(1000 * PATIENCE_S)}")


def _upgrade_postgres(engine: Engine, to: str) -> None:
    with engine.begin() as tx:
        if is_usable_newer(tx):
            return
        if revision_of(tx) is None:
            # No service works without a schema, so no lock can stop one.
            _run(tx, to, commits_each_step=False)
            return

    def go_on() -> None:
        with engine.connect() as connection:
            _run(connection, to, commits_each_step=True)

    with_lock_patience(go_on)


def _engine(url: str) -> Engine:
    """Return an engine without the bounds of ours: an index may take an hour."""
    engine = create_engine(
        sqlalchemy_url(url),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT_S},
    )

    @event.listens_for(engine, "begin")
    def limit(connection: Connection) -> None:
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = {round(1000 * LOCK_TIMEOUT_S)};"
            "SET LOCAL statement_timeout = 0;"
            "SET LOCAL idle_in_transaction_session_timeout = 0"
        )

    return engine


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Hold the lock of the migrations, in a transaction to be safe behind a pooler.

    An index that is built waits for every snapshot that is older than it. So this transaction must
    have none: the lock is tried, as a waiting statement has one, and without parameters, as their
    portal keeps one until the next statement.
    """
    has_waited = False
    while True:
        with engine.begin() as tx:
            if tx.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_LOCK})").scalar_one():
                yield
                return
        if not has_waited:
            log.warning("migration_waits", why="another process migrates this database")
        has_waited = True
        time.sleep(_LOOK_AGAIN_S)


def _run(connection: Connection, to: str, *, commits_each_step: bool) -> None:
    config = Config()
    config.set_main_option("script_location", "mirt.store:migrations")
    config.set_main_option("path_separator", "os")
    attributes: dict[str, Any] = {
        "connection": connection,
        "commits_each_step": commits_each_step,
    }
    config.attributes.update(attributes)
    command.upgrade(config, to)
