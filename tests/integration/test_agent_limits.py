"""The agent's actions have limits; beyond them a person decides, or nothing happens."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from broker.task import registry
from mirt.runtime import Runtime, current_runtime
from mirt.store.queue import outbox
from mirt.store.shop.orders import OrderState
from mirt.store.tables import audit, orders, turns
from mirt.texts import ONE_ORDER_AT_A_TIME, ORDER_NEEDS_APPROVAL
from service import dispatcher
from service.admin import orders as admin
from tests.clock import FakeClock
from tests.fakes import FakeServices, Status
from tests.integration.conftest import Running
from tests.unit.orders.examples import order

Calls = list[tuple[str, Any]]
CUSTOMER, [ITEM] = order()["customer"], order()["items"]


def agreed(*, phone: str = CUSTOMER["phone"], **item: Any) -> dict[str, Any]:
    return {"customer": {**CUSTOMER, "phone": phone}, "items": [{**ITEM, **item}]}


class Shop:
    """A shop with a CRM and ManyChat, whose work is done at once."""

    def __init__(self, services: FakeServices, clock: FakeClock) -> None:
        self.services = services
        self.clock = clock
        self.number = 0

    def says(
        self, *calls: tuple[str, Any], text: str = "Готово!", platform: str = "manychat"
    ) -> Any:
        """Write a message that the agent answers with these calls; return what is recorded."""
        self.services.llm.reply = lambda _: text
        self.services.llm.calls = lambda _: [(name, json.dumps(given)) for name, given in calls]
        self.number += 1
        self.clock.advance(seconds=10)
        dispatcher.dispatch_message("42", f"n {self.number}", platform, "42", fire_and_forget=True)
        with self.runtime.database.transaction() as tx:
            latest = select(turns.c.actions).order_by(turns.c.answered_at.desc()).limit(1)
            return tx.execute(latest).scalar_one()

    @property
    def runtime(self) -> Runtime:
        return current_runtime()

    @property
    def marks(self) -> list[str]:
        return [r.path for r in self.services.requests("manychat") if "/subscriber/" in r.path]

    def states(self) -> list[str]:
        with self.runtime.database.transaction() as tx:
            return list(tx.execute(select(orders.c.state).order_by(orders.c.created_at)).scalars())

    def run_due(self) -> None:
        """Do what the outbox pump of a worker does."""
        with self.runtime.database.transaction() as tx:
            due = outbox.take_due(tx, now=self.clock(), limit=10)
        registry.broker.publish(due)


@pytest.fixture
def shop(run: Callable[..., Running], services: FakeServices) -> Callable[..., Shop]:
    def open_shop(**settings: Any) -> Shop:
        clock = FakeClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
        run(
            "eager",
            clock=clock,
            snitkix_api_key="crm-key",
            snitkix_api_url=services.crm_url,
            manychat_api_key="mc-key",
            manychat_verify_token="flow-token",
            manychat_api_url=services.manychat_url,
            manychat_calls_per_second=10,
            **settings,
        )
        return Shop(services, clock)

    return open_shop


def test_sixty_orders_in_one_answer_are_one_order(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop()
    many = [("create_order", agreed(phone=f"05012345{n:02}")) for n in range(60)]
    record = here.says(*many)
    assert len(services.crm.orders) == 1
    assert [one.get("refused") for one in record] == [None, *["orders_per_turn"] * 59]
    assert services.sent("42") == [f"Готово!\n\n{ONE_ORDER_AT_A_TIME}"]
    steps = here.runtime.timelines.of("42")
    assert steps is not None
    assert [s for s in steps.steps if "refused create_order (orders_per_turn) × 59" in s.text]


def test_the_fourth_order_of_a_day_waits_for_a_person(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop()
    for n in range(3):
        here.says(("create_order", agreed(phone=f"050123456{n}")))
    [entry] = here.says(("create_order", agreed(phone="0501234569")))
    assert entry["approval"] == "orders_per_day"
    assert len(services.crm.orders) == 3
    assert services.sent("42")[-1] == ORDER_NEEDS_APPROVAL
    here.clock.advance(hours=24)
    here.says(("create_order", agreed(phone="0501234568")))
    assert len(services.crm.orders) == 4


def test_the_same_order_confirmed_again_is_not_one_more(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop(agent_max_orders_per_day=2)
    for _ in range(4):
        here.says(("create_order", agreed()))
    here.says(("create_order", agreed(size="116")))
    assert len(services.crm.orders) == 2


@pytest.mark.parametrize(
    ("item", "limit"),
    [
        ({"price": 20_000.01, "quantity": 1}, "order_total"),
        ({"price": 1_000_000, "quantity": 1000}, "order_total"),
        ({"price": 1, "quantity": 21}, "order_items"),
    ],
)
def test_an_order_that_is_larger_than_usual_waits_until_a_person_approves_it(
    shop: Callable[..., Shop], services: FakeServices, item: dict[str, Any], limit: str
) -> None:
    here = shop()
    [entry] = here.says(("create_order", agreed(**item)))
    assert entry["approval"] == limit
    assert services.crm.orders == []
    assert here.states() == [OrderState.NEEDS_APPROVAL]
    assert services.sent("42") == [ORDER_NEEDS_APPROVAL]
    [waiting] = admin.to_approve(here.runtime)
    assert waiting.session_id == "42"
    assert admin.approve(here.runtime, waiting.external_id)
    assert not admin.approve(here.runtime, waiting.external_id), "it is decided once"
    here.run_due()
    [created] = services.crm.orders
    assert created["external_id"] == waiting.external_id
    assert here.states() == [OrderState.CREATED]
    with here.runtime.database.transaction() as tx:
        [act] = tx.execute(select(audit)).all()
    assert (act.act, act.session_id) == ("approve order", "42")


def test_an_order_that_a_person_refuses_never_reaches_the_crm(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop()
    here.says(("create_order", agreed(price=30_000)))
    [waiting] = admin.to_approve(here.runtime)
    assert admin.refuse(here.runtime, waiting.external_id)
    here.run_due()
    assert (services.crm.orders, here.states()) == ([], [OrderState.REFUSED])
    here.says(("create_order", agreed(price=30_000)))
    assert len(admin.to_approve(here.runtime)) == 1, "asked for again, it waits again"


def test_the_agent_is_told_that_its_order_waits(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop()
    here.says(("create_order", agreed(price=30_000)))
    here.says()
    sent = json.dumps(services.requests("llm")[-1].body, ensure_ascii=False)
    assert "чекає на підтвердження колеги" in sent


def test_an_order_of_the_operator_has_no_such_limit(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    shop()
    dispatcher.dispatch_crm_order(order(items=[{**ITEM, "price": 900_000}]))
    assert len(services.crm.orders) == 1


def test_names_that_the_shop_does_not_list_cause_no_call(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop(manychat_tags=("interested",), manychat_fields=("child_height",))
    marks = {
        "fields": {"child_height": "110", "discount": "90%"},
        "add_tags": ["interested", "VIP", "paid"],
        "remove_tags": ["debt"],
    }
    [entry] = here.says(("remember_customer", marks))
    assert entry["left_out"] == ["tag debt", "field discount", "tag VIP", "tag paid"]
    assert services.manychat.fields["42"] == {"child_height": "110"}
    assert services.manychat.tags["42"] == {"interested"}
    assert len(here.marks) == 2
    [entry] = here.says(("remember_customer", {"add_tags": ["VIP"]}))
    assert (entry["refused"], entry["left_out"]) == ("marks", ["tag VIP"])
    assert len(here.marks) == 2


def test_the_agent_is_told_the_allowed_names(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop(manychat_tags=("interested", "size-asked"), manychat_fields=("child_height",))
    here.says()
    [tool] = [
        one["function"]["parameters"]["properties"]
        for one in services.requests("llm")[-1].body["tools"]
        if one["function"]["name"] == "remember_customer"
    ]
    assert tool["add_tags"]["items"]["enum"] == ["interested", "size-asked"]
    assert list(tool["fields"]["properties"]) == ["child_height"]


def test_without_an_allowed_name_the_agent_has_no_tool_for_marks(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop(manychat_tags=(), manychat_fields=())
    [entry] = here.says(("remember_customer", {"add_tags": ["VIP"]})) or [{}]
    names = [one["function"]["name"] for one in services.requests("llm")[-1].body["tools"]]
    assert "remember_customer" not in names
    assert here.marks == []
    assert "task_id" not in entry


def test_three_hundred_marks_are_twenty_and_those_to_remove_come_first(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop()
    marks = {"add_tags": [f"tag {n}" for n in range(302)], "remove_tags": ["blocked", "debt"]}
    here.says(("remember_customer", marks), ("remember_customer", {"add_tags": ["more"]}))
    assert len(here.marks) == 20
    assert [path.endswith("removeTagByName") for path in here.marks[:3]] == [True, True, False]
    assert "more" not in services.manychat.tags["42"]


def test_another_attempt_goes_on_after_the_marks_that_are_set(
    shop: Callable[..., Shop], services: FakeServices
) -> None:
    here = shop()
    services.misbehave("manychat", Status(500, {}), match="second")
    here.says(("remember_customer", {"add_tags": ["first", "second", "third"]}))
    bodies = [r.body["tag_name"] for r in services.requests("manychat", "addTagByName")]
    assert bodies == ["first", "second", "second", "third"]
