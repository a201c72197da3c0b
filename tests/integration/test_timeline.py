"""A timeline tells what happened, and what each step had waited for."""

from collections.abc import Callable

import pytest

from actors.health import ping
from actors.messages import process_and_respond, send_response
from middleware.dead_letters import replay
from mirt.clock import utc_now
from mirt.runtime import current_runtime
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.tables import deliveries
from mirt.timeline import Step, Timeline, What
from service.admin.conversations import WaitingView, waiting
from service.dispatcher import dispatch_message
from tests.fakes import FakeServices, Hang, Status, TooMany
from tests.fakes.misbehaviour import Delay
from tests.fakes.telegram import refusal
from tests.integration.conftest import TRANSPORTS, Running, dead_letters_of, rows
from tests.polling import wait_until

Run = Callable[..., Running]
FAILED = refusal(500, "Internal Server Error")
"""Surely not sent: it is in the words of the Bot API."""
REFUSED = Status(
    400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
)


def told(name: str) -> Timeline:
    timeline = current_runtime().timelines.of(name)
    assert timeline is not None
    return timeline


def whats(name: str) -> list[What]:
    return [step.what for step in told(name).steps]


def step(name: str, what: What) -> Step:
    return next(step for step in told(name).steps if step.what is what)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_retried_twice_dead_and_replayed_is_one_trace_with_every_step(
    run: Run, services: FakeServices, transport: str
) -> None:
    services.misbehave("telegram", FAILED, times=2)
    services.misbehave("telegram", REFUSED)
    running = run(transport)
    sent = process_and_respond.send("7", "Привіт", "telegram", "7", message_id="m1")
    trace_id = sent.options["trace_id"]
    wait_until(lambda: dead_letters_of(running))
    assert replay(running.broker, current_runtime().database, DeadLetterFilter(), utc_now) == 1
    wait_until(lambda: What.DELIVERED in whats(trace_id))

    happened = [what for what in whats(trace_id) if what is not What.BEGAN]
    middle = [What.RETRIED, What.RETRIED, What.DIED, What.REPLAYED, What.DELIVERED]
    assert happened == [What.WROTE, What.ANSWERED, *middle]
    assert {one.trace_id for one in told(trace_id).steps} == {trace_id}
    for name in ("7", sent.message_id, "m1"):
        assert [one.what for one in told(name).steps] == whats(trace_id), name
    assert "attempt 1 failed" in step(trace_id, What.RETRIED).text
    assert "chat not found" in step(trace_id, What.DIED).text
    assert step(trace_id, What.WROTE).private == "Привіт"
    assert "Привіт" not in " ".join(one.text for one in told(trace_id).steps)


def test_the_wait_for_the_agent_is_told_as_such(run: Run, services: FakeServices) -> None:
    services.misbehave("llm", Delay(0.8))
    run("embedded")
    process_and_respond.send("7", "Привіт", "telegram", "7")
    wait_until(lambda: services.sent("7"))
    wait_until(lambda: What.DELIVERED in whats("7"))
    answered = step("7", What.ANSWERED)
    assert answered.waited_for == "the agent"
    assert 0.7 < answered.waited_s < 5


def test_the_wait_for_a_worker_is_told_as_such(run: Run, services: FakeServices) -> None:
    services.misbehave("llm", Hang(), times=4)
    run("embedded")
    for chat in ("1", "2", "3", "4"):
        process_and_respond.send(chat, "Привіт", "telegram", chat)
    wait_until(lambda: len(services.requests("llm")) == 4)
    dispatch_message("7", "Привіт", chat_id="7", fire_and_forget=True)
    assert step("7", What.NOW).text.endswith("waits for a free worker")
    wait_until(lambda: _waits_of("7")[0].waited_s > 0.7)
    assert _waits_of("7")[0].why == "no worker has started it"
    services.release()
    wait_until(lambda: services.sent("7"))
    assert step("7", What.BEGAN).waited_for == "a free worker"


