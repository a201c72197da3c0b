"""Workers say how well they are, and everybody can see it; what is old goes, and nothing else."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from falcon.testing import TestClient
from sqlalchemy import update

from actors.health import ping, worker_health_check
from actors.housekeeping import remove_old_rows
from mirt.clock import deadline_in
from mirt.housekeeping import LAST_BATCH_S
from mirt.runtime import current_runtime
from mirt.store.tables import conversations, dead_letters, deliveries, history, inbox, tasks, turns
from service import dispatcher
from service.app import create_app
from tests.clock import FakeClock
from tests.fakes import FakeServices, Status
from tests.integration.conftest import TRANSPORTS, Running, result_of, rows
from tests.polling import wait_until
from tests.servers import Redis

OFF = {"redis": "off", "database": "ok", "rabbitmq": "off"}
OK = {"redis": "ok", "database": "ok", "rabbitmq": "ok"}


def metrics() -> str:
    answer = TestClient(create_app(current_runtime())).simulate_get("/metrics")
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_ping_comes_back(run: Callable[..., Running], transport: str) -> None:
    run(transport)
    sent = ping.send()
    answer = result_of(sent)
    assert (answer["pong"], answer["task_id"]) == (True, sent.message_id)
    assert answer["worker_id"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_worker_asks_everything_and_readyz_says_what_it_found(
    run: Callable[..., Running], transport: str
) -> None:
    run(transport)
    answer = result_of(worker_health_check.send())
    expected = OK if transport == "rabbitmq" else OFF
    assert (answer["status"], answer["checks"]) == ("healthy", expected)
    ready = TestClient(create_app(current_runtime())).simulate_get("/readyz").json
    assert ready["workers"] == {
        "worker_id": answer["worker_id"],
        "status": "healthy",
        "checks": expected,
        "checked_at": answer["timestamp"],
    }
    assert 'mirt_dependency_healthy{dependency="database"' in metrics()


def test_a_dependency_that_is_down_is_seen(
    run: Callable[..., Running], redis_server: Redis
) -> None:
    run("rabbitmq")
    redis_server.kill()
    worker_health_check.send()
    found = current_runtime().health.latest
    check = wait_until(found)
    assert check is not None
    assert (check.status, check.checks["redis"]) == ("degraded", "failed: ConnectionError")
    assert check.checks["rabbitmq"] == "ok"
    assert re.search(r'mirt_dependency_healthy{dependency="redis",worker=".*"} 0.0', metrics())


def test_metrics_tell_of_what_failed(run: Callable[..., Running], services: FakeServices) -> None:
    run("eager")
    services.misbehave(
        "telegram", Status(400, {"ok": False, "description": "Bad Request: chat not found"})
    )
    dispatcher.dispatch_message("42", "Привіт", "telegram", "42", fire_and_forget=True)
    assert 'mirt_dead_letters{code="CHANNEL_REFUSED",task="process_and_respond"} 1.0' in metrics()


def test_metrics_tell_of_what_waits(run: Callable[..., Running]) -> None:
    run("embedded", work=False)
    dispatcher.dispatch_message("43", "Привіт", "telegram", "43", fire_and_forget=True)
    text = metrics()
    assert "mirt_mailbox_messages 1.0" in text
    assert 'mirt_tasks{queue="llm",state="ready",task="process_and_respond"} 1.0' in text


def test_a_count_that_cannot_be_looked_up_is_said_and_not_made_up(
    run: Callable[..., Running],
) -> None:
    run("eager")
    assert 'mirt_source_readable{source="database"} 1.0' in metrics()
    assert "mirt_mailbox_messages" in metrics()
    with current_runtime().database.transaction() as tx:
        tx.exec_driver_sql("DROP TABLE health_checks")
    text = metrics()
    assert 'mirt_source_readable{source="database"} 0.0' in text
    assert "mirt_mailbox_messages" not in text
    assert "mirt_process_starts_total" in text


def test_an_old_row_that_is_over_goes_and_nothing_else(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("eager", clock=clock)
    dispatcher.dispatch_message("1", "Давно", "telegram", "1", fire_and_forget=True)
    services.misbehave(
        "telegram", Status(400, {"ok": False, "description": "Bad Request: chat not found"})
    )
    dispatcher.dispatch_message("2", "Давно", "telegram", "2", fire_and_forget=True)
    clock.advance(days=31)
    dispatcher.dispatch_message("3", "Щойно", "telegram", "3", fire_and_forget=True)
    removed = result_of(remove_old_rows.send())["removed"]
    gone = {"inbox": 1, "deliveries": 1, "turns": 1, "tasks": 1, "followups": 0, "task_events": 1}
    assert removed == {**gone, "history": 0, "audit": 0, "handover_events": 0}
    # What is new, and what the dead letter needs.
    assert [len(rows(table)) for table in (inbox, deliveries, turns)] == [2, 2, 2]
    assert [len(rows(table)) for table in (conversations, dead_letters, history)] == [3, 1, 6]


def test_a_row_that_still_waits_is_never_too_old(run: Callable[..., Running]) -> None:
    clock = FakeClock()
    run("embedded", work=False, clock=clock)
    dispatcher.dispatch_message("1", "Чекаю", "telegram", "1", fire_and_forget=True)
    clock.advance(days=100)
    current_runtime().housekeeping.remove_old_rows()
    assert (len(rows(inbox)), len(rows(tasks))) == (1, 1)


def test_more_than_a_batch_goes_too(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.housekeeping.BATCH", 2)
    clock = FakeClock()
    run("eager", clock=clock)
    for number in range(5):
        ping.send_with_options(task_id=f"ping-{number}")
    with current_runtime().database.transaction() as tx:
        tx.execute(update(tasks).values(finished_at=clock.now - timedelta(days=31)))
    assert current_runtime().housekeeping.remove_old_rows()["tasks"] == 5


def test_a_row_that_there_is_no_time_for_goes_the_next_time(run: Callable[..., Running]) -> None:
    clock = FakeClock()
    run("eager", clock=clock)
    ping.send_with_options(task_id="ping")
    clock.advance(days=31)
    with deadline_in(LAST_BATCH_S - 1):
        assert sum(current_runtime().housekeeping.remove_old_rows().values()) == 0
    assert current_runtime().housekeeping.remove_old_rows()["tasks"] == 1
