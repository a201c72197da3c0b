"""Redis is up and full: it answers every read, and refuses every write."""

from contextlib import ExitStack

from tests.deployment import Deployment
from tests.faults.customers import Customers
from tests.polling import wait_until
from tests.servers import Redis

ASK = """
from service.dispatcher import dispatch_message

answer = dispatch_message("a session of our own", "m0", wait=True)
assert answer["result"]["response"] == "echo: m0", answer
"""


def test_a_full_redis_costs_no_message_and_no_result(
    deployed: Deployment, redis_server: Redis, customers: Customers
) -> None:
    with ExitStack() as illness:
        with customers:
            illness.enter_context(redis_server.full())
            customers.go_on()
        deployed.python(ASK)
    assert "OutOfMemoryError" in deployed.log_text()
    customers.assert_served_as_usual()
    wait_until(customers.answered)
    customers.assert_once_and_in_order()
