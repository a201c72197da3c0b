"""Work that an operator pauses waits everywhere, costs nothing, and goes on in its order."""

import time
from collections.abc import Callable

import pytest
from sqlalchemy import event

from mirt.errors import PermanentError
from mirt.operators import Door, Operator, acting_as
from mirt.runtime import current_runtime
from mirt.store.tables import audit, dead_letters, pauses, task_events, tasks
from service.admin import pauses as admin
from service.admin.conversations import find, waiting
from service.admin.findings import findings
from service.admin.queues import activity
from service.dispatcher import dispatch_message
from tests.fakes import FakeServices, Status
from tests.integration.conftest import Running, rows
from tests.polling import wait_until

Run = Callable[..., Running]


@pytest.fixture(params=["rabbitmq", "embedded"])
def running(run: Run, request: pytest.FixtureRequest) -> Running:
    return run(request.param)


def write(chat: int, text: str = "Є сукня?", platform: str = "telegram") -> None:
    dispatch_message(str(chat), text, platform, str(chat), fire_and_forget=True)


def answer(services: FakeServices, chat: int) -> None:
    """Let a customer write and get a reply, so that the conversation exists and is quiet."""
    write(chat)
    wait_until(lambda: services.sent(chat))
    wait_until(lambda: all(row.state == "done" for row in rows(tasks)))


def pause(kind: str, name: str) -> None:
    with acting_as(Operator("olena", Door.COMMAND)):
        assert admin.pause(current_runtime(), admin.read_subject(kind, name))


def resume(kind: str, name: str) -> int | None:
    return admin.resume(current_runtime(), admin.read_subject(kind, name))


def held() -> list[str]:
    found = (row for row in rows(tasks) if row.held_by and row.state == "delayed")
    return sorted(row.session_id for row in found)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("queue", "llm"),
        ("task", "process_and_respond"),
        ("channel", "telegram"),
        ("conversation", "7"),
    ],
)
def test_nothing_new_starts_and_everything_goes_on_in_its_order(
    running: Running, services: FakeServices, kind: str, name: str
) -> None:
    answer(services, 7)
    pause(kind, name)
    write(7, "перше")
    wait_until(lambda: held() == ["7"])
    write(7, "друге")
    assert len(services.requests("llm")) == 1
    assert resume(kind, name) == 1
    wait_until(lambda: len(services.sent(7)) == 2)
    assert services.sent(7)[1] == "echo: перше\nдруге"
    assert rows(dead_letters) == rows(task_events) == []


def test_other_work_goes_on(running: Running, services: FakeServices) -> None:
    answer(services, 7)
    pause("conversation", "7")
    pause("channel", "manychat")
    pause("queue", "crm")
    write(7)
    write(8)
    wait_until(lambda: services.sent(8))
    wait_until(lambda: held() == ["7"])
    assert len(services.sent(7)) == 1


def test_a_thousand_paused_conversations_cost_as_much_as_none(
    run: Run, services: FakeServices
) -> None:
    run("rabbitmq", work=False)
    pause("queue", "llm")
    for chat in range(1, 301):
        write(chat)
    running = run("rabbitmq")
    wait_until(lambda: len(held()) == 300, within_s=120)
    before = rows(tasks)
    begun: list[object] = []
    event.listen(running.broker.database.engine, "begin", begun.append)
    started = time.monotonic()
    wait_until(lambda: len(begun) > 20, within_s=60)
    assert time.monotonic() - started > 3, "the pump and the presence alone ask the database"
    assert rows(tasks) == before
    assert rows(task_events) == []
    assert services.requests("llm") == []


def test_a_pause_outlives_a_restart(run: Run, services: FakeServices) -> None:
    first = run("embedded")
    pause("queue", "llm")
    write(7)
    wait_until(lambda: held() == ["7"])
    assert first.worker
    first.worker.stop()
    run("embedded")
    write(8)
    wait_until(lambda: held() == ["7", "8"])
    resume("queue", "llm")
    wait_until(lambda: services.sent(7) and services.sent(8))


def test_two_pauses_of_the_same_work_both_have_to_end(
    running: Running, services: FakeServices
) -> None:
    answer(services, 7)
    pause("queue", "llm")
    pause("conversation", "7")
    write(7)
    wait_until(lambda: held() == ["7"])
    resume("queue", "llm")
    wait_until(lambda: any("conversation" in (row.held_by or "") for row in rows(tasks)))
    assert len(services.requests("llm")) == 1
    resume("conversation", "7")
    wait_until(lambda: len(services.sent(7)) == 2)


def test_a_retry_does_not_start_while_its_queue_is_paused(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.stack.random.uniform", lambda _, longest: longest)
    run("embedded", retry_base_seconds=3)
    services.misbehave("llm", Status(500), times=1)
    write(7)
    wait_until(lambda: rows(task_events))
    pause("queue", "llm")
    wait_until(lambda: held() == ["7"])
    [task] = [row for row in rows(tasks) if row.session_id == "7"]
    assert task.attempt == 1, "the pause is no attempt"
    resume("queue", "llm")
    wait_until(lambda: services.sent(7))


def test_a_pause_is_a_problem_that_names_who_and_how_many_wait(running: Running) -> None:
    pause("queue", "llm")
    write(7)
    wait_until(lambda: held() == ["7"])
    runtime = current_runtime()
    [problem] = [one for one in findings(runtime, activity(runtime), []) if one.about == "paused"]
    assert problem.what.startswith("queue llm is paused since ")
    assert problem.what.endswith("by olena, 1 conversation waits")
    assert problem.command == "mirt resume queue llm"
    assert waiting(runtime, limit=1)[0].why == "queue llm is paused"
    assert find(runtime, limit=1)[0].held_by == "pause of queue llm"
    timeline = runtime.timelines.of("7")
    assert timeline is not None
    [now] = [step for step in timeline.steps if step.what == "now"]
    assert "queue llm is paused" in now.text


def test_the_audit_has_each_pause_and_resumption(running: Running) -> None:
    pause("queue", "llm")
    resume("queue", "llm")
    first, second = rows(audit)
    assert (first.act, first.target, first.operator) == ("pause", "queue llm", "olena")
    assert (second.act, second._mapping["count"]) == ("resume", 0)
    assert rows(pauses) == []


def test_an_unknown_subject_is_refused(running: Running) -> None:
    for kind, name in (
        ("queue", "lmm"),
        ("task", "nothing"),
        ("channel", "icq"),
        ("everything", "now"),
        ("conversation", ""),
    ):
        with pytest.raises(PermanentError):
            admin.read_subject(kind, name)
    with pytest.raises(PermanentError, match="there is no 404"):
        admin.pause(current_runtime(), admin.read_subject("conversation", "404"))
