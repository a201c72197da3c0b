"""Inspects RabbitMQ for ``mirt doctor``: its version, its queues and our permissions.

All questions go over AMQP, on one connection for each inspection. They need no management plugin
and no other port.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from broker.rabbitmq.connection import UNREACHABLE, ConnectionSettings, reason
from broker.rabbitmq.queues import DIFFERS, NOT_FOUND, declarations
from middleware.policy import QUEUES
from mirt.errors import BrokerUnavailableError


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """Facts about a RabbitMQ server.

    ``absent`` are queues that do not exist yet, ``unlimited`` those that were declared before we
    set a delivery limit, and ``differing`` maps a queue with other arguments than ours to
    RabbitMQ's explanation. ``forbidden`` lists refused operations.
    """

    version: str
    absent: list[str]
    unlimited: list[str]
    differing: dict[str, str]
    forbidden: list[str]


def broker_facts(settings: ConnectionSettings) -> BrokerFacts:
    """Read the version, compare existing queues with our declarations, and try our permissions.

    The permissions are tried on a temporary queue.

    Raises:
        BrokerUnavailableError: RabbitMQ cannot be asked.
    """
    absent, unlimited, differing, forbidden = [], [], {}, []
    with _connected(settings) as ask:
        for name, arguments in _declarations():
            refused = ask.find(name)
            if refused is not None and refused.reply_code == NOT_FOUND:
                absent.append(name)
                continue
            refused = refused or ask.declare(name, arguments)
            if refused is not None and ask.declare(name, _before_limits(arguments)) is None:
                unlimited.append(name)
            elif refused is not None and refused.reply_code == DIFFERS:
                differing[name] = refused.reply_text
            elif refused is not None:
                forbidden.append(refused.reply_text)
        if refused := ask.try_permissions():
            forbidden.append(refused.reply_text)
        version = ask.version
    return BrokerFacts(version, absent, unlimited, differing, forbidden)


def _declarations() -> list[tuple[str, dict[str, Any]]]:
    return [declaration for queue in QUEUES for declaration in declarations(queue)]


def _before_limits(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name != "x-delivery-limit"}


class _Questions:
    """Questions on one channel, or on a new one after a refusal, which closes the channel.

    Each method returns the refusal; None if RabbitMQ has agreed.
    """

    def __init__(self, connection: BlockingConnection) -> None:
        self._connection = connection
        self._channel = connection.channel()

    @property
    def version(self) -> str:
        # The server's properties of the handshake: pika has no public name for them.
        inner = getattr(self._connection, "_impl", None)
        return str((getattr(inner, "server_properties", None) or {}).get("version", "unknown"))

    def find(self, queue: str) -> ChannelClosedByBroker | None:
        return self._ask(lambda channel: channel.queue_declare(queue, passive=True))

    def declare(self, queue: str, arguments: dict[str, Any]) -> ChannelClosedByBroker | None:
        return self._ask(
            lambda channel: channel.queue_declare(queue, durable=True, arguments=arguments)
        )

    def try_permissions(self) -> ChannelClosedByBroker | None:
        return self._ask(_use_temporary_queue)

    def _ask(self, question: Callable[[BlockingChannel], object]) -> ChannelClosedByBroker | None:
        if not self._channel.is_open:
            self._channel = self._connection.channel()
        try:
            question(self._channel)
        except ChannelClosedByBroker as refused:
            return refused
        return None


def _use_temporary_queue(channel: BlockingChannel) -> None:
    queue = f"mirt.probe.{os.getpid()}"
    channel.queue_declare(queue, exclusive=True, auto_delete=True)
    channel.basic_publish("", queue, b"")
    channel.basic_get(queue, auto_ack=True)
    channel.queue_delete(queue)


@contextmanager
def _connected(settings: ConnectionSettings) -> Iterator[_Questions]:
    try:
        connection = BlockingConnection(settings.parameters(f"mirt inspect {os.getpid()}"))
        try:
            yield _Questions(connection)
        finally:
            if connection.is_open:
                connection.close()
    except UNREACHABLE as failed:
        raise BrokerUnavailableError(f"RabbitMQ: {reason(failed)}") from None
