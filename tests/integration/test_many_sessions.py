"""Of very many silent customers those who are due are found, once, soon, and a few at a time."""

import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import event, insert, select

from broker.task import registry
from mirt.runtime import current_runtime
from mirt.store.tables import conversations, followups, tasks
from tests.clock import FakeClock
from tests.integration.conftest import Running

pytestmark = pytest.mark.alone

SESSIONS, EVERY = 10_000, 33
DUE = [str(number) for number in range(0, 300 * EVERY, EVERY)]


@pytest.fixture
def clock(run: Callable[..., Running]) -> FakeClock:
    clock = FakeClock()
    run("rabbitmq", work=False, clock=clock)
    return clock


def add_sessions(clock: FakeClock, numbers: range, *, due: set[str]) -> None:
    """Customers who wrote yesterday if they are due, and two hours ago if not."""
    fresh, old = clock.now - timedelta(hours=2), clock.now - timedelta(hours=25)
    with current_runtime().database.transaction() as tx:
        tx.execute(
            insert(conversations),
            [
                {
                    "session_id": str(number),
                    "platform": "telegram",
                    "chat_id": str(number),
                    "last_customer_at": old if str(number) in due else fresh,
                    "created_at": old,
                }
                for number in numbers
            ],
        )
        tx.exec_driver_sql("ANALYZE conversations")


def check() -> int:
    """Send the due follow-ups, as ``check_all_sessions_for_followups`` does."""
    return registry.broker.publish_all(current_runtime().followups.take_due())


def test_of_10000_sessions_the_300_that_are_due_are_queued_once_by_two_at_once_within_2_s(
    clock: FakeClock,
) -> None:
    add_sessions(clock, range(SESSIONS), due=set(DUE))
    together = Barrier(2)

    def look(_: int) -> tuple[int, float]:
        together.wait()
        begun = time.monotonic()
        return check(), time.monotonic() - begun

    with ThreadPoolExecutor(2) as two:
        (one, took_one), (other, took_other) = two.map(look, range(2))
    assert one + other == len(DUE)
    assert max(took_one, took_other) < 2
    with current_runtime().database.transaction() as tx:
        taken = sorted(tx.execute(select(followups.c.session_id)).scalars(), key=int)
        queued = sorted((row["session_id"] for row in tx.scalars(select(tasks.c.kwargs))), key=int)
    assert (taken, queued) == (DUE, DUE)
    assert check() == 0


def test_the_memory_it_takes_does_not_grow_with_the_sessions(clock: FakeClock) -> None:
    few, many = range(1_000), range(1_000, 21_000)
    add_sessions(clock, few, due=set(map(str, few[:300])))
    first = memory_of_a_check()
    add_sessions(clock, many, due=set(map(str, many[:300])))
    assert memory_of_a_check() < 1.25 * first


def memory_of_a_check() -> int:
    tracemalloc.start()
    try:
        assert check() == 300
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_due_followups_are_found_by_an_index(clock: FakeClock) -> None:
    add_sessions(clock, range(SESSIONS), due=set(DUE))
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "SKIP LOCKED" in statement:
            asked.append((statement, values))

    engine = current_runtime().database.engine
    event.listen(engine, "before_cursor_execute", note)
    check()
    event.remove(engine, "before_cursor_execute", note)
    assert asked
    with engine.begin() as tx:
        for statement, values in asked:
            plan = "\n".join(tx.exec_driver_sql(f"EXPLAIN {statement}", values).scalars())
            assert "Index Scan" in plan, plan
            assert "Seq Scan" not in plan, plan
