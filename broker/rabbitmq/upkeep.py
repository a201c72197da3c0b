"""Looks after a queue beside its consumer: is it there, has it lost messages, what was rejected."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from dramatiq.errors import ConnectionClosed
from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from broker.rabbitmq.queues import NOT_FOUND, rejects_name

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 10.0
"""For a queue with one consumer. Several share the work, up to ``LONGEST_PAUSE_S``."""
LONGEST_PAUSE_S: Final = 25.0
REJECTS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Hooks:
    """The broker's functions for messages that no worker can run; each takes the queue first."""

    bury: Callable[[str, bytes], bool] = lambda _queue, _body: False
    """Store a body that cannot be decoded; False if the database cannot be asked."""
    take_reject: Callable[[str, bytes, str], bool] = lambda _queue, _body, _why: False
    """Store a rejected message if its task would be lost; False if the database cannot be asked."""
    find_empty: Callable[[str], None] = lambda _queue: None
    """Learn that the queue is empty while its consumer is idle. It must not block."""


class Upkeep:
    """Looks at a queue every few seconds, on the connection and the thread of its consumer."""

    def __init__(self, connection: BlockingConnection, queue: str, hooks: Hooks) -> None:
        self._connection = connection
        self._queue = queue
        self._hooks = hooks
        self._channel: BlockingChannel | None = None
        self._look_at = time.monotonic() + LOOK_EVERY_S
        self._was_starved = False
        """Whether the last look found messages in the queue, and nothing was received since."""

    def received(self) -> None:
        """Note that the queue has delivered a message to the consumer."""
        self._was_starved = False

    def look(self, *, is_idle: bool) -> None:
        """Look if it is time; ``is_idle`` says that the consumer holds no message.

        Raises:
            ConnectionClosed: the queue is gone, or does not deliver what it has to this consumer.
            AMQPError: the connection is lost.
        """
        if time.monotonic() < self._look_at:
            return
        try:
            found = self._open().queue_declare(self._queue, passive=True).method
        except ChannelClosedByBroker as refused:
            if refused.reply_code == NOT_FOUND:
                raise ConnectionClosed(f"queue {self._queue!r} was deleted") from None
            raise
        is_starved = is_idle and found.message_count > 0
        if is_starved and self._was_starved:
            # As after its queue was deleted and declared again by others.
            raise ConnectionClosed(f"queue {self._queue!r} delivers none of its messages")
        self._was_starved = is_starved
        pause = min(LOOK_EVERY_S * max(1, found.consumer_count), LONGEST_PAUSE_S)
        self._look_at = time.monotonic() + pause
        if is_idle and not found.message_count:
            self._hooks.find_empty(self._queue)
        self._take_rejects()

    def _open(self) -> BlockingChannel:
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel

    def _take_rejects(self) -> None:
        channel, rejects = self._open(), rejects_name(self._queue)
        try:
            for _ in range(REJECTS_AT_ONCE):
                method, properties, body = channel.basic_get(rejects)
                if method is None:
                    return
                tag: Any = method.delivery_tag
                if not self._hooks.take_reject(self._queue, body or b"", _reason(properties)):
                    channel.basic_nack(tag, requeue=True)
                    return
                channel.basic_ack(tag)
        except ChannelClosedByBroker as refused:
            # Without its rejects the queue works. They are declared with the next consumer.
            log.warning("rejects_not_read", queue=rejects, why=refused.reply_text)


def _reason(properties: Any) -> str:
    """Return why RabbitMQ moved the message, in its words; "rejected" if a consumer did."""
    return str((properties.headers or {}).get("x-first-death-reason", "rejected"))
