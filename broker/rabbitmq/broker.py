"""Sends tasks over RabbitMQ: the broker of the distributed mode."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

from dramatiq import Consumer, Message, Middleware
from dramatiq.errors import ConnectionClosed, DecodeError
from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from broker.durable import Depth, DurableBroker, PublishResult
from broker.rabbitmq.backlog import Backlog
from broker.rabbitmq.connection import UNREACHABLE, ConnectionSettings, reason
from broker.rabbitmq.consumer import RabbitConsumer
from broker.rabbitmq.depths import read_depths
from broker.rabbitmq.lost_messages import LostMessages
from broker.rabbitmq.problems import Problems
from broker.rabbitmq.publisher import CLOSE_WITHIN_S, Publisher
from broker.rabbitmq.queues import NOT_FOUND, rejects_name
from broker.rabbitmq.upkeep import Hooks
from middleware.policy import QUEUES, TASKS
from mirt.clock import Clock
from mirt.errors import BrokerUnavailableError, MessageRefusedError
from mirt.store.engine.database import Database
from mirt.store.queue.tasks import TaskMessage


class RabbitBroker(DurableBroker):
    """RabbitMQ, with quorum queues and confirms.

    If RabbitMQ has fewer messages than the outbox has published (its disk was lost, a queue was
    deleted or purged), the broker publishes them again at once instead of one by one later.
    """

    messaging_system = "rabbitmq"

    def __init__(
        self,
        connection: ConnectionSettings,
        *,
        database: Database,
        clock: Clock,
        threads: int,
        middleware: list[Middleware],
    ) -> None:
        self.database = database
        self.clock = clock
        self._connection = connection
        self._threads = threads
        self._publisher: Publisher | None = None
        self._lock = threading.Lock()
        self._late = LateConfirms(self._reschedule)
        self._lost = LostMessages(database, clock)
        self._backlog = Backlog(database, partial(read_depths, connection))
        self._problems = Problems()
        super().__init__(middleware=middleware)

    @property
    def publisher(self) -> Publisher:
        """The one publisher of this process."""
        with self._lock:
            if self._publisher is None:
                self._publisher = Publisher(self._connection, QUEUES, on_connected=self._lost.seek)
            return self._publisher

    @property
    def ready(self) -> bool:
        """Whether there is a connection for publishing; start to connect if there is none."""
        self.publisher.start()
        return self.publisher.connected

    @property
    def probe(self) -> Callable[[], None]:
        """A function that opens a new connection and closes it."""
        return self._connect

    @property
    def depths(self) -> Callable[[], Mapping[str, Depth]]:
        """A function that reads the depth of every queue and of its rejects."""
        names = [name for queue in QUEUES for name in (queue, rejects_name(queue))]
        return partial(read_depths, self._connection, names)

    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Publish the messages together and wait for their confirms."""
        confirms = [
            self.publisher.publish(m.queue_name, m.encode(), message_id=m.message_id)
            for m in messages
        ]
        wait(confirms, timeout=within_s)
        failed, unconfirmed = [], []
        for message, confirm in zip(messages, confirms, strict=True):
            if not confirm.done():
                unconfirmed.append(message)
                self._late.watch(message, confirm)
            elif isinstance(confirm.exception(), MessageRefusedError):
                # At once it would be refused again: its row is due after a growing pause.
                unconfirmed.append(message)
            elif confirm.exception() is not None:
                failed.append(message)
        return PublishResult(failed, unconfirmed)

    def lost(self, waiting: Sequence[TaskMessage]) -> Sequence[TaskMessage]:
        """Return the tasks of queues in which RabbitMQ has fewer messages than wait."""
        queues = {TASKS[task.actor].queue for task in waiting if task.actor in TASKS}
        complete = {queue for queue in queues if self._backlog.is_complete(queue)}
        return [t for t in waiting if t.actor not in TASKS or TASKS[t.actor].queue not in complete]

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Consume a queue; a process prefetches no more messages than it has threads.

        Raises:
            ConnectionClosed: RabbitMQ cannot be reached, or refuses the consumer.
        """
        hooks = Hooks(
            bury=self._bury_undecodable,
            take_reject=self._take_reject,
            find_empty=lambda queue: self._lost.seek({queue: 0}),
        )
        try:
            consumer = RabbitConsumer(
                self._connection.parameters(f"mirt consumer {queue_name} {os.getpid()}"),
                queue_name,
                prefetch=min(prefetch, self._threads),
                timeout_ms=timeout,
                hooks=hooks,
            )
        except ConnectionClosed as failed:
            self._problems.refused(queue_name, str(failed))
            raise
        self._problems.consumes(queue_name, lambda: consumer.connected)
        return consumer

    def problems(self) -> Mapping[str, str]:
        """Return why this process does not receive from a queue, or cannot publish."""
        publisher = self._publisher
        return self._problems.lasting(None if publisher is None else publisher.problem)

    def close(self) -> None:
        """Close the publishing connection. Other processes publish what was not confirmed."""
        with self._lock:
            if self._publisher is not None:
                self._publisher.close()
        self._late.finish(within_s=CLOSE_WITHIN_S)
        # Otherwise its transaction outlives the pool, and nothing closes that connection.
        self._lost.finish(within_s=CLOSE_WITHIN_S)
        super().close()

    def drain(self, queue: str) -> None:
        """Empty the queue, but not its rejects."""
        self._ask(partial(_purge, queue))

    def _connect(self) -> None:
        self._ask(lambda _channel: None)

    def _ask(self, question: Callable[[BlockingChannel], object]) -> None:
        parameters = self._connection.parameters(f"mirt probe {os.getpid()}")
        try:
            connection = BlockingConnection(parameters)
            question(connection.channel())
            connection.close()
        except UNREACHABLE as failed:
            raise BrokerUnavailableError(f"RabbitMQ: {reason(failed)}") from None

    def _bury_undecodable(self, queue: str, body: bytes) -> bool:
        return any(unread.bury_undecodable(queue, body) for unread in self._unread())

    def _take_reject(self, queue: str, body: bytes, why: str) -> bool:
        try:
            message = Message.decode(body)
        except DecodeError:
            return self._bury_undecodable(queue, body)
        return any(unread.bury_dropped(message, why) for unread in self._unread())


def _purge(queue: str, channel: BlockingChannel) -> None:
    try:
        channel.queue_purge(queue)
    except ChannelClosedByBroker as refused:
        # A queue that was never declared is empty.
        if refused.reply_code != NOT_FOUND:
            raise


class LateConfirms:
    """Hands over messages that fail late, many at a time: a lost connection fails all of its own.

    The publisher's own thread reports them and must not wait for a database, so another thread
    hands them over.
    """

    def __init__(self, hand_over: Callable[[Sequence[Message[Any]]], None]) -> None:
        self._hand_over_failed = hand_over
        self._failed: list[Message[Any]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, message: Message[Any], confirm: "Future[None]") -> None:
        """Hand this message over if its confirm fails."""
        confirm.add_done_callback(partial(self._ended, message))

    def finish(self, *, within_s: float) -> None:
        """Wait up to ``within_s`` seconds until failed messages are handed over."""
        if self._thread is not None:
            self._thread.join(within_s)

    def _ended(self, message: Message[Any], confirm: "Future[None]") -> None:
        if confirm.exception() is None or isinstance(confirm.exception(), MessageRefusedError):
            return
        with self._lock:
            self._failed.append(message)
            if len(self._failed) == 1:
                self._thread = threading.Thread(target=self._hand_over, name="late", daemon=True)
                self._thread.start()

    def _hand_over(self) -> None:
        with self._lock:
            failed, self._failed = self._failed, []
        self._hand_over_failed(failed)
