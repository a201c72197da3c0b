"""The service executes the actions of the LLM: validated, once, and as any other task."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from mirt.runtime import current_runtime
from mirt.store.tables import conversations, turns
from mirt.texts import ORDER_TAKEN
from service import dispatcher
from tests.clock import FakeClock
from tests.fakes import FakeServices, Status
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until
from tests.unit.orders.examples import order

AGREED = {name: order()[name] for name in ("customer", "items")}


def confirm(services: FakeServices, what: Any = AGREED, text: str = "") -> None:
    """Have the agent confirm an order whenever it is asked."""
    services.llm.reply = lambda _: text
    services.llm.calls = lambda _: [("create_order", json.dumps(what))]


@pytest.fixture
def write(run: Callable[..., Running], services: FakeServices) -> Callable[[str], None]:
    """Write to a shop whose work is done at once, and that has a CRM."""
    run(
        "eager",
        snitkix_api_key="crm-key",
        snitkix_api_url=services.crm_url,
        manychat_api_key="mc-key",
        manychat_verify_token="flow-token",
        manychat_api_url=services.manychat_url,
    )

    def send(text: str, platform: str = "telegram") -> None:
        dispatcher.dispatch_message("42", text, platform, "42", fire_and_forget=True)

    return send


def recorded() -> list[Any]:
    with current_runtime().database.transaction() as tx:
        return list(tx.execute(select(turns.c.actions)).scalars())


def test_a_confirmed_order_is_in_the_crm_and_the_customer_knows(
    write: Callable[[str], None], services: FakeServices
) -> None:
    confirm(services)
    write("Так, підтверджую")
    (created,) = services.crm.orders
    assert (created["source"], created["source_id"]) == ("telegram", "42")
    assert created["items"][0]["quantity"] == 2
    assert created["total"] == 999.8
    assert services.sent("42") == [ORDER_TAKEN]
    with current_runtime().database.transaction() as tx:
        assert tx.execute(select(conversations.c.order_status)).scalar_one() == "new"


def test_the_agents_own_words_are_kept(
    write: Callable[[str], None], services: FakeServices
) -> None:
    confirm(services, text="Дякую, Олено!")
    write("Так, підтверджую")
    assert services.sent("42") == ["Дякую, Олено!"]


def test_an_order_confirmed_once_more_is_the_same_order(
    write: Callable[[str], None], services: FakeServices
) -> None:
    confirm(services)
    write("Так, підтверджую")
    write("Дякую!")
    assert len(services.crm.orders) == 1


def with_item(**changes: Any) -> dict[str, Any]:
    return {**AGREED, "items": [{**AGREED["items"][0], **changes}]}


def with_customer(**changes: Any) -> dict[str, Any]:
    return {**AGREED, "customer": {**AGREED["customer"], **changes}}


@pytest.mark.parametrize(
    "again",
    [
        with_item(price=499.9),
        with_item(quantity="2", color=" Синій"),
        {**AGREED, "payment_method": "cash_on_delivery", "delivery_method": ""},
        with_customer(full_name="Коваль Олена", nova_poshta_branch=7),
    ],
)
def test_an_order_that_is_written_otherwise_is_the_same_order(
    write: Callable[[str], None], services: FakeServices, again: Any
) -> None:
    confirm(services)
    write("Так, підтверджую")
    confirm(services, again)
    write("Дякую!")
    assert len(services.crm.orders) == 1


def test_an_order_confirmed_again_after_midnight_is_the_same_order(
    run: Callable[..., Running], services: FakeServices
) -> None:
    clock = FakeClock(datetime(2026, 3, 1, 23, 59, 50, tzinfo=UTC))
    run("eager", clock=clock, snitkix_api_key="crm-key", snitkix_api_url=services.crm_url)
    confirm(services)
    dispatcher.dispatch_message("42", "Так", "telegram", "42", fire_and_forget=True)
    clock.advance(seconds=20)
    dispatcher.dispatch_message("42", "Дякую", "telegram", "42", fire_and_forget=True)
    assert len(services.crm.orders) == 1
    clock.advance(days=1)
    dispatcher.dispatch_message("42", "Ще раз те саме", "telegram", "42", fire_and_forget=True)
    assert len(services.crm.orders) == 2


def test_an_order_confirmed_again_with_another_address_is_told_to_a_person(
    write: Callable[[str], None], services: FakeServices
) -> None:
    confirm(services)
    write("Так, підтверджую")
    confirm(services, with_customer(nova_poshta_branch="12"))
    with capture_logs() as lines:
        write("Ой, відділення 12")
    assert len(services.crm.orders) == 1
    (told,) = [line for line in lines if line["event"] == "order_changed"]
    assert told["fields"] == ["customer.nova_poshta_branch"]


def test_the_agent_knows_in_the_next_turn_what_it_has_ordered(
    write: Callable[[str], None], services: FakeServices
) -> None:
    confirm(services)
    write("Так, підтверджую")
    write("Дякую!")
    _, before, *_ = services.requests("llm")[-1].body["messages"]
    assert before["role"] == "system"
    assert "Сукня, 110, синій, 2 шт. по 499.90" in before["content"]


def test_another_order_of_the_same_customer_is_another(
    write: Callable[[str], None], services: FakeServices
) -> None:
    confirm(services)
    write("Так, підтверджую")
    confirm(services, {**AGREED, "items": [{**AGREED["items"][0], "size": "116"}]})
    write("І ще одну на 116")
    assert len(services.crm.orders) == 2


def test_an_order_that_is_not_complete_is_not_created_and_asked_for(
    write: Callable[[str], None], services: FakeServices
) -> None:
    confirm(services, {**AGREED, "customer": {"full_name": "Олена Коваль"}}, text="Оформила!")
    write("Так, підтверджую")
    assert services.crm.orders == []
    (asked,) = services.sent("42")
    assert "номер телефону, місто" in asked
    assert "Оформила" not in asked
    assert recorded() == [
        [{"action": "create_order", "wrong": ["customer.phone", "customer.city"]}]
    ]


@pytest.mark.parametrize("what", [None, [], {}, "все", {"items": 7}])
def test_nonsense_creates_nothing_and_the_conversation_goes_on(
    write: Callable[[str], None], services: FakeServices, what: Any
) -> None:
    confirm(services, what)
    write("Так, підтверджую")
    services.llm.calls = lambda _: []
    services.llm.reply = lambda _: "Слухаю"
    write("Ви тут?")
    assert services.crm.orders == []
    assert services.sent("42")[-1] == "Слухаю"


def test_free_text_creates_nothing(write: Callable[[str], None], services: FakeServices) -> None:
    services.llm.reply = lambda _: f"create_order({json.dumps(AGREED)})"
    write("Так, підтверджую")
    assert services.crm.orders == []


def test_a_fact_to_remember_about_a_customer_is_told_to_manychat(
    write: Callable[..., None], services: FakeServices
) -> None:
    marks = {"fields": {"child_height": "110"}, "add_tags": ["interested"]}
    services.llm.calls = lambda _: [("remember_customer", json.dumps(marks))]
    write("Зріст 110", "manychat")
    assert services.manychat.fields["42"] == {"child_height": "110"}
    assert services.manychat.tags["42"] == {"interested"}
    assert services.sent("42") == ["echo: Зріст 110"]


@pytest.mark.parametrize("transport", TRANSPORTS[1:])
def test_workers_create_it_too(
    run: Callable[..., Running], services: FakeServices, transport: str
) -> None:
    run(transport, snitkix_api_key="crm-key", snitkix_api_url=services.crm_url)
    confirm(services)
    dispatcher.dispatch_message("42", "Так", "telegram", "42", fire_and_forget=True)
    wait_until(lambda: len(services.crm.orders) == 1)


def test_without_tasks_the_caller_creates_it(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run(
        "embedded",
        work=False,
        TASKS_ENABLED=False,
        snitkix_api_key="crm-key",
        snitkix_api_url=services.crm_url,
    )
    confirm(services)
    answer = dispatcher.dispatch_message("42", "Так", chat_id="42", fire_and_forget=True)
    assert answer["response"] == ORDER_TAKEN
    assert len(services.crm.orders) == 1


def test_an_order_reaches_the_crm_although_the_first_delivery_of_its_reply_fails(
    run: Callable[..., Running], services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.store.queue.outbox.REPUBLISH_AFTER", timedelta(seconds=0.5))
    run("embedded", snitkix_api_key="crm-key", snitkix_api_url=services.crm_url)
    confirm(services)
    services.misbehave("telegram", Status(502))
    dispatcher.dispatch_message("42", "Так", "telegram", "42", fire_and_forget=True)
    wait_until(lambda: services.crm.orders and services.sent("42"))
    assert (len(services.crm.orders), services.sent("42")) == (1, [ORDER_TAKEN])
    assert len(services.requests("llm")) == 1
