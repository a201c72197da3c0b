"""Each tick is one task, however many schedulers there are, and none is forgotten."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from periodiq import cron
from sqlalchemy import select

from actors.housekeeping import sweep_mailboxes
from middleware.policy import TASKS
from mirt.errors import DatabaseError
from mirt.store.engine.stores import stores
from mirt.store.tables import tasks
from service.processes.worker_main import start_worker, stop_worker
from tests.clock import FakeClock
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ

TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)


def tick(at: datetime) -> None:
    """Send the due ticks, as periodiq does."""
    sweep_mailboxes.send_with_options(scheduled_at=str(at))


def ticks_of(running: Running, task: str) -> list[str]:
    with stores(running.settings).database.transaction() as tx:
        asked = select(tasks.c.id).where(tasks.c.actor == task)
        return sorted(one.partition("@")[2] for one in tx.execute(asked).scalars())


def states_of(running: Running, task: str) -> list[str]:
    with stores(running.settings).database.transaction() as tx:
        return list(tx.execute(select(tasks.c.state).where(tasks.c.actor == task)).scalars())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_tick_that_two_schedulers_send_runs_once(
    run: Callable[..., Running], transport: str
) -> None:
    running = run(transport, work=False)
    for at in (TEN, TEN + timedelta(seconds=20), TEN + timedelta(minutes=1), TEN):
        tick(at)
    expected = ["2026-11-23T10:00:00+00:00", "2026-11-23T10:01:00+00:00"]
    assert ticks_of(running, "sweep_mailboxes") == expected


def test_a_tick_that_many_send_at_the_same_moment_runs_once(run: Callable[..., Running]) -> None:
    running = run("rabbitmq", work=False)
    with ThreadPoolExecutor(8) as schedulers:
        list(schedulers.map(tick, [TEN + timedelta(minutes=n // 8) for n in range(40)]))
    assert len(ticks_of(running, "sweep_mailboxes")) == 5


def test_after_a_pause_the_latest_missed_tick_of_each_task_runs_once(
    run: Callable[..., Running],
) -> None:
    running = run("embedded", work=False)
    tick(TEN)
    tick(TEN + timedelta(hours=50, minutes=7))
    tick(TEN + timedelta(hours=50, minutes=8))
    assert ticks_of(running, "remove_old_rows") == ["2026-11-25T03:30:00+00:00"]
    assert ticks_of(running, "check_all_sessions_for_followups") == [
        "2026-11-23T10:00:00+00:00",
        "2026-11-25T12:00:00+00:00",
    ]


def test_a_new_service_has_missed_nothing(run: Callable[..., Running]) -> None:
    running = run("embedded", work=False)
    tick(TEN + timedelta(minutes=7))
    assert ticks_of(running, "sweep_mailboxes") == ["2026-11-23T10:07:00+00:00"]
    assert ticks_of(running, "remove_old_rows") == []


def test_a_tick_is_not_sent_again_when_its_row_is_gone(run: Callable[..., Running]) -> None:
    running = run("embedded", work=False)
    tick(TEN)
    with stores(running.settings).database.transaction() as tx:
        tx.execute(tasks.delete())
    tick(TEN)
    assert ticks_of(running, "sweep_mailboxes") == []


def test_a_scheduler_outlives_the_database_and_makes_up_for_it(
    run: Callable[..., Running], postgres: Postgres
) -> None:
    running = run("rabbitmq", work=False)
    tick(TEN)
    postgres.kill()
    tick(TEN + timedelta(minutes=15))
    postgres.start()
    tick(TEN + timedelta(minutes=16))
    assert ticks_of(running, "check_all_sessions_for_followups") == [
        "2026-11-23T10:00:00+00:00",
        "2026-11-23T10:15:00+00:00",
    ]


def test_a_scheduler_outlives_rabbitmq_and_its_tick_is_sent_when_that_is_back(
    run: Callable[..., Running], rabbitmq: RabbitMQ
) -> None:
    running = run("rabbitmq", work=False)
    tick(TEN)
    rabbitmq.kill()
    tick(TEN + timedelta(minutes=1))
    rabbitmq.start()
    assert len(ticks_of(running, "sweep_mailboxes")) == 2
    wait_until(lambda: running.broker.ready)
    worker = start_worker(running.broker, queues={"default"}, threads=1, idle_ms=50)
    try:
        wait_until(lambda: states_of(running, "sweep_mailboxes") == ["done", "done"])
    finally:
        stop_worker(worker, grace_s=10)


def test_a_scheduled_task_that_fails_is_tried_again_however_long_ago_its_tick_was(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, failures = FakeClock(), [DatabaseError("away")]

    def fail_once() -> dict[str, str]:
        if failures:
            raise failures.pop()
        return {"status": "ok"}

    monkeypatch.setattr(sweep_mailboxes, "fn", fail_once)
    monkeypatch.setitem(TASKS, "sweep_mailboxes", replace(TASKS["sweep_mailboxes"], retries=1))
    running = run("embedded", clock=clock)
    tick(clock.now)
    wait_until(lambda: states_of(running, "sweep_mailboxes") == ["delayed"])
    clock.advance(hours=1)
    wait_until(lambda: states_of(running, "sweep_mailboxes") == ["done"])


@pytest.mark.parametrize(
    ("task", "times"),
    [
        ("worker_health_check", 288),
        ("check_all_sessions_for_followups", 96),
        ("check_all_sessions_for_summarization", 24),
        ("sweep_mailboxes", 1440),
        ("remove_old_rows", 1),
    ],
)
def test_a_day_has_as_many_ticks_as_the_schedule_says(task: str, times: int) -> None:
    line = cron(TASKS[task].schedule)
    day = [TEN + timedelta(minutes=minute) for minute in range(1440)]
    assert sum(line.validate(minute) for minute in day) == times
