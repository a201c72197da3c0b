"""What RabbitMQ says of itself: who it is, whether its queues are ours, and what we may do there.

Over AMQP, with a connection for each look: no management plugin and no other port is needed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from broker.rabbitmq.connection import UNREACHABLE, connection_parameters, reason
from broker.rabbitmq.queues import declarations
from middleware.policy import QUEUES
from mirt.errors import BrokerUnavailableError

NOT_FOUND: Final = 404
DIFFERS: Final = 406


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """``absent`` are queues that nobody has declared yet, ``differing`` those that are not as ours.

    ``forbidden`` says what we are not allowed to do.
    """

    version: str
    absent: list[str]
    differing: dict[str, str]
    forbidden: list[str]


def broker_facts(url: str) -> BrokerFacts:
    """Ask who it is; declare what exists as we do; try our rights on a queue that goes at once.

    Raises:
        BrokerUnavailableError: RabbitMQ cannot be asked.
    """
    absent, differing, forbidden = [], {}, []
    with _asking(url) as ask:
        for name, arguments in _declared():
            refused = _refusal(ask.how(name))
            if refused is not None and refused.reply_code == NOT_FOUND:
                absent.append(name)
                continue
            refused = refused or _refusal(ask.declared_as(name, arguments))
            if refused is not None and refused.reply_code == DIFFERS:
                differing[name] = refused.reply_text
            elif refused is not None:
                forbidden.append(refused.reply_text)
        if refused := _refusal(ask.what_we_may()):
            forbidden.append(refused.reply_text)
        version = ask.version
    return BrokerFacts(version, absent, differing, forbidden)


def _declared() -> list[tuple[str, dict[str, Any]]]:
    return [declaration for queue in QUEUES for declaration in declarations(queue)]


def _refusal(answer: object) -> ChannelClosedByBroker | None:
    return answer if isinstance(answer, ChannelClosedByBroker) else None


class _Asking:
    """Questions on one channel, and on a new one after each refusal, which closes it."""

    def __init__(self, connection: BlockingConnection) -> None:
        self._connection = connection
        self._channel = connection.channel()

    @property
    def version(self) -> str:
        # What the server says at the handshake; pika keeps it where only its own look.
        told = getattr(self._connection, "_impl", None)
        return str((getattr(told, "server_properties", None) or {}).get("version", "unknown"))

    def how(self, queue: str) -> Any:
        return self._ask(lambda channel: channel.queue_declare(queue, passive=True))

    def declared_as(self, queue: str, arguments: dict[str, Any]) -> Any:
        return self._ask(
            lambda channel: channel.queue_declare(queue, durable=True, arguments=arguments)
        )

    def what_we_may(self) -> Any:
        return self._ask(_try_rights)

    def _ask(self, question: Callable[[BlockingChannel], object]) -> Any:
        if not self._channel.is_open:
            self._channel = self._connection.channel()
        try:
            return question(self._channel)
        except ChannelClosedByBroker as refused:
            return refused


def _try_rights(channel: BlockingChannel) -> None:
    queue = f"mirt.probe.{os.getpid()}"
    channel.queue_declare(queue, exclusive=True, auto_delete=True)
    channel.basic_publish("", queue, b"")
    channel.basic_get(queue, auto_ack=True)
    channel.queue_delete(queue)


@contextmanager
def _asking(url: str) -> Iterator[_Asking]:
    parameters = connection_parameters(url, name=f"mirt look {os.getpid()}")
    try:
        connection = BlockingConnection(parameters)
        try:
            yield _Asking(connection)
        finally:
            if connection.is_open:
                connection.close()
    except UNREACHABLE as failed:
        raise BrokerUnavailableError(f"RabbitMQ: {reason(failed)}") from None
