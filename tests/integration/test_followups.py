"""A customer who has gone silent is written to: when it is due, once, where they write, and never
after they have written again."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from actors.crm import create_crm_order
from actors.followups import schedule_followup, send_followup
from broker.task import registry
from middleware.policy import QUEUES
from mirt.errors import LeaseLostError, PermanentError
from mirt.runtime import current_runtime
from mirt.store.queue.leases import Lease
from mirt.store.shop import followups as store
from mirt.store.tables import (
    conversations,
    dead_letters,
    deliveries,
    history,
    tasks,
)
from mirt.texts import FOLLOWUP_TEXTS, NO_MORE_FOLLOWUPS
from service import dispatcher
from service.processes.worker_main import start_worker, stop_worker
from tests.clock import FakeClock
from tests.fakes import FakeServices, Reset, Status, TooMany
from tests.integration.conftest import CHAT, TRANSPORTS, Running, Shop, result_of, rows
from tests.polling import wait_until
from tests.unit.orders.examples import order


def test_nothing_is_due_before_its_time(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=23.9)
    assert (shop.send_followups(), shop.reminders()) == (0, [])


def test_each_is_sent_once_when_it_is_due_and_differs_from_the_last(shop: Shop) -> None:
    shop.hear()
    for hours in (24, 1, 47, 1, 1000):
        shop.clock.advance(hours=hours)
        shop.send_followups()
        shop.send_followups()
    assert shop.reminders() == list(FOLLOWUP_TEXTS[:2])


def test_whom_nobody_looked_after_for_long_gets_the_latest_only(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=100)
    assert (shop.send_followups(), shop.send_followups()) == (1, 0)
    assert shop.reminders() == [FOLLOWUP_TEXTS[1]]


def test_the_next_message_begins_a_new_silence(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=25)
    shop.send_followups()
    shop.hear()
    shop.clock.advance(hours=23)
    assert shop.send_followups() == 0
    shop.clock.advance(hours=1)
    assert shop.send_followups() == 1


def test_a_reminder_that_was_queued_before_the_customer_wrote_is_not_sent(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=25)
    (batch,) = current_runtime().followups.take_due()
    shop.hear()
    registry.broker.publish(batch)
    assert shop.reminders() == []
    assert [row.state for row in rows(tasks) if row.actor == "send_followup"] == ["done"]


def test_a_reminder_that_failed_is_sent_by_its_retry(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=24)
    shop.services.misbehave("telegram", Status(502), times=2)
    shop.send_followups()
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]


@pytest.mark.parametrize("what", [Status(502), Reset(applied=False)])
def test_a_reminder_that_is_not_sent_leaves_no_delivery_open(shop: Shop, what: Any) -> None:
    shop.hear()
    shop.clock.advance(hours=24)
    shop.services.misbehave("telegram", what, times=4)
    shop.send_followups()
    (dead,) = rows(dead_letters)
    assert dead.error_code == "RETRIES_EXHAUSTED"
    reminder = next(one for one in rows(deliveries) if one.text in FOLLOWUP_TEXTS)
    assert (reminder.state, reminder.finished_at) == ("failed", shop.clock.now)


def test_a_reminder_that_failed_and_is_not_wanted_any_more_leaves_no_delivery_open(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("embedded", clock=clock)
    shop = Shop(services, clock)
    shop.hear()
    wait_until(lambda: len(services.sent(CHAT)) == 1)
    wait_until(lambda: rows(conversations)[0].head_task_id is None)
    clock.advance(hours=24)
    services.misbehave("telegram", Status(502))
    registry.broker.publish_all(current_runtime().followups.take_due())
    wait_until(lambda: [one.attempt for one in rows(tasks) if one.actor == "send_followup"] == [1])
    shop.hear()
    clock.advance(hours=1)
    registry.broker.publish_due()
    wait_until(lambda: {one.state for one in rows(tasks)} == {"done"})
    assert shop.reminders() == []
    assert [one.state for one in rows(deliveries) if one.text in FOLLOWUP_TEXTS] == ["failed"]


def test_a_chat_may_be_named_by_its_number(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("rabbitmq")
    dispatcher.dispatch_message("web-7", "Привіт", fire_and_forget=False)
    wait_until(lambda: rows(conversations)[0].head_task_id is None)
    dispatcher.dispatch_followup("web-7", "telegram", 42)
    wait_until(lambda: Shop(services, FakeClock()).reminders() == [FOLLOWUP_TEXTS[0]])


def test_a_reminder_is_stored_as_said_only_when_it_was_delivered(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=24)
    shop.services.misbehave("telegram", Status(400), times=1)
    shop.send_followups()
    assert [row.content for row in rows(history) if row.content in FOLLOWUP_TEXTS] == []
    assert [row.error_code for row in rows(dead_letters)] == ["CHANNEL_REFUSED"]


def test_the_agent_is_told_of_what_was_sent(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=24)
    shop.send_followups()
    shop.hear()
    asked = shop.services.requests("llm")[-1].body["messages"]
    assert {"role": "assistant", "content": FOLLOWUP_TEXTS[0]} in asked


def test_a_conversation_without_a_chat_is_skipped_and_not_said_to_be_sent(shop: Shop) -> None:
    dispatcher.dispatch_message("web-7", "Привіт")
    assert result_of(send_followup.send("web-7"))["reason"] == "no_chat"
    assert result_of(send_followup.send("nobody"))["reason"] == "no_conversation"


def test_a_followup_goes_to_the_channel_of_the_conversation_whatever_is_asked(shop: Shop) -> None:
    shop.hear()
    sent = result_of(send_followup.send(CHAT, channel="manychat", chat_id="999"))
    assert (sent["status"], sent["channel"], sent["content"]) == (
        "sent",
        "telegram",
        FOLLOWUP_TEXTS[0],
    )
    assert sent["tags"] == ["followup_1"]
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]


def test_no_more_are_sent_than_there_are_delays(shop: Shop) -> None:
    shop.hear()
    outcomes = [result_of(send_followup.send(CHAT)) for _ in range(3)]
    assert [one.get("reason", one["status"]) for one in outcomes] == ["sent", "sent", "none_left"]
    shop.clock.advance(hours=1000)
    assert shop.send_followups() == 0


def test_a_scheduled_one_is_sent_at_its_time(shop: Shop) -> None:
    shop.hear()
    scheduled = result_of(schedule_followup.send(CHAT, 5))
    assert scheduled["status"] == "scheduled"
    shop.clock.advance(hours=4.9)
    assert registry.broker.publish_due() == 0
    shop.clock.advance(hours=0.2)
    registry.broker.publish_due()
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]


def test_the_customers_message_cancels_what_is_scheduled(shop: Shop) -> None:
    shop.hear()
    answer = dispatcher.schedule_followup(CHAT, 5)
    assert answer == {"scheduled": True, "task_id": answer["task_id"], "delay_hours": 5}
    shop.clock.advance(hours=1)
    shop.hear()
    shop.clock.advance(hours=5)
    registry.broker.publish_due()
    assert shop.reminders() == []


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), 1e9])
def test_a_delay_that_is_none_is_refused_and_nothing_kept(shop: Shop, delay: float) -> None:
    shop.hear()
    before = len(rows(tasks))
    with pytest.raises(PermanentError, match="delay_hours"):
        dispatcher.schedule_followup(CHAT, delay)
    assert len(rows(tasks)) == before


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_dispatched_reminder_reaches_the_customer(
    run: Callable[..., Running], services: FakeServices, transport: str
) -> None:
    run(transport)
    shop = Shop(services, FakeClock())
    shop.hear()
    wait_until(lambda: len(services.sent(CHAT)) == 1)
    wait_until(lambda: rows(conversations)[0].head_task_id is None)
    answer = dispatcher.dispatch_followup(CHAT)
    assert answer == {"queued": True, "task_id": answer["task_id"]}
    wait_until(lambda: shop.reminders() == [FOLLOWUP_TEXTS[0]])


def test_without_tasks_the_caller_does_the_work(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("embedded", work=False, TASKS_ENABLED=False)
    Shop(services, FakeClock()).hear()
    answer = dispatcher.dispatch_followup(CHAT)
    assert (answer["queued"], answer["status"], answer["content"]) == (
        False,
        "sent",
        FOLLOWUP_TEXTS[0],
    )


def test_a_429_of_one_chat_does_not_hold_the_reminder_of_another(shop: Shop) -> None:
    shop.hear(chat="1")
    shop.hear(chat="2")
    shop.clock.advance(hours=24)
    shop.services.misbehave("telegram", TooMany(1), times=1, chat="1")
    shop.send_followups()
    assert (shop.reminders("1"), shop.reminders("2")) == ([FOLLOWUP_TEXTS[0]], [FOLLOWUP_TEXTS[0]])


NIGHT = datetime(2026, 3, 1, 1, 10, tzinfo=UTC)
"""Ten past three in Kyiv."""


@pytest.fixture
def at_night(run: Callable[..., Running], services: FakeServices) -> Shop:
    """Open a shop at ten past three at night."""
    clock = FakeClock(NIGHT)
    run("eager", clock=clock)
    return Shop(services, clock)


def test_a_reminder_that_is_due_at_night_is_sent_at_nine(at_night: Shop) -> None:
    at_night.hear()
    at_night.clock.advance(hours=24)
    assert at_night.send_followups() == 0
    at_night.clock.now = datetime(2026, 3, 2, 6, 59, tzinfo=UTC)
    assert at_night.send_followups() == 0
    at_night.clock.now = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
    assert at_night.send_followups() == 1
    assert at_night.reminders() == [FOLLOWUP_TEXTS[0]]


def test_a_reminder_that_comes_into_the_night_on_its_way_is_sent_in_the_morning(
    shop: Shop,
) -> None:
    shop.hear()
    shop.clock.now = datetime(2026, 3, 2, 18, 59, tzinfo=UTC)
    (batch,) = current_runtime().followups.take_due()
    shop.clock.advance(minutes=1)
    registry.broker.publish(batch)
    assert shop.reminders() == []
    shop.clock.advance(hours=11)
    assert shop.send_followups() == 0
    shop.clock.advance(hours=1)
    assert (shop.send_followups(), shop.send_followups()) == (1, 0)
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]


def test_a_scheduled_time_at_night_is_moved_to_the_morning(shop: Shop) -> None:
    shop.hear()
    dispatcher.schedule_followup(CHAT, 9)
    shop.clock.advance(hours=18.9)
    assert registry.broker.publish_due() == 0
    shop.clock.advance(hours=0.2)
    registry.broker.publish_due()
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]


def test_a_reminder_that_is_asked_for_now_is_sent_now(at_night: Shop) -> None:
    at_night.hear()
    assert result_of(send_followup.send(CHAT))["status"] == "sent"
    dispatcher.schedule_followup(CHAT, 0)
    registry.broker.publish_due()
    assert at_night.reminders() == list(FOLLOWUP_TEXTS[:2])


def test_a_shop_may_have_no_quiet_hours(
    run: Callable[..., Running], services: FakeServices
) -> None:
    shop = Shop(services, FakeClock(NIGHT))
    run("eager", clock=shop.clock, quiet_hours="none")
    shop.hear()
    shop.clock.advance(hours=24)
    assert shop.send_followups() == 1


@pytest.mark.parametrize(("days", "reminders"), [(0, 0), (6, 0), (8, 1)])
def test_a_customer_who_has_ordered_is_not_reminded(
    shop: Shop, days: float, reminders: int
) -> None:
    shop.hear()
    create_crm_order.send(order(source_id=CHAT))
    shop.clock.advance(days=days)
    shop.hear("Дякую")
    shop.clock.advance(hours=24)
    shop.send_followups()
    assert len(shop.reminders()) == reminders


@pytest.mark.parametrize("word", ["/stop", "Стоп!", "STOP", "відписатися"])
def test_a_customer_who_has_said_stop_is_not_reminded_until_they_start_again(
    shop: Shop, word: str
) -> None:
    shop.hear(word)
    assert shop.services.sent(CHAT) == [NO_MORE_FOLLOWUPS]
    assert shop.services.requests("llm") == []
    shop.clock.advance(hours=24)
    shop.send_followups()
    shop.hear("Є шапка?")
    shop.clock.advance(hours=24)
    shop.send_followups()
    assert shop.reminders() == []
    assert result_of(send_followup.send(CHAT))["reason"] == "opted_out"
    shop.hear("/start")
    shop.clock.advance(hours=24)
    shop.send_followups()
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]


def test_a_customer_who_tells_the_agent_is_not_reminded_until_they_ask_again(shop: Shop) -> None:
    shop.services.llm.calls = lambda _: [("set_reminders", '{"wanted": false}')]
    shop.hear("Не пишіть мені більше першими")
    shop.services.llm.calls = lambda _: []
    shop.clock.advance(hours=24)
    shop.send_followups()
    assert shop.reminders() == []
    shop.services.llm.calls = lambda _: [("set_reminders", '{"wanted": true}')]
    shop.hear("Нагадайте, будь ласка")
    shop.services.llm.calls = lambda _: []
    shop.clock.advance(hours=24)
    shop.send_followups()
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]


def test_messages_behind_a_stop_are_answered_by_the_agent(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("embedded", clock=clock, work=False)
    shop = Shop(services, clock)
    shop.hear("/stop")
    shop.hear("Є сукня?")
    worker = start_worker(registry.broker, queues=set(QUEUES), threads=4, idle_ms=50)
    try:
        wait_until(lambda: len(services.sent(CHAT)) == 2)
    finally:
        stop_worker(worker, grace_s=10)
    assert services.sent(CHAT) == [NO_MORE_FOLLOWUPS, "echo: Є сукня?"]


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_a_customer_on_manychat_is_reminded_by_day_and_within_the_window(
    run: Callable[..., Running], services: FakeServices, hour: int
) -> None:
    clock = FakeClock(datetime(2026, 3, 1, hour, 7, tzinfo=UTC))
    keys = {"manychat_api_key": "key", "manychat_verify_token": "token"}
    run("eager", clock=clock, manychat_api_url=services.manychat_url, **keys)
    shop = Shop(services, clock)
    shop.hear(platform="manychat")
    sent_at: list[datetime] = []
    for _ in range(24 * 4):
        clock.advance(minutes=15)
        shop.send_followups()
        sent_at += [clock.now] * (len(shop.reminders()) - len(sent_at))
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]
    assert 9 <= sent_at[0].astimezone(ZoneInfo("Europe/Kyiv")).hour < 21


def test_a_customer_who_blocked_the_bot_gets_no_reminder_until_they_write_again(
    shop: Shop,
) -> None:
    shop.services.telegram.blocked_by.add(CHAT)
    shop.hear()
    requests = len(shop.services.requests("telegram"))
    for hours in (24, 48):
        shop.clock.advance(hours=hours)
        assert shop.send_followups() == 1
    skipped = result_of(send_followup.send(CHAT))
    assert skipped["status"] == "skipped"
    assert len(shop.services.requests("telegram")) == requests == 1
    assert rows(dead_letters) == []
    shop.services.telegram.blocked_by.clear()
    shop.hear()
    shop.clock.advance(hours=24)
    shop.send_followups()
    assert shop.reminders() == [FOLLOWUP_TEXTS[0]]


def test_a_reminder_that_is_blocked_is_skipped_and_not_in_the_history(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=24)
    shop.services.telegram.blocked_by.add(CHAT)
    result = result_of(send_followup.send(CHAT))
    assert (result["status"], result["reason"]) == ("skipped", "unreachable")
    assert [row.role for row in rows(history)] == ["user", "assistant"]
    assert rows(dead_letters) == []
    states = [row.state for row in rows(deliveries) if row.text in FOLLOWUP_TEXTS]
    assert states == ["unreachable"]


def test_a_member_of_a_group_is_not_reminded_before_all(shop: Shop) -> None:
    dispatcher.dispatch_message("-100:42", "Є сукня?", "telegram", "-100#12", fire_and_forget=True)
    shop.clock.advance(hours=24)
    assert result_of(send_followup.send("-100:42"))["reason"] == "window_closed"


def test_a_customer_who_waits_for_an_answer_gets_no_followup(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    run("embedded", work=False, clock=clock)
    shop = Shop(services, clock)
    shop.hear()
    clock.advance(hours=24)
    asked = send_followup.send(CHAT)
    worker = start_worker(registry.broker, queues={"followups"}, threads=1, idle_ms=50)
    try:
        assert result_of(asked)["reason"] == "not_answered_yet"
    finally:
        stop_worker(worker, grace_s=10)
    assert services.sent(CHAT) == []


@pytest.mark.parametrize(("minutes_before_the_end", "reason"), [(1, None), (0, "window_closed")])
def test_a_followup_leaves_until_the_end_of_the_window_and_not_at_it(
    run: Callable[..., Running],
    services: FakeServices,
    minutes_before_the_end: int,
    reason: str | None,
) -> None:
    clock = FakeClock()
    keys = {"manychat_api_key": "key", "manychat_verify_token": "token"}
    run("eager", clock=clock, manychat_api_url=services.manychat_url, **keys)
    Shop(services, clock).hear(platform="manychat")
    clock.advance(hours=24, minutes=-minutes_before_the_end)
    assert result_of(send_followup.send(CHAT)).get("reason") == reason


def test_a_followup_that_was_planned_before_the_customer_wrote_is_not_sent(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock()
    running = run("eager", clock=clock)
    dispatcher.schedule_followup(CHAT, 5, chat_id=CHAT)
    clock.advance(hours=1)
    Shop(services, clock).hear()
    clock.advance(hours=5)
    running.broker.publish_due()
    assert Shop(services, clock).reminders() == []


def test_a_followup_that_is_planned_twice_is_planned_once(shop: Shop) -> None:
    shop.hear()
    for _ in range(2):
        current_runtime().followups.schedule("f1", CHAT, 5, channel="telegram", chat_id=CHAT)
    [row] = rows(conversations)
    assert row.followups_taken == 1


def test_the_agent_is_told_a_followup_once_however_often_its_end_is_written(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=24)
    sent = send_followup.send(CHAT)
    with current_runtime().database.transaction() as tx:
        found = store.find(tx, sent.message_id)
        assert found is not None
        store.add_to_history(tx, found, FOLLOWUP_TEXTS[0], now=shop.clock())
    lines = [row.content for row in rows(history)]
    assert lines.count(FOLLOWUP_TEXTS[0]) == 1


def test_a_worker_that_lost_its_lease_takes_no_followup(shop: Shop) -> None:
    shop.hear()
    shop.clock.advance(hours=24)
    lost = Lease("f1", "lost", fence=1)
    with pytest.raises(LeaseLostError):
        current_runtime().followups.send(lost, CHAT, channel="telegram", chat_id=CHAT)
    [row] = rows(conversations)
    assert (row.followups_taken, shop.reminders()) == (0, [])
