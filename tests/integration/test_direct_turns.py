"""Callers of one conversation at the same moment, on a database that locks rows."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from mirt.store.engine.database import Database
from mirt.store.engine.pipe import Pipe
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
    shop: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = threading.Event()
    send = Pipe.send

    def pause_between_the_locks(pipe: Pipe, *statements: tuple[str, Any]) -> list[Any]:
        texts = [text for text, _ in statements]
        locks = [n for n, text in enumerate(texts) if "FOR UPDATE" in text]
        if between.is_set() or len(locks) < 2 or "FROM tasks" not in texts[locks[0]]:
            return send(pipe, *statements)
        # The turn's task is held, and its conversation is about to be locked.
        held = send(pipe, *statements[: locks[1]])
        between.set()
        with psycopg.connect(database_url, autocommit=True) as other:
            wait_until(lambda: other.execute(WAITING).fetchone(), what="the other waits")
        return [*held, *send(pipe, *statements[locks[1] :])]

    monkeypatch.setattr(Pipe, "send", pause_between_the_locks)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(shop.dispatch, mail("t1", actor=TaskName.PROCESS_MESSAGE))
        assert between.wait(10)
        second = callers.submit(shop.dispatch, mail("t2", actor=TaskName.PROCESS_MESSAGE))
        answers = [(caller.result(20).result or {})["response"] for caller in (first, second)]
    assert answers == ["answer 1", "answer 1"]  # of a turn that has taken both
