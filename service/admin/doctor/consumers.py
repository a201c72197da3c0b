"""Check that RabbitMQ knows a consumer for each worker process of a queue."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mirt.clock import Clock
from mirt.errors import BrokerUnavailableError, DatabaseError, ServerUrlError
from mirt.settings import Settings
from mirt.store.engine.database import Database
from service.admin.doctor.finding import Finding, Severity
from service.admin.queues import activity

SETTLES_WITHIN_S: Final = 5.0
"""A worker reports itself before its consumers are connected, and a reconnect takes three seconds:
a smaller number counts only if it stays for this long."""
PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Context:
    database: Database
    clock: Clock


def check_consumers(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Report each queue with fewer consumers than workers.

    Without RabbitMQ or the database there is no finding: their own checks report that.
    """
    if settings.rabbitmq_url is not None:
        with suppress(BrokerUnavailableError, DatabaseError, ServerUrlError):
            yield from _compare(settings, clock)


def _compare(settings: Settings, clock: Clock) -> Iterator[Finding]:
    from broker.rabbitmq.connection import ConnectionSettings
    from broker.rabbitmq.depths import read_depths

    database = Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)
    until = time.monotonic() + SETTLES_WITHIN_S
    try:
        while True:
            living = [one.worker for one in activity(_Context(database, clock)).workers]
            wanted = {
                queue: sum(queue in one.queues and not one.stopping for one in living)
                for queue in sorted({queue for one in living for queue in one.queues})
            }
            depths = read_depths(ConnectionSettings.of(settings), wanted)
            lacking = {q: n for q, n in wanted.items() if depths[q].consumers < n}
            if not lacking or time.monotonic() > until:
                break
            time.sleep(PAUSE_S)
    finally:
        database.close()
    for queue, count in lacking.items():
        yield Finding(
            "consumers",
            Severity.ERROR,
            f"{queue}: RabbitMQ has {depths[queue].consumers} consumers, {count} workers serve it",
            "mirt worker --check on the machines of the workers; restart those that are not ready",
        )
    if wanted and not lacking:
        yield Finding("consumers", Severity.OK, "every worker receives from its queues")
