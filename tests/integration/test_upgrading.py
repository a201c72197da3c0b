"""A database in use is upgraded: the service goes on, and an upgrade that is cut off goes on."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from mirt.errors import DatabaseError
from mirt.store.engine import lock_patience
from mirt.store.engine.database import Database
from mirt.store.engine.migrate import upgrade
from mirt.store.migrations import steps
from mirt.store.tables import metadata
from tests.polling import wait_until

OLDEST = "0001"
EARLY_ROWS = """
INSERT INTO conversations (session_id, platform, last_customer_at, created_at)
SELECT 's' || n, 'telegram', now(), now() FROM generate_series(1, 2500) n;
INSERT INTO tasks (id, actor, args, kwargs, options, state, due_at, created_at, started_at)
SELECT 't' || n, 'ping', '[]', jsonb_build_object('session_id', 's' || n),
       jsonb_build_object('trace_id', 'trace' || n), 'queued', now(), now(), now()
FROM generate_series(1, 2500) n;
"""
NEW_TASK = """
INSERT INTO tasks (id, actor, args, kwargs, options, state, created_at)
VALUES (%s, 'ping', '[]', '{}', '{}', 'done', now())
"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


@pytest.fixture
def fresh(database_url: str) -> Iterator[list[tuple[Any, ...]]]:
    """The indexes of a database that was made at once."""
    with psycopg.connect(database_url) as connection:
        yield connection.execute(INDEXES).fetchall()


@pytest.fixture
def old(database_url: str, fresh: list[tuple[Any, ...]]) -> str:
    """The URL of a database with the first schema, and rows."""
    assert fresh
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    upgrade(database_url, to=OLDEST)
    with psycopg.connect(database_url) as connection:
        connection.execute(EARLY_ROWS)
    return database_url


def assert_is_upgraded(url: str, fresh: list[tuple[Any, ...]]) -> None:
    database = Database(url)
    options = {"compare_type": True, "compare_server_default": True}
    with database.transaction() as tx:
        found = compare_metadata(MigrationContext.configure(tx, opts=options), metadata)
    database.close()
    assert found == []
    with psycopg.connect(url) as connection:
        assert connection.execute(INDEXES).fetchall() == fresh
        invalid = connection.execute("SELECT 1 FROM pg_index WHERE NOT indisvalid").fetchall()
    assert invalid == []


def test_an_old_database_becomes_as_a_new_one_and_its_rows_are_filled_in(
    old: str, fresh: list[tuple[Any, ...]]
) -> None:
    upgrade(old)
    assert_is_upgraded(old, fresh)
    with psycopg.connect(old) as connection:
        tasks = connection.execute(
            "SELECT count(*) FROM tasks WHERE trace_id = 'trace' || substr(id, 2)"
            " AND session_id = 's' || substr(id, 2) AND waits_since = created_at"
            " AND first_started_at = started_at"
        ).fetchone()
        conversations = connection.execute(
            "SELECT count(*) FROM conversations WHERE summary_awaited AND followups_taken > 1000"
        ).fetchone()
    assert (tasks, conversations) == ((2500,), (2500,))


def test_writers_wait_for_no_upgrade_that_waits_for_a_long_reader(
    old: str, fresh: list[tuple[Any, ...]]
) -> None:
    with (
        psycopg.connect(old) as reader,
        psycopg.connect(old, autocommit=True) as writer,
        ThreadPoolExecutor(1) as upgrading,
    ):
        reader.execute("SELECT count(*) FROM tasks")
        done = upgrading.submit(upgrade, old)
        wait_until(lambda: waits_for_a_lock(old))
        for number in range(5):
            writer.execute(NEW_TASK, [f"new{number}"])
        assert not done.done()
        reader.rollback()
        done.result(timeout=60)
    assert_is_upgraded(old, fresh)


def waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as connection:
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        return connection.execute(waiting).fetchone() is not None


def test_an_upgrade_that_finds_a_lock_taken_for_too_long_says_so_and_changes_no_row(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_patience, "PATIENCE_S", 0)
    with psycopg.connect(old) as reader:
        reader.execute("SELECT count(*) FROM conversations")
        with pytest.raises(DatabaseError, match="lock timeout"):
            upgrade(old)


@pytest.mark.parametrize("step", [1, 4, 12])
def test_an_upgrade_that_was_cut_off_goes_on(
    old: str, fresh: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    cut_off_after(step, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        upgrade(old)
    monkeypatch.undo()
    upgrade(old)
    assert_is_upgraded(old, fresh)


def cut_off_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the upgrade after so many commits."""
    commits, commit = 0, steps._commit

    def count() -> None:
        nonlocal commits
        commit()
        commits += 1
        if commits == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(steps, "_commit", count)


def test_an_index_that_was_not_finished_is_built_again(
    old: str, fresh: list[tuple[Any, ...]]
) -> None:
    with psycopg.connect(old) as connection:
        connection.execute("CREATE INDEX turns_answered ON turns (answered_at)")
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'turns_answered'::regclass"
        )
    upgrade(old)
    assert_is_upgraded(old, fresh)


def test_several_upgrades_at_once_are_one(old: str, fresh: list[tuple[Any, ...]]) -> None:
    with ThreadPoolExecutor(3) as several:
        for done in [several.submit(upgrade, old) for _ in range(3)]:
            done.result(timeout=60)
    assert_is_upgraded(old, fresh)


def test_rows_that_are_written_during_an_upgrade_stay(
    old: str, fresh: list[tuple[Any, ...]]
) -> None:
    database, written = Database(old, pool_size=1), 0
    with ThreadPoolExecutor(1) as upgrading:
        done = upgrading.submit(upgrade, old)
        while not done.done():
            with database.transaction() as tx:
                tx.execute(text(NEW_TASK.replace("%s", f"'during{written}'")))
            written += 1
        done.result()
    database.close()
    assert_is_upgraded(old, fresh)
    with psycopg.connect(old) as connection:
        kept = connection.execute("SELECT count(*) FROM tasks WHERE id LIKE 'during%'").fetchone()
    assert kept == (written,)


A_MILLION = """
INSERT INTO tasks (id, actor, args, kwargs, options, state, created_at)
SELECT 'm' || n, 'ping', '[]', '{}', '{}', 'done', now() FROM generate_series(1, 1000000) n
"""


@pytest.mark.slow
def test_no_writer_waits_for_a_second_while_a_million_rows_are_upgraded(
    old: str, fresh: list[tuple[Any, ...]]
) -> None:
    with psycopg.connect(old, autocommit=True) as writer, ThreadPoolExecutor(1) as upgrading:
        writer.execute(A_MILLION)
        usual_s = max(write_s(writer, f"before{number}") for number in range(200))
        done, waits_s = upgrading.submit(upgrade, old), [0.0]
        while not done.done():
            waits_s.append(write_s(writer, f"during{len(waits_s)}"))
        done.result()
    assert max(waits_s) < 1 + usual_s
    assert len(waits_s) > 100
    assert_is_upgraded(old, fresh)


def write_s(writer: "psycopg.Connection[Any]", task_id: str) -> float:
    """Return the seconds in which a new row was written."""
    began = time.monotonic()
    writer.execute(NEW_TASK, [task_id])
    return time.monotonic() - began
