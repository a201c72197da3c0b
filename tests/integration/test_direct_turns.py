"""Callers of one conversation at the same moment, on a database that locks rows."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from mirt.store.engine.database import Database
from mirt.task_names import TaskName
from tests.polling import wait_until
from tests.unit.business import mail
from tests.unit.turns.conftest import Shop, open_shop

WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    database = Database(database_url)
    with open_shop(database) as opened:
        yield opened
    database.close()


def test_a_caller_that_looks_for_its_turn_never_blocks_the_one_that_has_it(
    shop: Shop, database_url: str
) -> None:
    holding: set[int] = set()
    between = threading.Event()

    @event.listens_for(shop.database.engine, "before_cursor_execute")
    def pause(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if not statement.startswith("SELECT") or "FOR UPDATE" not in statement:
            return
        if "FROM tasks" in statement:
            holding.add(threading.get_ident())
        elif threading.get_ident() in holding and not between.is_set():
            # The turn's task is held, and its conversation is about to be locked.
            between.set()
            with psycopg.connect(database_url, autocommit=True) as other:
                wait_until(lambda: other.execute(WAITING).fetchone(), what="the other waits")

    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(shop.dispatch, mail("t1", actor=TaskName.PROCESS_MESSAGE))
        assert between.wait(10)
        second = callers.submit(shop.dispatch, mail("t2", actor=TaskName.PROCESS_MESSAGE))
        answers = [(caller.result(20).result or {})["response"] for caller in (first, second)]
    assert answers == ["answer 1", "answer 1"]  # of a turn that has taken both
