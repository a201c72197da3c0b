"""The queries that run again and again read no whole table, however much is over by now."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event

from middleware.policy import TASKS
from mirt.clock import utc_now
from mirt.store.engine.database import Database
from mirt.store.queue import leases, outbox, pauses
from mirt.store.reports import counts, day
from mirt.store.reports import orders as lists
from mirt.store.shop.retention import OLD, remove_batch
from tests.seed_month import seed_month

Run = Callable[[Connection], object]
BIG = ("conversations", "deliveries", "inbox", "orders", "tasks", "turns")


@pytest.fixture
def month(database_url: str) -> Iterator[Database]:
    seed_month(database_url, conversations=20_000, dead_letters=100)
    opened = Database(database_url, pool_size=1)
    yield opened
    opened.close()


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    found: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            found.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    yield found
    event.remove(database.engine, "before_cursor_execute", note)


def plan_of(tx: Connection, statement: str, parameters: Any) -> str:
    rows = tx.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
    return "\n".join(rows)


def remove(number: int) -> Run:
    def run(tx: Connection) -> object:
        before = utc_now() - timedelta(days=3)
        first = remove_batch(tx, OLD[number], before=before, cursor=None, limit=100)
        return remove_batch(tx, OLD[number], before=before, cursor=first.cursor, limit=100)

    return run


ASKED: dict[str, Run] = {
    "tasks that should be in the broker": lambda tx: outbox.count_queued(tx, list(TASKS)),
    "tasks that the broker has lost": lambda tx: outbox.make_lost_due(
        tx, list(TASKS), published_before=utc_now(), now=utc_now()
    ),
    "tasks of a process that is gone": lambda tx: leases.release_owner(
        tx, "gone", count_as_crash=True, now=utc_now()
    ),
    "tasks after a restart": lambda tx: outbox.make_all_due(tx, now=utc_now()),
    "unknown outcomes": counts.unknown_outcomes,
    "the figures of a day": lambda tx: day.figures(
        tx, day.Span(utc_now() - timedelta(days=1), utc_now())
    ),
    "the orders that need a person": lambda tx: lists.troubled_orders(tx, limit=50),
    "the latest orders": lambda tx: lists.list_orders(tx, limit=50),
    "paused work": pauses.all_pauses,
    "open tasks": lambda tx: list(counts.open_tasks(tx)),
    **{f"old rows of {rows.table.name}": remove(number) for number, rows in enumerate(OLD)},
}


def test_no_query_that_is_repeated_reads_a_whole_table(month: Database) -> None:
    scans = []
    for what, run in ASKED.items():
        with month.transaction() as tx, statements(month) as asked:
            run(tx)
        assert asked, what
        for statement, parameters in asked:
            with month.transaction() as tx:
                plan = plan_of(tx, statement, parameters)
            scans += [f"{what}\n{plan}" for table in BIG if f"Seq Scan on {table}" in plan]
    assert scans == []
