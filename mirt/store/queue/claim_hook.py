"""Let the business read in the transaction that claims its task: that saves it one of its own."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlalchemy import Connection

from mirt.store.engine.statements import Query, Row
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage


class ClaimHook(Protocol):
    """Reads what a task begins with, and writes what has to be there before it runs."""

    def reads(self, task: TaskMessage) -> Sequence[Query]:
        """Return queries that run right after the claim, in the same round trip."""

    def claimed(
        self, tx: Connection, lease: Lease, task: TaskMessage, found: Sequence[Sequence[Row]]
    ) -> object:
        """Return what the task finds in ``lease.opened``; ``found`` has the rows of each query.

        It raises nothing: what is wrong with the task is said when it runs.
        """


ClaimHooks = Mapping[str, ClaimHook]
"""The hook of each task that has one, by the name of the task."""
