"""Workers say that they are there, and what happens to a task is written down."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from actors.messages import process_and_respond, send_response
from middleware.dead_letters import replay
from mirt.clock import utc_now
from mirt.store.engine.stores import stores
from mirt.store.queue import workers
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.queue.events import EventKind, TaskEvent, events_of
from mirt.store.queue.workers import WorkerRow
from service.processes.worker_main import stop_worker
from tests.fakes import FakeServices, Hang, Status
from tests.fakes.telegram import refusal
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until

Run = Callable[..., Running]
FAILED = refusal(500, "Internal Server Error")
"""Surely not sent: it is in the words of the Bot API."""
REFUSED = Status(
    400, body={"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
)
NUL = "Bad Request: \0"


def living(running: Running, *, at: datetime | None = None) -> list[WorkerRow]:
    with stores(running.settings).database.transaction() as tx:
        return workers.living(tx, now=at or utc_now())


def events(running: Running, task_id: str) -> list[TaskEvent]:
    with stores(running.settings).database.transaction() as tx:
        return events_of(tx, [task_id])


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_a_worker_is_seen_while_it_works_and_gone_when_it_has_stopped(
    run: Run, transport: str
) -> None:
    running = run(transport)
    [worker] = wait_until(lambda: living(running))
    assert worker.threads == 4
    assert worker.queues == sorted(worker.queues) != []
    assert worker.memory_mb > 10
    assert running.worker is not None
    stop_worker(running.worker, grace_s=10)
    wait_until(lambda: not living(running))


def test_a_worker_that_says_nothing_any_more_is_gone_within_15_seconds(run: Run) -> None:
    running = run("embedded")
    [worker] = wait_until(lambda: living(running))
    assert living(running, at=worker.seen_at + timedelta(seconds=15)) == []


def test_a_worker_that_stops_is_seen_stopping_while_its_task_runs(
    run: Run, services: FakeServices
) -> None:
    running = run("rabbitmq")
    services.misbehave("llm", Hang())
    process_and_respond.send("7", "Привіт", "telegram", "7")
    wait_until(lambda: services.requests("llm"))
    assert running.worker is not None
    running.broker.emit_before("worker_shutdown", running.worker)
    wait_until(lambda: living(running) and living(running)[0].stopping)
    services.release()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_failure_and_decision_is_written_down_with_its_why(
    run: Run, services: FakeServices, transport: str
) -> None:
    services.misbehave("telegram", FAILED, times=2)
    services.misbehave("telegram", REFUSED)
    running = run(transport)
    message = send_response.send("telegram", "7", "hello")
    wait_until(lambda: _kinds(running, message.message_id)[-1:] == [EventKind.DIED])
    replay(running.broker, stores(running.settings).database, DeadLetterFilter(), utc_now)
    wait_until(lambda: services.sent("7"))

    first, second, died, replayed = events(running, message.message_id)
    assert (first.kind, second.kind, replayed.kind) == ("retried", "retried", "replayed")
    assert (first.attempt, second.attempt, died.attempt) == (0, 1, 2)
    assert first.code == "ExternalServiceError"
    assert first.until is not None
    assert first.until >= first.at
    assert died.code == "CHANNEL_REFUSED"
    assert "chat not found" in (died.why or "")


def test_an_error_that_quotes_what_cannot_be_stored_is_a_dead_letter_all_the_same(
    run: Run, services: FakeServices
) -> None:
    body = {"ok": False, "error_code": 400, "description": NUL}
    services.misbehave("telegram", Status(400, body=body))
    running = run("rabbitmq")
    message = send_response.send("telegram", "7", "hello")
    wait_until(lambda: _kinds(running, message.message_id) == [EventKind.DIED])
    assert events(running, message.message_id)[0].code == "CHANNEL_REFUSED"


def _kinds(running: Running, task_id: str) -> list[EventKind]:
    return [event.kind for event in events(running, task_id)]
