"""A reply that is stored and paid for is delivered, also when a time limit meets its delivery."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Table, select, update

from actors.messages import process_and_respond
from mirt.clock import utc_now
from mirt.errors import ErrorCode
from mirt.runtime import current_runtime
from mirt.store.queue.tasks import TaskState
from mirt.store.shop.deliveries import DeliveryState
from mirt.store.tables import dead_letters, deliveries, tasks
from tests.fakes import FakeServices, Hang
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until

Run = Callable[..., Running]


def found(table: Table, *columns: str) -> list[tuple[object, ...]]:
    with current_runtime().database.transaction() as tx:
        return [tuple(row) for row in tx.execute(select(*(table.c[name] for name in columns)))]


def assert_delivered_with_one_unknown(services: FakeServices) -> None:
    wait_until(lambda: found(deliveries, "state", "unknown") == [("sent", 1)])
    wait_until(lambda: found(tasks, "state") == [("done",)])
    assert len(services.requests("llm")) == 1
    assert set(services.sent("7")) == {"echo: Привіт"}
    assert found(dead_letters, "error_code") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_soft_limit_costs_a_stored_reply_one_more_attempt_and_nothing_else(
    run: Run, services: FakeServices, transport: str
) -> None:
    run(transport)
    services.misbehave("telegram", Hang(), path="/sendMessage")
    process_and_respond.send_with_options(
        args=("7", "Привіт", "telegram", "7"), soft_limit_s=1.5, task_id="turn"
    )
    assert_delivered_with_one_unknown(services)
    services.release()


def test_the_soft_limit_before_the_answer_ends_the_turn(run: Run, services: FakeServices) -> None:
    run("eager")
    services.misbehave("llm", Hang())
    process_and_respond.send_with_options(
        args=("7", "Привіт", "telegram", "7"), soft_limit_s=0.5, task_id="turn"
    )
    services.release()
    assert found(dead_letters, "error_code") == [("TIME_LIMIT",)]


def test_the_hard_limit_costs_a_stored_reply_one_more_attempt_and_nothing_else(
    run: Run, services: FakeServices
) -> None:
    running = run("eager")
    process_and_respond.send_with_options(args=("7", "Привіт", "telegram", "7"), task_id="turn")
    # What a process leaves that the supervisor has stopped at the hard limit of its task.
    with current_runtime().database.transaction() as tx:
        stopped = {"owner": "gone", "starts": 1, "error_code": ErrorCode.TIME_LIMIT}
        due_at = utc_now() - timedelta(minutes=1)
        tx.execute(update(tasks).values(state=TaskState.RUNNING, due_at=due_at, **stopped))
        tx.execute(update(deliveries).values(state=DeliveryState.SENDING, parts_sent=0))
    running.broker.publish_due()
    assert_delivered_with_one_unknown(services)
