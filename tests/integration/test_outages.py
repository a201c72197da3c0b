"""While an outside service is down for everybody, its work waits, costs nothing, and goes on."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Final

import pytest
from sqlalchemy import Engine, event

from mirt.runtime import current_runtime
from mirt.store.tables import dead_letters, holds, task_events, tasks
from mirt.texts import APOLOGY, DELAY_NOTICE
from service.dispatcher import dispatch_message
from tests.clock import FakeClock
from tests.fakes import FakeServices, Misbehaviour, Status
from tests.fakes.telegram import refusal
from tests.integration.conftest import Running, rows
from tests.polling import wait_until
from tests.unit.business import mail

Run = Callable[..., Running]
CHATS: Final = 300
DOWN: Final = Status(503)
NO_CREDITS: Final = Status(402, {"error": {"code": 402, "message": "Insufficient credits"}})


def write(chat: int, text: str = "Є сукня?") -> None:
    dispatch_message(str(chat), text, "telegram", str(chat), fire_and_forget=True)


def was_asked(services: FakeServices, times: int) -> bool:
    return len(services.requests("llm")) >= times


def held() -> int:
    return sum(row.held_by == "llm" and row.state == "delayed" for row in rows(tasks))


@contextmanager
def counting_transactions(engine: Engine) -> Iterator[list[object]]:
    """Yield a list that grows by each transaction of this process."""
    begun: list[object] = []

    def note(connection: object) -> None:
        begun.append(connection)

    event.listen(engine, "begin", note)
    try:
        yield begun
    finally:
        event.remove(engine, "begin", note)


@pytest.mark.parametrize("outage", [DOWN, NO_CREDITS], ids=["answers 503", "has no credits"])
def test_many_conversations_wait_for_the_llm_and_cost_nothing(
    run: Run, services: FakeServices, outage: Misbehaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.store.queue.holds.LONGEST_PAUSE_S", 2)
    monkeypatch.setattr("mirt.store.queue.holds.LONGEST_SPREAD_S", 3)
    services.misbehave("llm", outage, times=None)
    run("rabbitmq", work=False)
    for chat in range(1, CHATS + 1):
        write(chat)
    running = run("rabbitmq")
    wait_until(lambda: held() >= CHATS - 1, within_s=120)

    def costs_little() -> bool:
        asked = len(services.requests("llm"))
        with counting_transactions(running.broker.database.engine) as transactions:
            services.wait_until(lambda: was_asked(services, asked + 1), timeout=60)
        return len(transactions) < CHATS / 3

    # Before that, second copies of the messages are dropped; a busy machine has many.
    wait_until(costs_little, within_s=120, what="the time from one probe to the next costs little")
    assert max(Counter(row.task_id for row in rows(task_events)).values(), default=0) <= 1

    services.mend("llm")
    wait_until(lambda: len(services.replies()) == CHATS, within_s=120)
    assert {text for _, _, text in services.replies()} == {"echo: Є сукня?"}
    assert len({chat for _, chat, _ in services.replies()}) == CHATS
    assert rows(dead_letters) == []
    [hold] = rows(holds)
    assert hold.ended_at is not None


def test_a_quiet_shop_has_the_same_patience(run: Run, services: FakeServices) -> None:
    services.misbehave("llm", DOWN, times=None)
    clock = FakeClock()
    run("embedded", clock=clock)
    write(7)
    for times in range(1, 21):
        services.wait_until(partial(was_asked, services, times), timeout=40)
        wait_until(lambda: rows(tasks)[0].state in {"delayed", "dead"})
        clock.advance(seconds=30)
    assert rows(dead_letters) == []
    services.mend("llm")

    def is_answered() -> bool:
        clock.advance(seconds=1)
        return services.sent(7) == ["echo: Є сукня?"]

    wait_until(is_answered)


def test_a_task_that_waits_longer_than_its_patience_is_a_dead_letter_with_an_apology(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("llm", NO_CREDITS, times=None)
    clock = FakeClock()
    run("embedded", clock=clock, outage_patience_seconds=3600)
    write(7)
    wait_until(held)
    clock.advance(hours=1)
    wait_until(lambda: services.sent(7))
    assert services.sent(7) == [APOLOGY]
    [letter] = rows(dead_letters)
    assert letter.error_code == "OUTAGE"


def test_a_customer_who_waits_long_is_told_so_once(run: Run, services: FakeServices) -> None:
    services.misbehave("llm", NO_CREDITS, times=None)
    clock = FakeClock()
    run("embedded", clock=clock, delay_notice_seconds=60)
    write(7)
    write(7, "Ви тут?")
    wait_until(held)
    clock.advance(seconds=59)
    assert services.sent(7) == []
    clock.advance(seconds=1)
    wait_until(lambda: services.sent(7))
    services.mend("llm")
    clock.advance(hours=1)
    wait_until(lambda: len(services.sent(7)) == 2)
    assert services.sent(7) == [DELAY_NOTICE, "echo: Є сукня?\nВи тут?"]


def test_messages_that_are_stored_together_have_one_notice_each_conversation(run: Run) -> None:
    run("rabbitmq", work=False, delay_notice_seconds=60)
    mails = [mail(name, session_id=name[0], chat_id="7") for name in ("a1", "a2", "b1")]
    current_runtime().conversations.accept_together(mails)
    assert sorted(row.id for row in rows(tasks)) == ["a1", "a1:notice", "b1", "b1:notice"]


def test_a_customer_who_has_an_answer_is_told_nothing(run: Run, services: FakeServices) -> None:
    clock = FakeClock()
    run("embedded", clock=clock, delay_notice_seconds=60)
    write(7)
    wait_until(lambda: services.sent(7))
    clock.advance(minutes=2)
    wait_until(lambda: [row.state for row in rows(tasks)] == ["done", "done"])
    assert services.sent(7) == ["echo: Є сукня?"]


def test_the_token_of_a_channel_is_asked_for_and_no_reply_is_paid_for_twice(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("telegram", refusal(401, "Unauthorized"), times=None)
    clock = FakeClock()
    run("embedded", clock=clock)
    for chat in (7, 8):
        write(chat)
    wait_until(lambda: [row.held_by for row in rows(tasks)] == ["telegram", "telegram"])
    [hold] = rows(holds)
    assert (hold.code, hold.reason, hold.setting) == ("401", "Unauthorized", "TELEGRAM_BOT_TOKEN")
    services.mend("telegram")
    clock.advance(seconds=30)
    wait_until(lambda: services.sent(7) and services.sent(8))
    assert len(services.requests("llm")) == 2
    assert rows(dead_letters) == []


def test_the_failure_of_one_message_alone_ends_it_and_holds_no_other(
    run: Run, services: FakeServices
) -> None:
    services.misbehave("llm", DOWN, times=None, match="отрута")
    run("embedded")
    write(7, "отрута")
    wait_until(lambda: [row.held_by for row in rows(tasks)] == ["llm"])
    chats = count(8)

    def another_is_answered() -> list[Any]:
        chat = next(chats)
        write(chat)
        wait_until(lambda: services.sent(chat) == ["echo: Є сукня?"])
        return rows(dead_letters)

    [letter] = wait_until(another_is_answered)
    assert letter.error_code == "RETRIES_EXHAUSTED"
    wait_until(lambda: services.sent(7) == [APOLOGY])
