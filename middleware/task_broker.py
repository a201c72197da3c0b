"""The interface of a broker, as far as the middleware needs it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mirt.store.queue.failure_handler import FailureHandlers
from mirt.store.queue.tasks import TaskMessage


class TaskBroker(Protocol):
    """A broker that publishes tasks with committed rows, and has their failure handlers."""

    @property
    def actors(self) -> Mapping[str, Any]:
        """The actors of this version, by the names of their tasks."""

    @property
    def failure_handlers(self) -> FailureHandlers:
        """The handlers that settle rows of the business when a task fails for good."""

    def problems(self) -> Mapping[str, str]:
        """Return why this process does not receive from a queue, or cannot publish."""

    def publish(self, tasks: Sequence[TaskMessage]) -> int:
        """Wake workers for tasks with committed rows; return how many the transport took."""

    def drain(self, queue: str) -> None:
        """Empty a queue of the transport.

        Raises:
            BrokerUnavailableError: the transport cannot be reached.
        """
