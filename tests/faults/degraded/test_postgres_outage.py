"""G13: while PostgreSQL is away nothing is accepted, at once; what was accepted before is kept."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.faults.customers import Customers
from tests.polling import wait_until
from tests.servers import Postgres

Outage = Callable[[Postgres], AbstractContextManager[None]]


@contextmanager
def stopped(postgres: Postgres) -> Iterator[None]:
    """Stop it in order, as an operator does, and start it again at the end."""
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@pytest.mark.parametrize("outage", [stopped, Postgres.frozen])
def test_a_customer_without_postgresql_is_told_to_come_back_soon(
    postgres: Postgres, customers: Customers, outage: Outage
) -> None:
    with customers:
        with outage(postgres):
            wait_until(lambda: len(customers.refusals()) >= 20)
        customers.go_on(messages=1)
    assert customers.statuses() == {200, 503}
    assert all(int(refusal.retry_after or 0) > 0 for refusal in customers.refusals())
    customers.assert_answered_soon()
    wait_until(customers.answered, within_s=40)
    customers.assert_once_and_in_order()
