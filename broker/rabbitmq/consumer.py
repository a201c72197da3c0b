"""Consumes one queue, over a connection and a channel of its own.

A delivery tag is valid only on its channel: after a reconnect the same number is another message.
So each message has its consumer, and a consumer settles only its own messages. RabbitMQ delivers
the prefetched messages of a lost consumer again. They run once all the same, because each run
claims the task's row.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import structlog
from dramatiq import Consumer, Message, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError
from pika import BlockingConnection, URLParameters
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from broker.rabbitmq.connection import UNREACHABLE
from broker.rabbitmq.queues import declarations
from middleware.run_state import run_state

log = structlog.get_logger(__name__)

GIVE_BACK_AFTER_S: Final = 1.0
"""Seconds until a message without a claim returns to its queue, so that it does not spin."""


class RabbitMessage(MessageProxy):
    """A message with the consumer and the delivery tag that settle it."""

    def __init__(self, message: Message[Any], consumer: "RabbitConsumer", tag: int) -> None:
        super().__init__(message)
        self.consumer = consumer
        self.tag = tag


class RabbitConsumer(Consumer):
    """Holds at most ``prefetch`` unsettled messages of the queue.

    A body that cannot be decoded goes to ``bury``; if that returns False, it becomes a reject.

    Raises:
        ConnectionClosed: from any method, if the connection cannot be made or is lost. The worker's
            consumer thread then makes a new consumer.
    """

    def __init__(
        self,
        parameters: URLParameters,
        queue: str,
        *,
        prefetch: int,
        timeout_ms: int,
        bury: Callable[[str, bytes], bool] = lambda _queue, _body: False,
    ) -> None:
        self._queue = queue
        self._timeout_s = timeout_ms / 1000
        self._bury = bury
        self._fetched: deque[RabbitMessage] = deque()
        try:
            self._connection = BlockingConnection(parameters)
        except UNREACHABLE as failed:
            raise ConnectionClosed(f"{type(failed).__name__}: {failed}") from None
        try:
            self._channel = self._connection.channel()
            self._consumer_tag: str | None = self._consume(prefetch)
        except (AMQPError, OSError) as failed:
            self.close()
            raise ConnectionClosed(_explained(queue, failed)) from None

    @property
    def connected(self) -> bool:
        """Whether this consumer can receive messages."""
        return bool(self._connection.is_open and self._channel.is_open)

    def __next__(self) -> RabbitMessage | None:
        """Return the next message; None if there was none within the timeout."""
        if not self._fetched:
            try:
                self._connection.process_data_events(time_limit=self._timeout_s)
            except (AMQPError, OSError) as lost:
                raise ConnectionClosed(f"{type(lost).__name__}: {lost}") from None
            if not self._channel.is_open:
                raise ConnectionClosed("the channel was closed")
        return self._fetched.popleft() if self._fetched else None

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a message, or give it back if no worker could run it."""
        if self._is_own(message):
            if run_state(message).give_back:
                self._on_connection_thread(partial(self._requeue_later, message.tag))
            else:
                self._on_connection_thread(partial(self._channel.basic_ack, message.tag))

    def nack(self, message: MessageProxy) -> None:
        """Acknowledge a failed message with a dead letter; without one it becomes a reject."""
        if self._is_own(message):
            if run_state(message).buried:
                self._on_connection_thread(partial(self._channel.basic_ack, message.tag))
            else:
                self._on_connection_thread(
                    partial(self._channel.basic_nack, message.tag, requeue=False)
                )

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Return prefetched messages to the queue at once, for other workers."""
        for message in messages:
            if self._is_own(message):
                self._on_connection_thread(
                    partial(self._channel.basic_nack, message.tag, requeue=True)
                )

    def cancel(self) -> None:
        """Take no more messages. The unsettled ones can still be settled."""
        self._on_connection_thread(self._cancel)

    def close(self) -> None:
        """Close the connection. RabbitMQ gives unsettled messages to other consumers."""
        try:
            if self._connection.is_open:
                self._connection.close()
        except (AMQPError, OSError) as failed:
            raise ConnectionClosed(f"{type(failed).__name__}: {failed}") from None

    def _consume(self, prefetch: int) -> str:
        for name, arguments in declarations(self._queue):
            self._channel.queue_declare(name, durable=True, arguments=arguments)
        self._channel.basic_qos(prefetch_count=prefetch)
        return self._channel.basic_consume(self._queue, self._received)

    def _received(self, _channel: BlockingChannel, method: Any, _: Any, body: bytes) -> None:
        try:
            message = Message.decode(body)
        except DecodeError:
            if self._bury(self._queue, body):
                self._channel.basic_ack(method.delivery_tag)
            else:
                self._channel.basic_nack(method.delivery_tag, requeue=False)
            return
        self._fetched.append(RabbitMessage(message, self, method.delivery_tag))

    def _is_own(self, message: MessageProxy) -> bool:
        own: bool = message.consumer is self
        if not own:
            log.warning("stale_settlement_dropped", message_id=message.message_id)
        return own

    def _on_connection_thread(self, settle: Any) -> None:
        # Worker threads settle messages, but a pika connection belongs to its consumer's thread.
        try:
            self._connection.add_callback_threadsafe(settle)
        except (AMQPError, OSError):
            log.warning("settlement_lost", queue=self._queue)

    def _requeue_later(self, tag: int) -> None:
        self._connection.call_later(
            GIVE_BACK_AFTER_S, partial(self._channel.basic_nack, tag, requeue=True)
        )

    def _cancel(self) -> None:
        if self._consumer_tag is not None:
            self._channel.basic_cancel(self._consumer_tag)
            self._consumer_tag = None
            self.requeue(self._fetched)
            self._fetched.clear()


def _explained(queue: str, refused: Exception) -> str:
    if isinstance(refused, ChannelClosedByBroker) and refused.reply_code == 406:
        return (
            f"queue {queue!r} exists in RabbitMQ with other arguments than ours; "
            f"empty and delete it, then start again ({refused.reply_text})"
        )
    return f"queue {queue!r}: {type(refused).__name__}: {refused}"
