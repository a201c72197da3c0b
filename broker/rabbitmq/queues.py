"""Names and arguments of the queues in RabbitMQ: a quorum queue each, and one for its rejects."""

from collections.abc import Mapping
from typing import Any, Final

NOT_FOUND: Final = 404
"""Reply code of RabbitMQ for a queue that does not exist."""
REJECTS_ARGUMENTS: Final[Mapping[str, Any]] = {"x-queue-type": "quorum"}


def rejects_name(queue: str) -> str:
    """Return the queue for messages that could not be decoded; nothing in it expires."""
    return f"{queue}.dead"


def queue_arguments(queue: str) -> dict[str, Any]:
    """Return the arguments of a quorum queue. RabbitMQ refuses to change them later."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": rejects_name(queue),
    }


def declarations(queue: str) -> list[tuple[str, dict[str, Any]]]:
    """Return name and arguments of a queue and of its rejects, in the order of declaration."""
    return [
        (rejects_name(queue), dict(REJECTS_ARGUMENTS)),
        (queue, queue_arguments(queue)),
    ]
