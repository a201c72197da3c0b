"""No wait for the database is without an end: for a lock, a silent server; nor its own for us."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import text

from mirt.clock import deadline_in
from mirt.errors import DatabaseError, SoftTimeLimitExceeded
from mirt.store.engine import timeouts
from mirt.store.engine.database import Database
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from tests.servers import Postgres

SOON_S = 3.0
"""The deadline, a second to note the end in, one for the server to say so, and some air."""
CONNECTED_S = 3.0
"""Seconds after a silent server: the connections are made once more by then."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.ping()
    yield database
    database.close()


@contextmanager
def over_within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def execute(database: Database, statement: str) -> None:
    with database.transaction() as tx:
        tx.execute(text(statement))


def test_a_statement_ends_by_the_deadline_of_the_work(database: Database) -> None:
    with over_within(SOON_S), deadline_in(0.5), pytest.raises(SoftTimeLimitExceeded):
        execute(database, "SELECT pg_sleep(30)")


def test_a_wait_for_a_lock_ends_by_the_deadline_of_the_work(
    database: Database, database_url: str
) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE tasks")
        with over_within(SOON_S), deadline_in(0.5), pytest.raises(SoftTimeLimitExceeded):
            execute(database, "SELECT count(*) FROM tasks")


def test_a_server_that_says_nothing_is_waited_for_until_the_deadline_of_the_work(
    database: Database, postgres: Postgres
) -> None:
    with postgres.frozen():
        soon = over_within(SOON_S + CONNECTED_S)
        with soon, deadline_in(0.5), pytest.raises(SoftTimeLimitExceeded):
            database.ping()
    database.ping()


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_one_that_works(
    database: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "SILENCE_S", 1.0)
    refused = pytest.raises(DatabaseError, match=r"no answer within 2\.0 s")
    with over_within(SOON_S), refused, database.transaction() as tx, postgres.frozen():
        tx.execute(text("SELECT 1"))
    database.ping()


def test_the_server_itself_ends_a_statement_a_lock_and_an_idle_transaction(
    database: Database,
) -> None:
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    with database.transaction() as tx:
        found = [tx.execute(text(f"SHOW {limit}")).scalar_one() for limit in limits]
    assert found == ["8s", "5s", "10s"]
    with deadline_in(2.0), database.transaction() as tx:
        short = tx.execute(text("SHOW statement_timeout")).scalar_one()
    assert short.endswith("ms") or short in {"1s", "2s"}


def test_an_outcome_after_the_deadline_is_stored(database: Database) -> None:
    with deadline_in(-1):
        execute(database, "CREATE TABLE noted ()")
    execute(database, "SELECT * FROM noted")


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=10)


def claim(database: Database, owner: str, now: datetime) -> Lease | None:
    with database.transaction() as tx:
        return leases.claim(tx, TaskMessage("t1", "ping"), owner=owner, now=now, duration=LEASE)


def test_a_worker_that_freezes_in_a_transaction_keeps_no_task_beyond_its_lease(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.store.engine.database.IDLE_S", 1.0)
    frozen = claim(database, "frozen", NOON)
    assert frozen is not None
    tx = database.engine.connect()
    leases.verify(tx, frozen)
    with closing(Database(database_url)) as another, over_within(SOON_S):
        assert claim(another, "another", NOON + LEASE) is not None
    tx.invalidate()
    tx.close()
    database.ping()