def test_the_wait_for_its_turn_is_told_as_such_and_who_has_the_turn(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("llm", Hang())
    run("embedded")
    first = process_and_respond.send("7", "перше", "telegram", "7")
    wait_until(lambda: services.requests("llm"))
    second = process_and_respond.send("7", "друге", "telegram", "7")
    [wait] = wait_until(lambda: [w for w in waiting(current_runtime(), limit=5) if w.messages == 2])
    assert (wait.task_id, wait.state, wait.attempt) == (first.message_id, "running", 1)
    # The second message begins to wait only now; the conversation waits since the first.
    wait_until(lambda: waiting(current_runtime(), limit=1)[0].waited_s > wait.waited_s + 0.7)
    services.release()
    wait_until(lambda: len(services.sent("7")) == 2)
    wait_until(lambda: not waiting(current_runtime(), limit=1))
    began = step(second.options["trace_id"], What.BEGAN)
    assert began.waited_for == "its turn in the conversation"


def test_a_pause_before_a_retry_and_one_that_was_asked_for_are_told_apart(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("telegram", FAILED, chat="7")
    services.misbehave("telegram", TooMany(1), chat="8")
    run("embedded", retry_base_seconds=3)
    for chat in ("7", "8"):
        send_response.send("telegram", chat, "hello")
    wait_until(lambda: services.sent("7") and services.sent("8"))
    failed, asked = (step_of_reply(chat, services) for chat in ("7", "8"))
    assert "asked for (429)" in (asked.waited_for or "")
    assert asked.waited_s >= 1
    if failed.waited_for:
        assert "before the next attempt" in failed.waited_for


def test_quiet_that_a_debounce_waits_for_is_told_as_such(run: Run, services: FakeServices) -> None:
    run("embedded", debounce_seconds=1)
    dispatch_message("7", "Привіт", chat_id="7", fire_and_forget=True)
    [wait] = waiting(current_runtime(), limit=5)
    assert "to finish writing" in wait.why
    assert step("7", What.NOW).text.endswith("s")
    wait_until(lambda: services.sent("7"))
    assert step("7", What.BEGAN).waited_for == "quiet in the conversation"


def test_two_chats_with_the_same_message_id_are_both_named(
    run: Run, services: FakeServices
) -> None:
    run("eager")
    for chat in ("7", "8"):
        process_and_respond.send(chat, f"from {chat}", "telegram", chat, message_id="1")
    timeline = told("1")
    assert timeline.subject.session_id == "8", "the latest is meant"
    assert list(timeline.others) == ["7"]
    assert {one.private for one in timeline.steps if one.what is What.WROTE} == {"from 8"}


def test_a_task_without_a_conversation_has_a_timeline_by_its_id_and_by_its_trace(
    run: Run,
) -> None:
    run("eager")
    sent = ping.send()
    for name in (sent.message_id, sent.options["trace_id"]):
        timeline = told(name)
        assert timeline.conversation is None
        assert [one.what for one in timeline.steps] == [What.BEGAN, What.DONE]


def test_a_message_answered_with_another_has_the_turn_of_that_other(
    run: Run, services: FakeServices
) -> None:
    run("embedded", debounce_seconds=0.5)
    sent = [
        dispatch_message("7", text, chat_id="7", fire_and_forget=True)
        for text in ("перше", "друге")
    ]
    wait_until(lambda: services.sent("7"))
    for one in sent:
        wait_until(lambda one=one: What.DELIVERED in whats(one["trace_id"]))  # type: ignore[misc]
        assert What.ANSWERED in whats(one["trace_id"])


def test_nobody_knows_an_id_that_was_never_given(run: Run) -> None:
    run("eager")
    assert current_runtime().timelines.of("no such id") is None


def _waits_of(session_id: str) -> list[WaitingView]:
    return [one for one in waiting(current_runtime(), limit=10) if one.session_id == session_id]


def step_of_reply(chat: str, services: FakeServices) -> Step:
    wait_until(lambda: all(row.finished_at for row in rows(deliveries)))
    [row] = [row for row in rows(deliveries) if row.chat_id == chat]
    return step(row.id, What.DELIVERED)
