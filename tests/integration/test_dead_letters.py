"""An operator can list dead letters, run them once more, and delete them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pika
import pytest
from sqlalchemy import select

from actors.messages import process_and_respond, send_response
from middleware.dead_letters import replay
from mirt.clock import utc_now
from mirt.runtime import current_runtime
from mirt.store.engine.database import Database
from mirt.store.engine.stores import stores
from mirt.store.queue.dead_letters import DeadLetterFilter, discard_dead
from mirt.store.queue.tasks import TaskMessage
from mirt.store.tables import inbox, tasks
from mirt.texts import APOLOGY
from service.dispatcher import dispatch_message
from tests.fakes import FakeServices, Hang, Status
from tests.integration.conftest import TRANSPORTS, Running, dead_letters_of
from tests.polling import wait_until
from tests.unit.business import mail, note_locks

Run = Callable[..., Running]
MANY = 150
"""More dead letters than one batch of a replay, which has 100."""
REFUSED = Status(
    400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
)


def database(running: Running) -> Database:
    return stores(running.settings).database


def run_again(running: Running, choice: DeadLetterFilter | None = None) -> int:
    return replay(running.broker, database(running), choice or DeadLetterFilter(), utc_now)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_replayed_dead_letter_runs_once_and_keeps_its_trace(
    run: Run, transport: str, services: FakeServices
) -> None:
    services.misbehave("telegram", REFUSED)
    running = run(transport)
    sent = send_response.send("telegram", "7", "hello")
    [dead_letter] = wait_until(lambda: dead_letters_of(running))
    assert dead_letter.trace_id == sent.options["trace_id"]
    assert run_again(running) == 1
    assert run_again(running) == 0
    wait_until(lambda: services.sent("7") == ["hello"])
    assert dead_letters_of(running) == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_replay_that_fails_again_is_one_dead_letter(
    run: Run, transport: str, services: FakeServices
) -> None:
    services.misbehave("telegram", REFUSED, times=2)
    running = run(transport)
    send_response.send("telegram", "7", "hello")
    wait_until(lambda: dead_letters_of(running))
    run_again(running)
    wait_until(lambda: len(services.requests("telegram")) == 2 and dead_letters_of(running))
    assert len(dead_letters_of(running)) == 1


def test_a_turn_that_is_replayed_is_answered_before_what_came_later(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("llm", Status(400))
    running = run("eager")
    process_and_respond.send("7", "перше", "telegram", "7")
    assert services.sent("7") == [APOLOGY]
    assert run_again(running) == 1
    assert "перше" in services.sent("7")[1]
    process_and_respond.send("7", "друге", "telegram", "7")
    assert "друге" in services.sent("7")[2]


def test_a_reply_that_was_refused_is_delivered_by_a_replay_without_asking_again(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("telegram", REFUSED)
    running = run("eager")
    process_and_respond.send("7", "Привіт", "telegram", "7")
    assert services.sent("7") == []
    assert run_again(running) == 1
    assert len(services.sent("7")) == 1
    assert len(services.requests("llm")) == 1


def test_several_letters_are_replayed_in_the_order_of_their_conversations_to_lock_them_so(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.misbehave("llm", Status(400), times=3)
    running = run("eager")
    for chat in ("9", "7", "8"):
        process_and_respond.send(chat, "Привіт", "telegram", chat)
    published: list[TaskMessage] = []
    monkeypatch.setattr(running.broker, "publish", published.extend)
    locked = note_locks(monkeypatch)
    assert run_again(running) == 3
    assert locked == ["7", "8", "9"]
    assert [task.kwargs["session_id"] for task in published] == ["9", "7", "8"], "by age"


def test_150_dead_letters_replayed_by_filter_from_two_sides_run_once_each(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("telegram", REFUSED, times=MANY)
    running = run("rabbitmq")
    for chat in range(MANY):
        send_response.send("telegram", str(chat), "hello")
    wait_until(lambda: len(dead_letters_of(running)) == MANY, within_s=90)
    choice = DeadLetterFilter(queue="webhooks", error_code="CHANNEL_REFUSED")
    with ThreadPoolExecutor(2) as sides:
        replayed = list(sides.map(lambda _: run_again(running, choice), range(2)))
    assert sum(replayed) == MANY
    wait_until(lambda: all(services.sent(str(chat)) for chat in range(MANY)), within_s=90)
    assert [c for c in range(MANY) if len(services.sent(str(c))) != 1] == []


def test_dead_letters_are_chosen_by_every_field_of_the_filter(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("llm", Status(400), times=None)
    services.misbehave("telegram", REFUSED, times=None)
    running = run("eager")
    process_and_respond.send("7", "Привіт", "telegram", "7")
    send_response.send("telegram", "8", "hello")
    assert len(dead_letters_of(running)) == 3
    of_seven = {
        dead_letter.task.actor
        for dead_letter in dead_letters_of(running, DeadLetterFilter(session_id="7"))
    }
    assert of_seven == {"process_and_respond", "send_response"}, "its apology is of it too"
    assert len(dead_letters_of(running, DeadLetterFilter(queue="webhooks"))) == 2
    assert (
        len(
            dead_letters_of(
                running, DeadLetterFilter(actor="send_response", error_code="LLM_REFUSED")
            )
        )
        == 0
    )
    assert (
        dead_letters_of(running, DeadLetterFilter(since=datetime.now(UTC) + timedelta(hours=1)))
        == []
    )
    assert (
        dead_letters_of(running, DeadLetterFilter(until=datetime.now(UTC) - timedelta(hours=1)))
        == []
    )
    with database(running).transaction() as tx:
        assert discard_dead(tx, DeadLetterFilter(queue="webhooks"), now=utc_now()) == 2
    assert [dead_letter.queue for dead_letter in dead_letters_of(running)] == ["llm"]


@pytest.mark.usefixtures("impatient_with_unknown_tasks")
def test_a_message_that_this_version_cannot_read_is_a_dead_letter_too(
    rabbitmq_url: str, run: Run
) -> None:
    running = run("rabbitmq")
    wait_until(lambda: running.worker and running.worker.consumers["llm"].consumer)
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    channel = connection.channel()
    channel.basic_publish("", "llm", b"\xff no message")
    unknown = send_response.message("telegram", "7", "x").copy(actor_name="of_tomorrow")
    channel.basic_publish("", "llm", unknown.encode())
    connection.close()
    unread = wait_until(
        lambda: dead_letters_of(running) if len(dead_letters_of(running)) == 2 else []
    )
    assert sorted(dead_letter.error_code for dead_letter in unread) == [
        "UNDECODABLE",
        "UNKNOWN_ACTOR",
    ]
    assert run_again(running) == 0
    assert len(dead_letters_of(running)) == 2


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_the_conversation_of_a_turn_that_this_version_does_not_know_goes_on(
    run: Run, transport: str, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("middleware.dead_letters.UNKNOWN_PATIENCE", timedelta(seconds=-1))
    monkeypatch.setattr("middleware.dead_letters.UNKNOWN_AGAIN", timedelta(0))
    running = run(transport)
    conversations = current_runtime().conversations
    unknown = conversations.accept(mail("v2", actor="answer_v2", session_id="7"))
    assert unknown.publication is not None
    running.broker.publish([unknown.publication])
    dispatch_message("7", "Є сукня?", "telegram", "7", fire_and_forget=True)
    wait_until(lambda: services.sent("7") == ["echo: Є сукня?"])
    [letter] = dead_letters_of(running)
    assert (letter.task.task_id, letter.error_code) == ("v2", "UNKNOWN_ACTOR")


def refused(run: Run, services: FakeServices, letters: int) -> Running:
    """Leave dead letters of replies that the channel refuses for good."""
    services.misbehave("telegram", REFUSED, times=None)
    running = run("eager")
    for number in range(letters):
        send_response.send("telegram", str(100 + number), "hello")
    return running


def test_a_replay_takes_batch_after_batch(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("middleware.dead_letters.BATCH", 2)
    running = refused(run, services, 5)
    services.mend()
    assert run_again(running) == 5
    assert [services.sent(100 + number) for number in range(5)] == [["hello"]] * 5


def test_a_replay_leaves_what_dies_while_it_runs(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("middleware.dead_letters.BATCH", 1)
    running = refused(run, services, 3)
    asked = len(services.requests("telegram"))
    assert run_again(running) == 3
    assert len(services.requests("telegram")) == asked + 3
    assert len(dead_letters_of(running)) == 3


def test_a_replayed_turn_waits_until_it_is_the_head(run: Run, services: FakeServices) -> None:
    services.misbehave("llm", Status(400))
    running = run("embedded")
    dispatch_message("7", "перше", chat_id="7", fire_and_forget=True)
    wait_until(lambda: services.sent("7") == [APOLOGY])
    hanging = services.misbehave("llm", Hang())
    dispatch_message("7", "друге", chat_id="7", fire_and_forget=True)
    services.wait_until(lambda: hanging.used == 1, 40)
    assert run_again(running, DeadLetterFilter(error_code="LLM_REFUSED")) == 1
    with database(running).transaction() as tx:
        waiting = tx.execute(select(inbox.c.text).where(inbox.c.state == "waiting"))
        replayed = tx.execute(select(tasks.c.id).where(tasks.c.state == "queued")).all()
        assert (set(waiting.scalars()), replayed) == ({"перше", "друге"}, [])
    services.release()
    wait_until(lambda: len(services.sent("7")) == 3)
    assert services.sent("7")[1:] == ["echo: друге", "echo: перше"]
