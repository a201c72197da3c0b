"""A message whose row cannot be reached is neither acknowledged nor rejected: RabbitMQ keeps it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.health import ping
from actors.messages import send_response
from mirt.errors import DatabaseError
from mirt.store.queue import leases
from mirt.store.tables import tasks
from tests.fakes import FakeServices
from tests.integration.conftest import Running, dead_letters_of, rows
from tests.polling import wait_until

Run = Callable[..., Running]
CLAIMS = ("claim_first_and_commit", "claim_and_read")
"""The ways to claim a task: at its first start, and at any."""


@dataclass
class Outage:
    """A database that is away for some functions of the store, and the calls that met it."""

    is_over: bool = False
    calls: list[str] = field(default_factory=list)

    def of(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        for name in names:
            monkeypatch.setattr(leases, name, self._failing(name, getattr(leases, name)))

    def _failing(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **values: Any) -> Any:
            if self.is_over:
                return function(*args, **values)
            self.calls.append(name)
            raise DatabaseError("the database is away")

        return call


def test_a_plain_message_that_comes_while_the_database_is_away_runs_once_when_it_is_back(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, outage = run("rabbitmq"), Outage()
    outage.of(monkeypatch, *CLAIMS)
    send_response.send("telegram", "7", "hello")
    # It comes back again and again, since it is not acknowledged.
    wait_until(lambda: len(outage.calls) >= 2)
    assert running.broker.depths is not None
    assert running.broker.depths()["webhooks.dead"].ready == 0
    assert dead_letters_of(running) == []
    outage.is_over = True
    wait_until(lambda: services.sent("7"))
    wait_until(lambda: [row.state for row in rows(tasks)] == ["done"])
    assert services.sent("7") == ["hello"]


def test_a_claim_that_fails_for_any_other_reason_keeps_its_message_too(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("rabbitmq")
    calls: list[None] = []

    def failing_twice(claim: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **values: Any) -> Any:
            calls.append(None)
            if len(calls) <= 2:
                raise ZeroDivisionError
            return claim(*args, **values)

        return call

    for name in CLAIMS:
        monkeypatch.setattr(leases, name, failing_twice(getattr(leases, name)))
    send_response.send("telegram", "7", "hello")
    wait_until(lambda: services.sent("7"))
    assert services.sent("7") == ["hello"]


def test_a_run_whose_end_cannot_be_written_is_not_acknowledged(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, outage = run("rabbitmq"), Outage()
    outage.of(monkeypatch, "finish_and_commit")
    ping.send()
    wait_until(lambda: outage.calls)
    outage.of(monkeypatch, *CLAIMS, "renew")
    # The message comes back, since it is not acknowledged.
    wait_until(lambda: not set(CLAIMS).isdisjoint(outage.calls))
    assert [row.state for row in rows(tasks)] == ["running"]
    outage.is_over = True
    wait_until(lambda: [row.state for row in rows(tasks)] == ["done"])
    assert dead_letters_of(running) == []
