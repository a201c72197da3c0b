"""An operator cancels a task, wherever it is; the conversation goes on without it."""

from collections.abc import Callable
from typing import Any

import pytest

from middleware.cancelling import Cancelled
from mirt.errors import PermanentError
from mirt.operators import Door, Operator, acting_as
from mirt.runtime import current_runtime
from mirt.store.shop import mailbox
from mirt.store.tables import audit, dead_letters, deliveries, inbox, orders, task_events, tasks
from service.admin import pauses, purge
from service.admin.tasks import Hurried, cancel, retry_now
from service.dispatcher import dispatch_crm_order, dispatch_message
from tests.fakes import FakeServices, Hang, Status
from tests.integration.conftest import Running, rows
from tests.polling import wait_until
from tests.unit.orders.examples import order

Run = Callable[..., Running]
OLENA = Operator("olena", Door.COMMAND)


@pytest.fixture(params=["rabbitmq", "embedded"])
def running(run: Run, request: pytest.FixtureRequest) -> Running:
    return run(request.param)


def write(chat: int, text: str) -> str:
    answer = dispatch_message(str(chat), text, "telegram", str(chat), fire_and_forget=True)
    return str(answer["task_id"])


def cancelled(task_id: str) -> Cancelled:
    with acting_as(OLENA):
        return cancel(current_runtime(), task_id)


def states() -> list[str]:
    return [row.state for row in rows(inbox)]


def task(task_id: str) -> Any:
    return next(row for row in rows(tasks) if row.id == task_id)


def told(session_id: str) -> list[str]:
    timeline = current_runtime().timelines.of(session_id)
    assert timeline is not None
    return [step.text for step in timeline.steps]


def test_a_turn_that_runs_stops_within_seconds_and_the_next_message_is_answered(
    running: Running, services: FakeServices
) -> None:
    services.misbehave("llm", Hang(), match="перше")
    first = write(7, "перше")
    services.wait_until(lambda: bool(services.requests("llm")))
    write(7, "друге")
    assert cancelled(first) is Cancelled.ASKED
    wait_until(lambda: services.sent(7), within_s=30)
    assert services.sent(7) == ["echo: друге"]
    wait_until(lambda: states() == ["cancelled", "answered"])
    assert (task(first).state, task(first).error_code) == ("done", "CANCELLED")
    assert rows(dead_letters) == []
    assert [(row.kind, row.why) for row in rows(task_events)] == [("cancelled", "by olena")]
    assert any(text.startswith("cancelled by olena") for text in told("7"))
    assert [(row.act, row.session_id) for row in rows(audit)] == [("cancel", "7")]


def test_a_turn_that_waits_never_starts_and_the_next_one_is_the_head(
    running: Running, services: FakeServices
) -> None:
    with acting_as(OLENA):
        pauses.pause(current_runtime(), pauses.read_subject("queue", "llm"))
    first, second = write(7, "перше"), write(7, "друге")
    assert cancelled(first) is Cancelled.CANCELLED
    pauses.resume(current_runtime(), pauses.read_subject("queue", "llm"))
    wait_until(lambda: services.sent(7))
    assert services.sent(7) == ["echo: друге"]
    wait_until(lambda: states() == ["cancelled", "answered"])
    wait_until(lambda: task(second).state == "done")


def test_mail_behind_a_turn_is_cancelled_and_the_turn_goes_on(
    running: Running, services: FakeServices
) -> None:
    services.misbehave("llm", Hang())
    write(7, "перше")
    services.wait_until(lambda: bool(services.requests("llm")))
    second = write(7, "друге")
    assert cancelled(second) is Cancelled.CANCELLED
    services.release()
    wait_until(lambda: services.sent(7))
    wait_until(lambda: states() == ["answered", "cancelled"])
    assert services.sent(7) == ["echo: перше"]
    assert len(services.requests("llm")) == 1


def test_a_delayed_retry_never_comes(run: Run, services: FakeServices) -> None:
    run("embedded", retry_base_seconds=60)
    services.misbehave("llm", Status(500), times=None)
    first = write(7, "перше")
    wait_until(lambda: task(first).state == "delayed")
    assert cancelled(first) is Cancelled.CANCELLED
    assert (task(first).state, task(first).due_at) == ("done", None)
    assert states() == ["cancelled"]
    services.mend()
    write(7, "друге")
    wait_until(lambda: services.sent(7) == ["echo: друге"])


