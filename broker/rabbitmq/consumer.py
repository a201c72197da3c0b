"""Consumes one queue, over a connection and a channel of its own.

A delivery tag is valid only on its channel: after a reconnect the same number is another message.
So each message has its consumer, and a consumer settles only its own messages. RabbitMQ delivers
the prefetched messages of a lost consumer again. They run once all the same, because each run
claims the task's row.
"""

import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import structlog
from dramatiq import Consumer, Message, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError
from pika import BlockingConnection, URLParameters
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from broker.rabbitmq.connection import UNREACHABLE, reason
from broker.rabbitmq.queues import open_queue
from broker.rabbitmq.upkeep import Hooks, Upkeep
from middleware.run_state import run_state

log = structlog.get_logger(__name__)

TRY_AGAIN_AFTER_S: Final = 1.0
"""Seconds until a message that could not be claimed runs again, so that it does not spin."""
HELD_AT_MOST_S: Final = 300.0
"""Seconds after which such a message returns to its queue, for another process."""


class RabbitMessage(MessageProxy):
    """A message with the consumer, the delivery tag and the body that settle it."""

    def __init__(
        self, message: Message[Any], consumer: "RabbitConsumer", tag: int, body: bytes
    ) -> None:
        super().__init__(message)
        self.consumer = consumer
        self.tag = tag
        self.body = body


class RabbitConsumer(Consumer):
    """Holds at most ``prefetch`` unsettled messages of the queue.

    A message that could not be claimed stays here and is tried again every second: RabbitMQ counts
    each return to the queue, and a policy may limit their number. A body that cannot be decoded
    goes to ``hooks.bury``; if that returns False, it becomes a reject.

    Raises:
        ConnectionClosed: from any method, if the connection cannot be made or is lost, or if
            RabbitMQ has cancelled the consumer. The worker's consumer thread then makes a new one.
    """

    def __init__(
        self,
        parameters: URLParameters,
        queue: str,
        *,
        prefetch: int,
        timeout_ms: int,
        hooks: Hooks = Hooks(),  # noqa: B008 - it is frozen
    ) -> None:
        self._queue = queue
        self._timeout_s = timeout_ms / 1000
        self._hooks = hooks
        self._fetched: deque[RabbitMessage] = deque()
        self._unsettled: set[int] = set()
        self._waiting: dict[int, float] = {}
        """Since when each message could not be claimed, by its tag, until it is settled."""
        self._timers: dict[int, Any] = {}
        """The timers of those that wait to be tried again."""
        self._is_cancelled = False
        try:
            self._connection = BlockingConnection(parameters)
        except UNREACHABLE as failed:
            raise ConnectionClosed(reason(failed)) from None
        try:
            self._consumer_tag: str | None = self._consume(prefetch)
        except (AMQPError, OSError) as failed:
            self.close()
            raise ConnectionClosed(f"queue {queue!r}: {reason(failed)}") from None
        self._upkeep = Upkeep(self._connection, queue, hooks)

    @property
    def connected(self) -> bool:
        """Whether this consumer can receive messages."""
        is_open = self._connection.is_open and self._channel.is_open
        return bool(is_open and not self._is_cancelled)

    def __next__(self) -> RabbitMessage | None:
        """Return the next message; None if there was none within the timeout."""
        try:
            if not self._fetched:
                self._connection.process_data_events(time_limit=self._timeout_s)
            if self._is_cancelled:
                raise ConnectionClosed(f"RabbitMQ has ended the consumer of {self._queue!r}")
            if self._consumer_tag is not None:
                self._upkeep.look(is_idle=not self._unsettled)
        except (AMQPError, OSError) as lost:
            raise ConnectionClosed(reason(lost)) from None
        if not self._channel.is_open:
            raise ConnectionClosed("the channel was closed")
        return self._fetched.popleft() if self._fetched else None

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a message, or try it again later if no worker could run it."""
        if self._is_own(message):
            if run_state(message).give_back:
                self._on_connection_thread(partial(self._try_again, message.tag, message.body))
            else:
                self._on_connection_thread(partial(self._settle, message.tag))

    def nack(self, message: MessageProxy) -> None:
        """Acknowledge a failed message with a dead letter; without one it becomes a reject."""
        if self._is_own(message):
            if run_state(message).buried:
                self._on_connection_thread(partial(self._settle, message.tag))
            else:
                self._on_connection_thread(partial(self._reject, message.tag, message.body))

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Return prefetched messages to the queue at once, for other workers."""
        for message in messages:
            if self._is_own(message):
                self._on_connection_thread(partial(self._give_back, message.tag))

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
        opened = open_queue(self._connection, self._queue)
        self._channel: BlockingChannel = opened.channel
        self._has_rejects = opened.is_ours
        if not opened.ready:
            self._hooks.find_empty(self._queue)
        self._channel.add_on_cancel_callback(self._cancelled_by_broker)
        self._channel.basic_qos(prefetch_count=prefetch)
        return self._channel.basic_consume(self._queue, self._received)

    def _cancelled_by_broker(self, _method: Any) -> None:
        # The queue was deleted, or the node of its leader was lost; channel and connection stay.
        self._is_cancelled = True

    def _received(self, _channel: BlockingChannel, method: Any, _: Any, body: bytes) -> None:
        self._upkeep.received()
        self._unsettled.add(method.delivery_tag)
        self._deliver(method.delivery_tag, body)

    def _deliver(self, tag: int, body: bytes) -> None:
        self._timers.pop(tag, None)
        try:
            message = Message.decode(body)
        except DecodeError:
            if self._hooks.bury(self._queue, body):
                self._settle(tag)
            else:
                self._reject(tag, body)
            return
        self._fetched.append(RabbitMessage(message, self, tag, body))

    def _settle(self, tag: int) -> None:
        self._forget(tag)
        self._channel.basic_ack(tag)

    def _give_back(self, tag: int) -> None:
        self._forget(tag)
        self._channel.basic_nack(tag, requeue=True)

    def _reject(self, tag: int, body: bytes) -> None:
        if not self._has_rejects:
            # A queue with other arguments may drop what is rejected.
            self._try_again(tag, body)
            return
        self._forget(tag)
        self._channel.basic_nack(tag, requeue=False)

    def _try_again(self, tag: int, body: bytes) -> None:
        now = time.monotonic()
        since = self._waiting.setdefault(tag, now)
        if self._consumer_tag is None or now - since > HELD_AT_MOST_S:
            self._give_back(tag)
        else:
            deliver = partial(self._deliver, tag, body)
            self._timers[tag] = self._connection.call_later(TRY_AGAIN_AFTER_S, deliver)

    def _forget(self, tag: int) -> None:
        self._unsettled.discard(tag)
        self._waiting.pop(tag, None)
        self._timers.pop(tag, None)

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

    def _cancel(self) -> None:
        if self._consumer_tag is not None:
            self._channel.basic_cancel(self._consumer_tag)
            self._consumer_tag = None
            self.requeue(self._fetched)
            self._fetched.clear()
            for tag, timer in list(self._timers.items()):
                self._connection.remove_timeout(timer)
                self._give_back(tag)
