"""The agent asks for a person: the customer gets the reply, and the staff is told."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from mirt.clock import utc_now
from mirt.operators import Door, Operator, acting_as
from mirt.runtime import current_runtime
from mirt.store.shop.handovers import HandoverState, find_handover
from mirt.store.shop.personal_data import erase, find_person, read_rows
from mirt.store.tables import conversations, deliveries, handover_events
from mirt.texts import ORDER_FIELDS, PERSON_ASKED
from service import dispatcher
from service.admin import handovers
from tests.clock import FakeClock
from tests.fakes import FakeServices, Status
from tests.integration.conftest import TRANSPORTS, Running, dead_letters_of, rows
from tests.polling import wait_until
from tests.unit.orders.examples import order

Run = Callable[..., Running]
STAFF_CHAT = "-100500"


def ask(services: FakeServices, text: str = "Передаю колезі", **arguments: Any) -> None:
    """Have the agent ask for a person in its next answers."""
    services.llm.reply = lambda _: text
    arguments = arguments or {"reason": "скарга на розмір"}
    services.llm.calls = lambda _: [("ask_a_person", json.dumps(arguments))]


def write(text: str, chat: str = "42") -> None:
    dispatcher.dispatch_message(chat, text, "telegram", chat, fire_and_forget=True)


def state(chat: str = "42") -> HandoverState:
    with current_runtime().database.transaction() as tx:
        found = find_handover(tx, chat)
    assert found is not None
    return found.state


def moves() -> list[tuple[str, str | None]]:
    return [(row.act, row.operator) for row in rows(handover_events)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_customer_gets_the_reply_once_and_the_staff_is_told_once(
    run: Run, services: FakeServices, transport: str
) -> None:
    run(transport, staff_chat_id=STAFF_CHAT, staff_webhook_url=services.staff_url)
    current_runtime().webhooks.expect("telegram", "https://shop.example/webhooks/telegram")
    ask(services)
    write("Покличте людину!")
    wait_until(lambda: services.sent("42") == ["Передаю колезі"])
    [notice] = wait_until(lambda: services.sent(STAFF_CHAT))
    assert "Покупець 42 чекає на людину: скарга на розмір" in notice
    assert "https://shop.example/ops/trace?id=42" in notice
    [told] = wait_until(lambda: services.staff.told)
    assert told == {
        "event": "person_asked",
        "id": told["id"],
        "session_id": "42",
        "platform": "telegram",
        "customer_name": None,
        "reason": "скарга на розмір",
        "url": "https://shop.example/ops/trace?id=42",
    }
    assert state() is HandoverState.ASKED
    write("Ви тут?")
    assert len(services.requests("llm")) == 1
    assert (len(services.sent("42")), len(services.sent(STAFF_CHAT))) == (1, 1)


def test_a_customer_who_gets_no_words_of_the_agent_is_told_that_a_person_comes(
    run: Run, services: FakeServices
) -> None:
    run("eager")
    ask(services, text="")
    write("Покличте людину!")
    assert services.sent("42") == [PERSON_ASKED]


@pytest.mark.parametrize("arguments", ['{"reason": 7}', "{", '{"reason": ""}', '["x"]'])
def test_a_call_that_is_written_badly_still_brings_a_person(
    run: Run, services: FakeServices, arguments: str
) -> None:
    run("eager", staff_chat_id=STAFF_CHAT)
    services.llm.reply = lambda _: "Передаю"
    services.llm.calls = lambda _: [("ask_a_person", arguments)]
    write("Людину!")
    assert state() is HandoverState.ASKED
    assert len(services.sent(STAFF_CHAT)) == 1


def test_a_webhook_that_fails_is_tried_again_and_the_chat_is_not_told_twice(
    run: Run, services: FakeServices
) -> None:
    running = run("eager", staff_chat_id=STAFF_CHAT, staff_webhook_url=services.staff_url)
    services.misbehave("staff", Status(500), times=2)
    ask(services)
    write("Людину!")
    assert (len(services.staff.told), len(services.sent(STAFF_CHAT))) == (1, 1)
    assert dead_letters_of(running) == []


def test_a_webhook_that_refuses_leaves_a_dead_letter_without_its_key(
    run: Run, services: FakeServices
) -> None:
    running = run("eager", staff_webhook_url=services.staff_url)
    services.misbehave("staff", Status(410, {"error": "staff-key is gone"}), times=None)
    ask(services)
    write("Людину!")
    [dead] = dead_letters_of(running)
    assert (dead.task.actor, dead.error_code) == ("tell_staff", "CHANNEL_REFUSED")
    assert "staff-key" not in dead.exception + dead.traceback
    assert state() is HandoverState.ASKED


def test_a_staff_chat_that_is_closed_to_the_bot_leaves_the_customer_reachable(
    run: Run, services: FakeServices
) -> None:
    running = run("eager", staff_chat_id=STAFF_CHAT)
    kicked = {"ok": False, "error_code": 403, "description": "Forbidden: bot was kicked"}
    services.misbehave("telegram", Status(403, kicked), chat=STAFF_CHAT)
    ask(services)
    write("Людину!")
    [dead] = dead_letters_of(running)
    assert "STAFF_CHAT_ID" in dead.exception
    with current_runtime().database.transaction() as tx:
        assert tx.execute(select(conversations.c.unreachable_since)).scalar() is None


def test_a_conversation_that_nobody_comes_for_goes_back_to_the_bot_by_itself(
    run: Run, services: FakeServices
) -> None:
    clock = FakeClock()
    running = run("eager", clock=clock, handover_minutes=30)
    ask(services)
    write("Людину!")
    services.llm.calls = lambda _: []
    services.llm.reply = lambda _: "Чим допомогти?"
    write("Де ви?")
    clock.advance(minutes=29)
    running.broker.publish_due()
    assert state() is HandoverState.ASKED
    clock.advance(minutes=2)
    running.broker.publish_due()
    assert state() is HandoverState.BOT
    assert services.sent("42") == ["Передаю колезі", "Чим допомогти?"]
    assert moves() == [("ask", None), ("expire", None)]


def test_each_act_of_a_person_begins_the_time_anew(run: Run, services: FakeServices) -> None:
    clock = FakeClock()
    running = run("eager", clock=clock, handover_minutes=30)
    write("Привіт")
    with acting_as(Operator("olena", Door.PAGE)):
        handovers.take_over(current_runtime(), "42")
        for _ in range(3):
            clock.advance(minutes=25)
            handovers.say(current_runtime(), "42", "Секунду")
            running.broker.publish_due()
            assert state() is HandoverState.PERSON
    clock.advance(minutes=29)
    running.broker.publish_due()
    assert state() is HandoverState.PERSON
    clock.advance(minutes=2)
    running.broker.publish_due()
    assert state() is HandoverState.BOT
    assert moves() == [("take", "olena"), ("expire", None)]


def test_no_minutes_mean_that_it_never_goes_back_by_itself(
    run: Run, services: FakeServices
) -> None:
    clock = FakeClock()
    running = run("eager", clock=clock, handover_minutes=0)
    ask(services)
    write("Людину!")
    clock.advance(days=30)
    running.broker.publish_due()
    assert state() is HandoverState.ASKED


def test_a_customer_who_is_forgotten_is_forgotten_in_the_notice_to_the_staff(
    run: Run, services: FakeServices
) -> None:
    run("eager", staff_chat_id=STAFF_CHAT)
    ask(services)
    write("Людину!")
    assert len(rows(deliveries)) == 2
    with current_runtime().database.transaction() as tx:
        person = find_person(tx, "42")
        assert len(read_rows(tx, person)["deliveries"]) == 2
        erase(tx, person, now=utc_now())
    assert rows(deliveries) == []


def test_a_customer_of_manychat_has_the_tag_while_a_person_is_in_charge(
    run: Run, services: FakeServices
) -> None:
    run(
        "eager",
        manychat_api_key="mc-key",
        manychat_verify_token="flow-token",
        manychat_api_url=services.manychat_url,
        manychat_person_tag="людина",
    )
    ask(services)
    dispatcher.dispatch_message("42", "Людину!", "manychat", "42", fire_and_forget=True)
    [tagged] = services.requests("manychat", "/addTagByName")
    assert tagged.body == {"subscriber_id": "42", "tag_name": "людина"}
    handovers.hand_back(current_runtime(), "42")
    [untagged] = services.requests("manychat", "/removeTagByName")
    assert untagged.body == {"subscriber_id": "42", "tag_name": "людина"}
    handovers.take_over(current_runtime(), "42")
    assert len(services.requests("manychat", "/addTagByName")) == 2


def test_a_customer_whose_number_is_wrong_a_third_time_gets_a_person(
    run: Run, services: FakeServices
) -> None:
    run("eager", staff_chat_id=STAFF_CHAT)
    wrong = order(customer={**order()["customer"], "phone": "12"})
    services.llm.calls = lambda _: [("create_order", json.dumps(wrong))]
    for number in range(3):
        write(f"мій номер 12, пишу {number + 1}-й раз")
    first, second, third = services.sent("42")
    assert first == second != third
    assert (ORDER_FIELDS["phone"] in first, third) == (True, PERSON_ASKED)
    [notice] = services.sent(STAFF_CHAT)
    assert f"двічі перепитано: {ORDER_FIELDS['phone']}" in notice
    assert state() is HandoverState.ASKED
