"""Names and arguments of the queues in RabbitMQ: a quorum queue each, and one for its rejects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

log = structlog.get_logger(__name__)

ACCESS_REFUSED: Final = 403
"""Reply code of RabbitMQ for what our user may not do."""
NOT_FOUND: Final = 404
"""Reply code of RabbitMQ for a queue that does not exist."""
DIFFERS: Final = 406
"""Reply code of RabbitMQ for a queue that exists with other arguments."""
DELIVERY_LIMIT: Final = 1_000_000
"""Deliveries after which RabbitMQ drops a message, in effect none: the row counts its starts.

Since RabbitMQ 4 a quorum queue without this argument has a limit of 20. No limit at all is -1 there
and 0 before, so it is a large number: https://www.rabbitmq.com/docs/quorum-queues."""
_QUORUM: Final[Mapping[str, Any]] = {"x-queue-type": "quorum"}


def rejects_name(queue: str) -> str:
    """Return the queue for messages that RabbitMQ or a consumer rejects; nothing in it expires."""
    return f"{queue}.dead"


def queue_arguments(queue: str) -> dict[str, Any]:
    """Return the arguments of a quorum queue. RabbitMQ refuses to change them later."""
    return {
        **_QUORUM,
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": rejects_name(queue),
    }


def declarations(queue: str) -> list[tuple[str, dict[str, Any]]]:
    """Return name and arguments of a queue and of its rejects, in the order of declaration."""
    return [
        (rejects_name(queue), {**_QUORUM, "x-delivery-limit": DELIVERY_LIMIT}),
        (queue, queue_arguments(queue)),
    ]


@dataclass(frozen=True, slots=True)
class OpenQueue:
    """A channel on which the queue exists; its ready messages; whether it has our arguments."""

    channel: BlockingChannel
    ready: int
    is_ours: bool


def open_queue(connection: BlockingConnection, queue: str) -> OpenQueue:
    """Declare a queue and its rejects, or take them as they are.

    A queue with other arguments works, but may lose its rejects; so does one that our user may not
    declare. ``mirt doctor`` reports both.

    Raises:
        AMQPError: the queue does not exist and cannot be declared.
    """
    channel, ready, is_ours = connection.channel(), 0, True
    for name, arguments in declarations(queue):
        try:
            found = channel.queue_declare(name, durable=True, arguments=arguments)
        except ChannelClosedByBroker as refused:
            if refused.reply_code not in {ACCESS_REFUSED, DIFFERS}:
                raise
            log.warning("queue_not_declared", queue=name, why=refused.reply_text)
            channel, is_ours = connection.channel(), False
            found = channel.queue_declare(name, passive=True)
        ready = found.method.message_count
    return OpenQueue(channel, ready, is_ours)
