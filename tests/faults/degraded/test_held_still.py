"""Servers that are held still: connections stay open, and nothing comes over them."""

from contextlib import ExitStack

from tests.faults.customers import Customers
from tests.polling import wait_until
from tests.servers import RabbitMQ, Redis


def test_a_rabbitmq_held_still_stops_no_webhook_and_all_are_answered_after_it(
    rabbitmq: RabbitMQ, customers: Customers
) -> None:
    with customers, rabbitmq.frozen():
        customers.go_on()
    customers.assert_served_as_usual()
    wait_until(customers.answered, within_s=40)
    customers.assert_once_and_in_order()


def test_a_redis_held_still_stops_nothing(redis_server: Redis, customers: Customers) -> None:
    with ExitStack() as illness:
        with customers:
            illness.enter_context(redis_server.frozen())
            customers.go_on()
        wait_until(customers.answered, within_s=40)
    customers.assert_served_as_usual()
    customers.assert_once_and_in_order()
