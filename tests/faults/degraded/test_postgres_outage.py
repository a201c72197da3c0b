"""G13: while PostgreSQL is away nothing is accepted, at once; what was accepted before is kept."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.faults.customers import ABOUT_A_SECOND, Customers
from tests.polling import wait_until
from tests.servers import Postgres

Outage = Callable[[Postgres], AbstractContextManager[None]]


@contextmanager
def stopped(postgres: Postgres) -> Iterator[None]:
    """Its operator stops it in order, and starts it again."""
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@contextmanager
def held_still(postgres: Postgres) -> Iterator[None]:
    """Its connections stay open, and nothing comes over them."""
    postgres.pause()
    try:
        yield
    finally:
        postgres.resume()


@pytest.mark.parametrize("outage", [stopped, held_still])
def test_a_customer_without_postgresql_is_told_to_come_back_soon(
    postgres: Postgres, customers: Customers, outage: Outage
) -> None:
    with customers:
        with outage(postgres):
            wait_until(lambda: len(customers.refusals()) >= 20)
        customers.go_on(messages=1)
    assert customers.statuses() == {200, 503}
    assert all(int(refusal.retry_after or 0) > 0 for refusal in customers.refusals())
    assert customers.slowest_s < ABOUT_A_SECOND
    wait_until(customers.answered, within_s=40)
    customers.assert_once_and_in_order()
