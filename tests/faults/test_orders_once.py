"""G5 for orders: each is in the CRM once, whatever becomes of the requests and of the workers."""

import os
import signal
from collections import Counter

from tests.deployment import Deployment, children
from tests.fakes import FakeServices, Hang, Reset, Status
from tests.polling import wait_until
from tests.servers import Postgres

ORDERS = 100
SEND = f"""
from service.dispatcher import dispatch_crm_order
from tests.unit.orders.examples import order
for number in range({ORDERS}):
    dispatch_crm_order(order(external_id=f"order-{{number:03}}"))
"""
CREATED = "SELECT external_id, crm_order_id, unknown FROM orders WHERE state = 'created'"


def with_crm(deployed: Deployment, services: FakeServices) -> None:
    crm = {"SNITKIX_API_KEY": "crm-key", "SNITKIX_API_URL": services.crm_url}
    deployed.environment = {**deployed.environment, **crm}
    assert deployed.run("migrate") == 0


def test_a_crm_that_drops_every_tenth_connection_has_each_order_once(
    deployed: Deployment, services: FakeServices
) -> None:
    with_crm(deployed, services)
    for number in range(0, ORDERS, 10):
        services.misbehave("crm", Reset(), match=f"order-{number:03}", path="/api/orders")
    deployed.start("worker", "crm")
    deployed.python(SEND)
    wait_until(lambda: len(deployed.rows(CREATED)) == ORDERS, within_s=60)
    names = Counter(order["external_id"] for order in services.crm.orders)
    assert names == {f"order-{number:03}": 1 for number in range(ORDERS)}
    ids = {order["external_id"]: order["id"] for order in services.crm.orders}
    rows = deployed.rows(CREATED)
    assert {name: crm_id for name, crm_id, _ in rows} == ids
    assert sum(unknown for _, _, unknown in rows) == ORDERS / 10


def test_a_proxy_that_gives_up_while_the_crm_goes_on_leaves_one_order(
    deployed: Deployment, services: FakeServices
) -> None:
    with_crm(deployed, services)
    services.misbehave("crm", Status(504, applied=True), path="/api/orders")
    deployed.start("worker", "crm")
    deployed.python(SEND.replace("range(100)", "range(1)"))
    wait_until(lambda: [row[2] for row in deployed.rows(CREATED)] == [1])
    assert len(services.crm.orders) == 1


def test_a_worker_killed_after_the_crm_created_it_leaves_one_order(
    deployed: Deployment, services: FakeServices
) -> None:
    with_crm(deployed, services)
    services.misbehave("crm", Hang())
    worker = deployed.start("worker", "crm")
    deployed.python(SEND.replace("range(100)", "range(1)"))
    wait_until(lambda: len(services.crm.orders) == 1)
    [child] = children(worker)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: [row[2] for row in deployed.rows(CREATED)] == [1])
    assert len(services.crm.orders) == 1


def test_an_answer_of_the_crm_while_the_database_is_away_is_not_unknown(
    deployed: Deployment, services: FakeServices, postgres: Postgres
) -> None:
    with_crm(deployed, services)
    services.misbehave("crm", Hang())
    deployed.start("worker", "crm")
    deployed.python(SEND.replace("range(100)", "range(1)"))
    wait_until(lambda: len(services.crm.orders) == 1)
    postgres.stop()
    services.release()
    wait_until(lambda: "database_away" in deployed.log_text())
    postgres.start()
    wait_until(lambda: deployed.rows(CREATED))
    assert [row[2] for row in deployed.rows(CREATED)] == [0]
    assert len(services.requests("crm")) == 1
