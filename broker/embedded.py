"""The broker of the embedded mode: Dramatiq's in-memory broker, with the outbox on a disk."""

from collections.abc import Sequence
from queue import Queue
from typing import Any

from dramatiq import Consumer, Message, MessageProxy, Middleware
from dramatiq.brokers.stub import StubBroker, _StubConsumer

from broker.durable import DurableBroker, PublishResult
from mirt.clock import Clock
from mirt.store.engine.database import Database


class EmbeddedBroker(DurableBroker, StubBroker):
    """Queues in memory. Every message is a row first, so a restart takes all of them up again."""

    every_message_is_a_row = True

    def __init__(self, *, database: Database, clock: Clock, middleware: list[Middleware]) -> None:
        self.database = database
        self.clock = clock
        super().__init__(middleware=middleware)

    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Put them into their queues, which never fails."""
        for message in messages:
            self.queues[message.queue_name].put(message.encode())
        return PublishResult()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        """Consume a queue."""
        dead: list[MessageProxy] = []
        return _EmbeddedConsumer(self.queues[queue_name], dead, prefetch, timeout)  # type: ignore[no-untyped-call]

    def _add_queue(self, queue_name: str) -> None:
        self.queues[queue_name] = Queue()


class OutboxOnlyBroker(EmbeddedBroker):
    """For a command beside ``mirt up``, which has the queues in its own memory.

    It takes nothing, so that all it is given is due at once, and the outbox of ``mirt up`` has it
    half a second later.
    """

    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Take none of them."""
        return PublishResult(failed=messages)


class _EmbeddedConsumer(_StubConsumer):
    """Keeps no dead messages: dead letters are rows, and memory is not for ever."""

    def nack(self, message: MessageProxy) -> None:
        self.ack(message)  # type: ignore[no-untyped-call]
