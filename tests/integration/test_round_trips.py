"""How often one message asks PostgreSQL: a number that grows here costs every customer time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from psycopg import pq

from actors.crm import create_crm_order
from actors.followups import send_followup
from actors.health import ping
from broker.stack import install
from broker.task import registry
from mirt.conversations import Accepted
from mirt.runtime import current_runtime, open_runtime, use_runtime
from mirt.store.engine.pipe import Pipe
from mirt.store.engine.timeouts import BoundedConnection
from service import dispatcher
from tests.fakes import FakeServices
from tests.integration.conftest import CHAT
from tests.settings import settings_for
from tests.unit.business import mail
from tests.unit.orders.examples import order


@dataclass
class Counts:
    """The trips to the server, the transactions and the statements of what was done inside."""

    trips: int = 0
    commits: int = 0
    statements: int = 0


EAGER = Counts(trips=3, commits=1, statements=1)
"""The share of the eager broker: after each run it looks for a retry."""


def plus_sending(commits: int, trips: int, statements: int) -> tuple[int, int, int]:
    """Add the share of the eager broker, which also stores a row of what is sent."""
    return commits + 1 + EAGER.commits, trips + 2 + EAGER.trips, statements + 1 + EAGER.statements


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    """Count each exchange with the server, whatever it carries."""
    counts, send, wait = Counts(), Pipe.send, BoundedConnection.wait
    inside: list[bool] = []

    def counted_send(pipe: Pipe, *statements: tuple[str, object]) -> object:
        counts.trips += 1
        counts.commits += sum(text == "COMMIT" for text, _ in statements)
        counts.statements += sum(text != "COMMIT" for text, _ in statements) + len(pipe.waiting)
        inside.append(True)
        try:
            return send(pipe, *statements)  # type: ignore[arg-type]
        finally:
            inside.pop()

    def counted_wait(connection: BoundedConnection, *args: object, **how: object) -> object:
        # A statement that SQLAlchemy runs itself is a trip. Its own commit and rollback come after
        # ours, outside of a transaction, and send nothing.
        if not inside and connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            counts.trips += 1
            counts.statements += 1
        return wait(connection, *args, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Pipe, "send", counted_send)
        patched.setattr(BoundedConnection, "wait", counted_wait)
        yield counts


@pytest.fixture
def warm(services: FakeServices, database_url: str) -> Iterator[None]:
    """Open a service that does its work at once, on PostgreSQL, with a conversation that talked."""
    settings = settings_for(
        services,
        database_url=database_url,
        TASKS_EAGER=True,
        snitkix_api_url=services.crm_url,
        snitkix_api_key="crm-key",
        OPS_TOKEN="token-of-the-operators",
    )
    runtime = open_runtime(settings)
    use_runtime(runtime)
    broker = install(settings)
    dispatcher.dispatch_message(CHAT, "Привіт", "telegram", CHAT, fire_and_forget=True)
    assert len(services.sent(CHAT)) == 1
    yield
    broker.close()
    runtime.close()
    registry.release()


@pytest.mark.usefixtures("warm")
def test_a_batch_of_messages_is_one_transaction_of_one_trip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = [mail(f"m{n}", session_id=f"c{n}") for n in range(50)]
    with counting(monkeypatch) as counts:
        accepted = current_runtime().conversations.accept_together(batch)
    assert all(isinstance(one, Accepted) for one in accepted)
    assert (counts.commits, counts.trips, counts.statements) == (1, 1, 1)


@pytest.mark.usefixtures("warm")
def test_a_turn_is_three_transactions_of_two_trips(
    monkeypatch: pytest.MonkeyPatch, services: FakeServices
) -> None:
    [accepted] = current_runtime().conversations.accept_together(
        [mail("next", "Ще одне", session_id=CHAT, chat_id=CHAT)]
    )
    assert accepted is not None
    assert accepted.publication is not None
    broker = registry.broker
    with counting(monkeypatch) as counts:
        broker.publish([accepted.publication])
    assert len(services.sent(CHAT)) == 2
    assert (counts.commits, counts.trips) == (3 + EAGER.commits, 6 + EAGER.trips)


@pytest.mark.usefixtures("warm")
def test_a_task_without_a_turn_is_claimed_in_one_trip_and_ended_in_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with counting(monkeypatch) as counts:
        ping.send()
    assert (counts.commits, counts.trips, counts.statements) == plus_sending(2, 2, 2)


@pytest.mark.usefixtures("warm")
def test_a_follow_up_asks_no_more_often_than_it_did(
    monkeypatch: pytest.MonkeyPatch, services: FakeServices
) -> None:
    with counting(monkeypatch) as counts:
        send_followup.send(CHAT)
    assert len(services.sent(CHAT)) == 2
    assert (counts.commits, counts.trips, counts.statements) == plus_sending(7, 23, 20)


@pytest.mark.usefixtures("warm")
def test_an_order_asks_no_more_often_than_it_did(
    monkeypatch: pytest.MonkeyPatch, services: FakeServices
) -> None:
    with counting(monkeypatch) as counts:
        create_crm_order.send(order())
    assert len(services.crm.orders) == 1
    assert (counts.commits, counts.trips, counts.statements) == plus_sending(5, 14, 11)
