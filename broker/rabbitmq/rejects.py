"""Delete the rejects that name a conversation: messages that no worker could take."""

import json
from collections.abc import Collection
from typing import Any, Final

from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from broker.rabbitmq.connection import UNREACHABLE, ConnectionSettings, reason
from broker.rabbitmq.queues import rejects_name
from middleware.policy import QUEUES
from mirt.errors import BrokerUnavailableError

MOST: Final = 10_000
"""Rejects of one queue that are looked at."""


def delete_rejects(settings: ConnectionSettings, names: Collection[str]) -> int:
    """Delete the rejects of all queues that name one of these conversations; return their number.

    All other rejects go back to their queues.

    Raises:
        BrokerUnavailableError: RabbitMQ cannot be asked; perhaps some are deleted.
    """
    try:
        connection = BlockingConnection(settings.parameters("mirt forget"))
        try:
            return sum(_delete_in(connection, rejects_name(queue), names) for queue in QUEUES)
        finally:
            if connection.is_open:
                connection.close()
    except UNREACHABLE as failed:
        raise BrokerUnavailableError(f"RabbitMQ: {reason(failed)}") from None


def _delete_in(connection: BlockingConnection, queue: str, names: Collection[str]) -> int:
    channel = connection.channel()
    try:
        waiting = channel.queue_declare(queue, passive=True).method.message_count
    except ChannelClosedByBroker:
        return 0  # no process of ours has declared it yet
    deleted = _delete_on(channel, queue, names, count=min(waiting, MOST))
    channel.close()  # what was looked at and not deleted goes back
    return deleted


def _delete_on(channel: BlockingChannel, queue: str, names: Collection[str], *, count: int) -> int:
    deleted = 0
    for _ in range(count):
        found, _properties, body = channel.basic_get(queue)
        if found is None or body is None:
            break
        if _names_one(body, names):
            channel.basic_ack(found.delivery_tag or 0)
            deleted += 1
    return deleted


def _names_one(body: bytes, names: Collection[str]) -> bool:
    try:
        return _has(json.loads(body), frozenset(names))
    except (ValueError, RecursionError):
        return any(json.dumps(name, ensure_ascii=False).encode() in body for name in names)


def _has(value: Any, names: frozenset[str]) -> bool:
    match value:
        case dict():
            return any(_has(inner, names) for inner in value.values())
        case list():
            return any(_has(inner, names) for inner in value)
        case str():
            return value in names
    return False
