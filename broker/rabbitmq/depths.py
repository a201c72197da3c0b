"""Reads the depths of queues over AMQP, without the management plugin."""

import os
from collections.abc import Iterable, Mapping

from pika import BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from broker.durable import Depth
from broker.rabbitmq.connection import UNREACHABLE, ConnectionSettings, reason
from broker.rabbitmq.queues import NOT_FOUND
from mirt.errors import BrokerUnavailableError


def read_depths(settings: ConnectionSettings, queues: Iterable[str]) -> Mapping[str, Depth]:
    """Return the depth of each queue, by a passive declaration; an absent queue counts as empty.

    Raises:
        BrokerUnavailableError: RabbitMQ cannot be asked.
    """
    try:
        connection = BlockingConnection(settings.parameters(f"mirt depths {os.getpid()}"))
        try:
            return {queue: _depth(connection, queue) for queue in queues}
        finally:
            connection.close()
    except UNREACHABLE as failed:
        raise BrokerUnavailableError(f"RabbitMQ: {reason(failed)}") from None


def _depth(connection: BlockingConnection, queue: str) -> Depth:
    # A refused declaration closes its channel, so each queue has its own.
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker as refused:
        if refused.reply_code != NOT_FOUND:
            raise
        return Depth(0, 0)
    channel.close()
    return Depth(found.message_count, found.consumer_count)
