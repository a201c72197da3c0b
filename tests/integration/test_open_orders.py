"""The status of an order follows the CRM, until it changes no more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from actors.crm import create_crm_order, sync_open_orders
from mirt.clock import deadline_in
from mirt.orders import orders as the_orders
from mirt.runtime import current_runtime
from mirt.store.tables import conversations, dead_letters, orders
from tests.fakes import FakeServices, Status
from tests.integration.conftest import TRANSPORTS, Running, result_of, rows
from tests.integration.test_orders import CRM
from tests.unit.orders.examples import order


@pytest.fixture(params=TRANSPORTS)
def crm(request: pytest.FixtureRequest, run: Callable[..., Running], services: FakeServices) -> Any:
    run(request.param, snitkix_api_url=services.crm_url, **CRM)
    return services.crm


def create(number: int, **values: Any) -> None:
    result_of(create_crm_order.send(order(external_id=f"order-{number}", **values)))


def change(table: Any, **values: Any) -> None:
    with current_runtime().database.transaction() as tx:
        tx.execute(update(table).values(values))


def statuses() -> list[str]:
    return [row.status for row in sorted(rows(orders), key=lambda row: row.external_id)]


def looks(services: FakeServices) -> list[str]:
    """Return the ids of the orders that the CRM was asked for."""
    asked = services.requests("crm")
    return [one.path.rpartition("/")[2] for one in asked if one.path.startswith("/api/orders/")]


def sync() -> dict[str, Any]:
    result: dict[str, Any] = result_of(sync_open_orders.send())
    return result


def test_an_order_that_was_sent_is_shown_as_sent_after_the_next_run(crm: Any) -> None:
    create(1)
    crm.orders[0]["status"] = "shipped"
    assert sync() == {"status": "ok", "read": 1, "changed": 1}
    assert statuses() == ["shipped"]
    assert sync() == {"status": "ok", "read": 1, "changed": 0}


@pytest.mark.parametrize("final", ["delivered", "cancelled", "returned"])
def test_an_order_that_changes_no_more_is_not_asked_for_again(
    crm: Any, services: FakeServices, final: str
) -> None:
    create(1)
    crm.orders[0]["status"] = final
    assert [sync()["read"], sync()["read"]] == [1, 0]
    assert looks(services) == ["crm-1"]


def test_an_old_order_is_not_asked_for(crm: Any, services: FakeServices) -> None:
    create(1)
    change(orders, created_at=current_runtime().clock() - timedelta(days=61))
    assert sync()["read"] == 0
    assert looks(services) == []


def test_a_conversation_gets_the_status_of_its_order_and_of_no_other(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("eager", snitkix_api_url=services.crm_url, **CRM)
    now = current_runtime().clock()
    row = {"session_id": "42", "platform": "telegram", "created_at": now, "last_customer_at": now}
    with current_runtime().database.transaction() as tx:
        tx.execute(conversations.insert().values(row))
    create(1)
    services.crm.orders[0]["status"] = "shipped"
    sync()
    assert [one.order_status for one in rows(conversations)] == ["shipped"]
    change(conversations, order_status="paid")
    services.crm.orders[0]["status"] = "delivered"
    sync()
    assert [one.order_status for one in rows(conversations)] == ["paid"]


def test_an_order_that_the_crm_does_not_know_keeps_its_status_and_holds_up_no_other(
    crm: Any, services: FakeServices
) -> None:
    create(1)
    create(2)
    crm.orders[0]["id"] = "another"
    crm.orders[1]["status"] = "shipped"
    assert sync() == {"status": "ok", "read": 2, "changed": 1}
    assert statuses() == ["new", "shipped"]
    assert rows(dead_letters) == []


def test_a_crm_that_does_not_answer_is_left_alone_until_the_next_run(
    crm: Any, services: FakeServices
) -> None:
    create(1)
    create(2)
    services.misbehave("crm", Status(503), times=None)
    assert sync()["read"] == 0
    assert rows(dead_letters) == []
    services.mend("crm")
    assert sync()["read"] == 2


def test_the_orders_not_looked_at_for_longest_come_first(
    crm: Any, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(the_orders, "MOST_LOOKS", 2)
    for number in (1, 2, 3):
        create(number)
    for _ in range(3):
        sync()
    assert looks(services) == ["crm-1", "crm-2", "crm-3", "crm-1", "crm-2", "crm-3"]


def test_a_run_ends_before_its_time_is_over(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("eager", snitkix_api_url=services.crm_url, **CRM)
    create(1)
    with capture_logs() as logged, deadline_in(the_orders.LOOK_S - 1):
        assert current_runtime().orders.sync_open() == {"read": 0, "changed": 0}
    assert logged == []
    assert looks(services) == []
