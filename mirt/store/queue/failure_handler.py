"""Let the business react when one of its tasks fails for good, is replayed, purged or cancelled."""

from collections.abc import Mapping
from typing import Final, Protocol

from sqlalchemy import Connection

from mirt.store.queue.tasks import TaskMessage


class FailureHandler(Protocol):
    """Changes of the business's own rows, in the transaction that writes or takes a dead letter.

    Each method may only use the given transaction. Returned tasks are in the outbox already and
    are published after the commit.
    """

    def failed(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a task that has failed for good; return what has to be published for it."""

    def may_continue(self, tx: Connection, task_id: str) -> bool:
        """Whether a task that passed its limit has stored work that another run only finishes."""

    def reopened(self, tx: Connection, task_id: str) -> bool:
        """Prepare a dead task for its replay; return whether it may run now."""

    def purged(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a task that an operator removed; return what has to be published for it."""

    def cancelled(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a task that an operator has cancelled; return what has to be published for it."""


UNKNOWN: Final = "*"
"""The name under which the handler of tasks stands that this version does not know."""
FailureHandlers = Mapping[str, FailureHandler]
"""The handler of each task that has one, by the name of the task."""
