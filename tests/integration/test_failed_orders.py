"""An order that the agent has promised and that fails is told to the staff and to the customer."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from actors.crm import create_crm_order
from middleware.dead_letters import replay
from mirt.operators import Door, Operator, acting_as
from mirt.orders.refusals import tell_of_failure
from mirt.runtime import current_runtime
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.tables import conversations, dead_letters, orders
from mirt.texts import ORDER_NOT_TAKEN
from service import dispatcher
from service.admin import handovers, pauses
from tests.fakes import FakeServices, Status
from tests.integration.conftest import TRANSPORTS, Running, rows
from tests.integration.test_orders import CRM
from tests.polling import wait_until
from tests.unit.orders.examples import order

Run = Callable[..., Running]
STAFF_CHAT = "-100500"
AGREED = {name: order()[name] for name in ("customer", "items")}
REFUSED = Status(422, {"message": "phone: is blacklisted"})


def start(run: Run, services: FakeServices, transport: str = "eager", **values: Any) -> Running:
    services.llm.reply = lambda _: "Оформила!"
    services.llm.calls = lambda _: [("create_order", json.dumps(AGREED))]
    return run(
        transport, snitkix_api_url=services.crm_url, staff_chat_id=STAFF_CHAT, **CRM, **values
    )


def write(text: str = "Беру") -> None:
    dispatcher.dispatch_message("42", text, "telegram", "42", fire_and_forget=True)


def order_id() -> str:
    return str(rows(orders)[0].external_id)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_order_that_the_crm_refuses_is_told_to_the_customer_and_the_staff_once(
    run: Run, services: FakeServices, transport: str
) -> None:
    running = start(run, services, transport)
    services.misbehave("crm", REFUSED, times=None)
    write()
    wait_until(lambda: services.sent("42") == ["Оформила!", ORDER_NOT_TAKEN])
    [notice] = wait_until(lambda: services.sent(STAFF_CHAT))
    assert f"CRM не приймає замовлення {order_id()}" in notice
    assert [one.order_status for one in rows(conversations)] == ["rejected"]

    replay(running.broker, running.broker.database, DeadLetterFilter(), running.broker.clock)
    wait_until(lambda: len(rows(dead_letters)) == 1)
    assert services.sent("42") == ["Оформила!", ORDER_NOT_TAKEN]
    assert len(services.sent(STAFF_CHAT)) == 1


def test_of_an_order_that_may_exist_only_the_staff_is_told(
    run: Run, services: FakeServices
) -> None:
    start(run, services)
    write()
    runtime, now = current_runtime(), current_runtime().clock()
    task_id = rows(orders)[0].task_id
    with runtime.database.transaction() as tx:
        tx.execute(orders.update().values(state="failed", unknown_since=now))
        told = tell_of_failure(tx, task_id, ORDER_NOT_TAKEN, now=now)
    assert [task.actor for task in told] == ["tell_staff"]
    assert told[0].kwargs["reason"] == f"невідомо, чи створено замовлення {order_id()}"


def test_a_customer_whom_a_person_has_is_told_by_that_person(
    run: Run, services: FakeServices
) -> None:
    start(run, services, "embedded")
    crm = pauses.read_subject("queue", "crm")
    with acting_as(Operator("olena", Door.PAGE)):
        pauses.pause(current_runtime(), crm)
        write()
        wait_until(lambda: services.sent("42") == ["Оформила!"])
        handovers.take_over(current_runtime(), "42")
        services.misbehave("crm", REFUSED)
        pauses.resume(current_runtime(), crm)
    wait_until(lambda: services.sent(STAFF_CHAT))
    assert services.sent("42") == ["Оформила!"]


def test_an_order_from_elsewhere_is_no_concern_of_the_customer(
    run: Run, services: FakeServices
) -> None:
    start(run, services)
    services.llm.calls = lambda _: []
    write("Привіт")
    services.misbehave("crm", REFUSED)
    create_crm_order.send(order())
    assert [one.error_code for one in rows(dead_letters)] == ["CRM_REJECTED"]
    assert services.sent("42") == ["Оформила!"]
    assert services.sent(STAFF_CHAT) == []