def test_a_task_whose_run_fails_before_it_is_stopped_does_not_run_again(
    run: Run, services: FakeServices
) -> None:
    run("embedded", lease_seconds=300, retry_base_seconds=0.1)
    rule = services.misbehave("llm", Hang(applied=False), times=1)
    first = write(7, "перше")
    services.wait_until(lambda: rule.used == 1)
    assert cancelled(first) is Cancelled.ASKED, "its lease is renewed in a hundred seconds"
    services.release()
    wait_until(lambda: task(first).state == "done")
    assert task(first).error_code == "CANCELLED"
    assert len(services.requests("llm")) == 1
    assert states() == ["cancelled"]


def test_a_reply_that_is_being_sent_counts_as_unknown(
    running: Running, services: FakeServices
) -> None:
    services.misbehave("telegram", Hang(), path="sendMessage")
    first = write(7, "перше")
    services.wait_until(lambda: bool(services.requests("telegram", "sendMessage")))
    assert cancelled(first) is Cancelled.ASKED
    wait_until(lambda: task(first).state == "done")
    [delivery] = rows(deliveries)
    assert (delivery.state, delivery.unknown) == ("failed", 1)
    assert rows(dead_letters) == []


def test_an_order_under_way_is_cancelled_with_an_unknown_outcome(
    run: Run, services: FakeServices
) -> None:
    run("embedded", snitkix_api_key="crm-key", snitkix_api_url=services.crm_url)
    services.misbehave("crm", Hang())
    task_id = dispatch_crm_order(order())["task_id"]
    services.wait_until(lambda: bool(services.requests("crm")))
    assert cancelled(task_id) is Cancelled.ASKED
    wait_until(lambda: task(task_id).state == "done")
    [kept] = rows(orders)
    assert kept.unknown_since is not None
    assert rows(dead_letters) == []


def test_a_caller_who_waits_for_a_cancelled_message_is_told(
    run: Run, services: FakeServices
) -> None:
    run("embedded")
    services.misbehave("llm", Hang())
    first = write(7, "перше")
    services.wait_until(lambda: bool(services.requests("llm")))
    cancelled(first)
    wait_until(lambda: task(first).state == "done")
    runtime = current_runtime()
    with runtime.database.transaction() as tx:
        mail = mailbox.find(tx, first)
    assert mail is not None
    with pytest.raises(PermanentError) as told_so:
        runtime.turns.result_of(mail)
    assert told_so.value.error_code == "CANCELLED"


def test_a_task_that_is_over_or_unknown_is_left_alone(
    running: Running, services: FakeServices
) -> None:
    first = write(7, "перше")
    wait_until(lambda: task(first).state == "done")
    assert cancelled(first) is Cancelled.OVER
    assert cancelled("nothing") is Cancelled.UNKNOWN
    assert purge.purge(current_runtime(), "llm") == 0
    assert states() == ["answered"]
    assert rows(audit) == [] or {row.act for row in rows(audit)} == {"purge"}


def test_a_delayed_task_runs_now_as_the_attempt_that_it_waits_for(
    run: Run, services: FakeServices
) -> None:
    run("embedded", retry_base_seconds=60)
    services.misbehave("llm", Status(500), times=1)
    first = write(7, "перше")
    wait_until(lambda: task(first).state == "delayed")
    with acting_as(OLENA):
        assert retry_now(current_runtime(), first) is Hurried.DUE
    wait_until(lambda: services.sent(7))
    assert task(first).attempt == 1
    assert retry_now(current_runtime(), first) is Hurried.NOT_DELAYED
    assert retry_now(current_runtime(), "nothing") is Hurried.UNKNOWN


def test_a_paused_task_is_not_hurried(run: Run, services: FakeServices) -> None:
    run("embedded")
    pauses.pause(current_runtime(), pauses.read_subject("queue", "llm"))
    first = write(7, "перше")
    wait_until(lambda: task(first).held_by is not None)
    assert retry_now(current_runtime(), first) is Hurried.PAUSED
    assert services.requests("llm") == []
