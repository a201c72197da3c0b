"""The queues as RabbitMQ knows them: a quorum queue for each of ours, and one for its rejects."""

from collections.abc import Mapping
from typing import Any, Final

REJECTS_ARGUMENTS: Final[Mapping[str, Any]] = {"x-queue-type": "quorum"}


def rejects_name(queue: str) -> str:
    """Where a message goes that could not even be read; nothing there expires."""
    return f"{queue}.dead"


def queue_arguments(queue: str) -> dict[str, Any]:
    """The arguments of a quorum queue. RabbitMQ refuses to change them once it exists."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": rejects_name(queue),
    }


def declarations(queue: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and arguments of all that has to exist for a queue, in the order of need."""
    return [
        (rejects_name(queue), dict(REJECTS_ARGUMENTS)),
        (queue, queue_arguments(queue)),
    ]
