"""Count, export and erase what is stored about one customer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from mirt.errors import BrokerUnavailableError
from mirt.settings import Settings
from mirt.store.engine.statement_errors import BusyError
from mirt.store.queue.audit import FORGOTTEN, record_act
from mirt.store.shop import personal_data as store
from mirt.store.shop.personal_data import Person
from service.admin.context import AdminContext

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 5
"""A running turn may be in the way: then the database undoes one of the two."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The outcome: the erased rows by table, rejects of RabbitMQ, and what was not reached."""

    rows: Mapping[str, int]
    rejects: int = 0
    unreachable: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The number of rows and rejects."""
        return sum(self.rows.values()) + self.rejects


def count(context: AdminContext, session_id: str) -> dict[str, int]:
    """Return how many rows of each table are about a customer; empty if nothing is known.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return store.count_rows(tx, store.find_person(tx, session_id))


def export(context: AdminContext, session_id: str) -> dict[str, Any]:
    """Return all that is stored about a customer, by table; without rows if nothing is known.

    The act is in the audit, if anything was found.

    Raises:
        DatabaseError: the database cannot be read, or the act cannot be recorded.
    """
    with context.database.transaction() as tx:
        rows = store.read_rows(tx, store.find_person(tx, session_id))
        if rows:
            count, now = sum(map(len, rows.values())), context.clock()
            record_act(tx, "export", target=session_id, session_id=session_id, count=count, now=now)
    return {"session_id": session_id, "exported_at": context.clock(), "data": rows}


def forget(context: AdminContext, settings: Settings, session_id: str) -> Forgotten:
    """Erase a customer in one transaction, and then the copies in Redis and RabbitMQ.

    A turn that is running writes nothing any more. The act is in the audit, without the customer.

    Raises:
        DatabaseError: nothing was erased.
    """
    person, rows = _erase(context, session_id, now=context.clock())
    unreachable = [] if _forget_results(person) else ["Redis: its results end in ten minutes"]
    rejects = 0
    try:
        rejects = _delete_rejects(settings, person)
    except BrokerUnavailableError as failed:
        unreachable.append(f"rejects in {failed.message}")
    log.info("customer_forgotten", rows=sum(rows.values()), rejects=rejects)
    return Forgotten(rows, rejects, unreachable)


def _erase(
    context: AdminContext, session_id: str, *, now: datetime
) -> tuple[Person, dict[str, int]]:
    for attempt in range(ATTEMPTS):
        try:
            with context.database.transaction() as tx:
                store.lock_person(tx, store.find_person(tx, session_id))
                # A message may have arrived before the conversation was locked.
                person = store.find_person(tx, session_id)
                rows = store.erase(tx, person, now=now)
                if rows:
                    count = sum(rows.values())
                    record_act(tx, "forget", target=FORGOTTEN, count=count, now=now)
                return person, rows
        except BusyError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _forget_results(person: Person) -> bool:
    """Delete the results of the customer's tasks; return False if Redis cannot be reached."""
    # Imported here: a count needs no broker.
    from broker.task import registry
    from middleware.policy import TASKS
    from middleware.results import forget_results
    from mirt.store.queue.tasks import TaskMessage

    known = [TaskMessage(name, actor) for name, actor in person.tasks.items() if actor in TASKS]
    return forget_results(registry.broker.get_results_backend(), known)


def _delete_rejects(settings: Settings, person: Person) -> int:
    if settings.rabbitmq_url is None:
        return 0
    from broker.rabbitmq.connection import ConnectionSettings
    from broker.rabbitmq.rejects import delete_rejects

    return delete_rejects(ConnectionSettings.of(settings), person.names)
