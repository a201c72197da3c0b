"""RabbitMQ is up and takes nothing: an alarm blocks everybody who publishes."""

from contextlib import ExitStack

from tests.deployment import Deployment
from tests.faults.customers import Customers
from tests.polling import wait_until
from tests.servers import RabbitMQ


def test_a_full_disk_of_rabbitmq_stops_no_webhook_and_all_are_answered_after_it(
    deployed: Deployment, rabbitmq: RabbitMQ, customers: Customers
) -> None:
    with ExitStack() as illness:
        with customers:
            illness.enter_context(rabbitmq.disk_alarm())
            wait_until(lambda: "rabbitmq_blocked" in deployed.log_text())
            customers.go_on()
        assert not customers.answered()
    customers.assert_served_as_usual()
    wait_until(customers.answered, within_s=30)
    customers.assert_once_and_in_order()
