"""Sends tasks within one process, with queues in memory and the outbox on disk."""

from collections.abc import Sequence
from queue import Queue
from typing import Any

from dramatiq import Consumer, Message, MessageProxy, Middleware
from dramatiq.brokers.stub import StubBroker, _StubConsumer
from typing_extensions import override

from broker.durable import DurableBroker, PublishResult
from mirt.clock import Clock
from mirt.store.engine.database import Database


class EmbeddedBroker(DurableBroker, StubBroker):
    """The broker of the embedded mode. Every message is a row first, so a restart loses none."""

    every_message_is_a_row = True

    def __init__(self, *, database: Database, clock: Clock, middleware: list[Middleware]) -> None:
        self.database = database
        self.clock = clock
        super().__init__(middleware=middleware)

    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Put the messages into their queues, which never fails."""
        for message in messages:
            self.queues[message.queue_name].put(message.encode())
        return PublishResult()

    @override
    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        dead: list[MessageProxy] = []
        return _EmbeddedConsumer(self.queues[queue_name], dead, prefetch, timeout)  # type: ignore[no-untyped-call]

    def _add_queue(self, queue_name: str) -> None:
        self.queues[queue_name] = Queue()


class OutboxOnlyBroker(EmbeddedBroker):
    """The broker of a command beside ``mirt up``, which has the queues in its own memory.

    The broker transmits no message, so every task is due at once, and the pump of ``mirt up``
    publishes it half a second later.
    """

    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Transmit none of the messages."""
        return PublishResult(failed=messages)


class _EmbeddedConsumer(_StubConsumer):
    """Stores no dead messages: dead letters are rows, and the memory would grow without end."""

    def nack(self, message: MessageProxy) -> None:
        self.ack(message)  # type: ignore[no-untyped-call]
