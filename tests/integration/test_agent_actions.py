"""What the agent wants to have done is done: validated, once, and by the same way as any other."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from mirt.runtime import current_runtime
from mirt.store.tables import conversations, turns
from mirt.texts import ORDER_TAKEN
from service import dispatcher
from tests.fakes import FakeWorld
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until
from tests.unit.orders.examples import order

AGREED = {name: order()[name] for name in ("customer", "items")}


def confirm(world: FakeWorld, what: Any = AGREED, text: str = "") -> None:
    """Have the agent confirm an order whenever it is asked."""
    world.llm.reply = lambda _: text
    world.llm.calls = lambda _: [("create_order", json.dumps(what))]


@pytest.fixture
def write(run: Callable[..., Running], world: FakeWorld) -> Callable[[str], None]:
    """Write to a shop whose work is done at once, and that has a CRM."""
    run(
        "eager",
        snitkix_api_key="crm-key",
        snitkix_api_url=world.crm_url,
        manychat_api_key="mc-key",
        manychat_verify_token="flow-token",
        manychat_api_url=world.manychat_url,
    )

    def send(text: str, platform: str = "telegram") -> None:
        dispatcher.dispatch_message("42", text, platform, "42", fire_and_forget=True)

    return send


def recorded() -> list[Any]:
    with current_runtime().database.transaction() as tx:
        return list(tx.execute(select(turns.c.actions)).scalars())


def test_a_confirmed_order_is_in_the_crm_and_the_customer_knows(
    write: Callable[[str], None], world: FakeWorld
) -> None:
    confirm(world)
    write("Так, підтверджую")
    (created,) = world.crm.orders
    assert (created["source"], created["source_id"]) == ("telegram", "42")
    assert created["items"][0]["quantity"] == 2
    assert created["total"] == 999.8
    assert world.sent("42") == [ORDER_TAKEN]
    with current_runtime().database.transaction() as tx:
        assert tx.execute(select(conversations.c.order_status)).scalar_one() == "new"


def test_the_agents_own_words_are_kept(write: Callable[[str], None], world: FakeWorld) -> None:
    confirm(world, text="Дякую, Олено!")
    write("Так, підтверджую")
    assert world.sent("42") == ["Дякую, Олено!"]


def test_an_order_confirmed_once_more_is_the_same_order(
    write: Callable[[str], None], world: FakeWorld
) -> None:
    confirm(world)
    write("Так, підтверджую")
    write("Дякую!")
    assert len(world.crm.orders) == 1


def test_another_order_of_the_same_customer_is_another(
    write: Callable[[str], None], world: FakeWorld
) -> None:
    confirm(world)
    write("Так, підтверджую")
    confirm(world, {**AGREED, "items": [{**AGREED["items"][0], "size": "116"}]})
    write("І ще одну на 116")
    assert len(world.crm.orders) == 2


def test_an_order_that_is_not_complete_is_not_created_and_asked_for(
    write: Callable[[str], None], world: FakeWorld
) -> None:
    confirm(world, {**AGREED, "customer": {"full_name": "Олена Коваль"}}, text="Оформила!")
    write("Так, підтверджую")
    assert world.crm.orders == []
    (asked,) = world.sent("42")
    assert "номер телефону, місто" in asked
    assert "Оформила" not in asked
    assert recorded() == [
        [{"action": "create_order", "wrong": ["customer.phone", "customer.city"]}]
    ]


@pytest.mark.parametrize("what", [None, [], {}, "все", {"items": 7}])
def test_nonsense_creates_nothing_and_the_conversation_goes_on(
    write: Callable[[str], None], world: FakeWorld, what: Any
) -> None:
    confirm(world, what)
    write("Так, підтверджую")
    world.llm.calls = lambda _: []
    world.llm.reply = lambda _: "Слухаю"
    write("Ви тут?")
    assert world.crm.orders == []
    assert world.sent("42")[-1] == "Слухаю"


def test_free_text_creates_nothing(write: Callable[[str], None], world: FakeWorld) -> None:
    world.llm.reply = lambda _: f"create_order({json.dumps(AGREED)})"
    write("Так, підтверджую")
    assert world.crm.orders == []


def test_what_is_to_be_remembered_of_a_customer_is_told_to_manychat(
    write: Callable[..., None], world: FakeWorld
) -> None:
    marks = {"fields": {"child_height": "110"}, "add_tags": ["interested"]}
    world.llm.calls = lambda _: [("remember_customer", json.dumps(marks))]
    write("Зріст 110", "manychat")
    assert world.manychat.fields["42"] == {"child_height": "110"}
    assert world.manychat.tags["42"] == {"interested"}
    assert world.sent("42") == ["echo: Зріст 110"]


@pytest.mark.parametrize("transport", TRANSPORTS[1:])
def test_workers_create_it_too(
    run: Callable[..., Running], world: FakeWorld, transport: str
) -> None:
    run(transport, snitkix_api_key="crm-key", snitkix_api_url=world.crm_url)
    confirm(world)
    dispatcher.dispatch_message("42", "Так", "telegram", "42", fire_and_forget=True)
    wait_until(lambda: len(world.crm.orders) == 1)


def test_without_tasks_the_caller_creates_it(run: Callable[..., Running], world: FakeWorld) -> None:
    run(
        "embedded",
        work=False,
        TASKS_ENABLED=False,
        snitkix_api_key="crm-key",
        snitkix_api_url=world.crm_url,
    )
    confirm(world)
    answer = dispatcher.dispatch_message("42", "Так", chat_id="42", fire_and_forget=True)
    assert answer["response"] == ORDER_TAKEN
    assert len(world.crm.orders) == 1
