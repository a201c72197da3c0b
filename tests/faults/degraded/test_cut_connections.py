"""Servers that stay up, and connections to them that end, in the middle of a message too."""

from urllib.parse import urlsplit

import pytest

from tests.deployment import Deployment
from tests.faults.customers import Customers
from tests.polling import wait_until
from tests.servers import RabbitMQ
from tests.servers.balancer import Balancer

OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
TERMINATE = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}"


@pytest.mark.slow
def test_rabbitmq_closing_its_connections_loses_and_doubles_nothing(
    deployed: Deployment, rabbitmq: RabbitMQ, vhost_url: str, customers: Customers
) -> None:
    vhost = urlsplit(vhost_url).path.removeprefix("/")
    lost = deployed.log_text().count("rabbitmq_lost")
    with customers:
        for _ in range(2):
            wait_until(lambda: rabbitmq.management.close_connections(vhost))
            customers.go_on()
    assert deployed.log_text().count("rabbitmq_lost") > lost
    customers.assert_served_as_usual()
    wait_until(customers.answered, within_s=30)
    customers.assert_once_and_in_order()


@pytest.mark.slow
def test_postgresql_terminating_its_connections_loses_and_doubles_nothing(
    deployed: Deployment, customers: Customers
) -> None:
    with customers:
        for _ in range(3):
            assert deployed.rows(TERMINATE)
            customers.go_on()
    assert customers.statuses() <= {200, 503}
    wait_until(customers.answered, within_s=30)
    customers.assert_once_and_in_order()


def test_connections_to_rabbitmq_cut_in_mid_message_lose_and_double_nothing(
    deployed: Deployment, to_rabbitmq: Balancer, customers: Customers
) -> None:
    lost = deployed.log_text().count("rabbitmq_lost")
    with customers:
        with to_rabbitmq.cut_in_mid_message():
            customers.go_on()
            wait_until(lambda: deployed.log_text().count("rabbitmq_lost") > lost)
        customers.go_on(messages=1)
    customers.assert_served_as_usual()
    wait_until(customers.answered, within_s=40)
    customers.assert_once_and_in_order()


def test_connections_to_postgresql_cut_in_mid_message_lose_and_double_nothing(
    to_postgres: Balancer, customers: Customers
) -> None:
    with customers:
        with to_postgres.cut_in_mid_message():
            wait_until(lambda: len(customers.refusals()) >= 10)
        customers.go_on()
    assert customers.statuses() == {200, 503}
    wait_until(customers.answered, within_s=40)
    customers.assert_once_and_in_order()
