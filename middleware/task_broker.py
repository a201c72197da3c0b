"""What policy needs of a broker."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mirt.store.queue.failure_handler import FailureHandlers
from mirt.store.queue.tasks import TaskMessage


class TaskBroker(Protocol):
    """A broker that publishes tasks whose rows are committed, and knows their failure handlers."""

    @property
    def actors(self) -> Mapping[str, Any]:
        """The tasks that this version knows, by name."""

    @property
    def failure_handlers(self) -> FailureHandlers:
        """Who settles the business's rows when a task fails for good."""

    def publish(self, tasks: Sequence[TaskMessage]) -> int:
        """Wake workers up for tasks whose rows are committed; return how many were handed over."""

    def drain(self, queue: str) -> None:
        """Empty a queue of the transport."""
