"""The broker of the distributed mode."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog
from dramatiq import Consumer, Message, Middleware
from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from broker.durable import Depth, DurableBroker, PublishResult
from broker.rabbitmq.connection import UNREACHABLE, connection_parameters, reason
from broker.rabbitmq.consumer import RabbitConsumer
from broker.rabbitmq.depths import read_depths
from broker.rabbitmq.publisher import CLOSE_WITHIN_S, Counts, Publisher
from broker.rabbitmq.queues import rejects_name
from middleware.policy import QUEUES, tasks_of
from mirt.clock import Clock
from mirt.errors import BrokerUnavailableError, DatabaseError
from mirt.store.engine.database import Database
from mirt.store.queue import outbox

log = structlog.get_logger(__name__)

NOT_FOUND: Final = 404
JUST_PUBLISHED: Final = timedelta(seconds=5)
"""What fails with its connection is known to have failed, and is due at once; what was confirmed as
the connection ended is not lost. Both take less."""


class RabbitBroker(DurableBroker):
    """RabbitMQ, with quorum queues and confirms.

    When the connection comes back and RabbitMQ turns out to hold fewer messages than the outbox has
    published (its disk was lost), they are published again at once instead of one by one later.
    """

    def __init__(
        self,
        url: str,
        *,
        database: Database,
        clock: Clock,
        threads: int,
        middleware: list[Middleware],
    ) -> None:
        self.database = database
        self.clock = clock
        self._url = url
        self._threads = threads
        self._publisher: Publisher | None = None
        self._lock = threading.Lock()
        self._late = LateConfirms(self._reschedule)
        super().__init__(middleware=middleware)

    @property
    def publisher(self) -> Publisher:
        """The one publisher of this process."""
        with self._lock:
            if self._publisher is None:
                self._publisher = Publisher(
                    self._url, QUEUES, on_connected=self._find_lost_messages
                )
            return self._publisher

    @property
    def ready(self) -> bool:
        """Whether there is a connection to publish over."""
        self.publisher.start()
        return self.publisher.connected

    @property
    def probe(self) -> Callable[[], None]:
        """Connects to RabbitMQ as somebody new would."""
        return self._connect

    @property
    def depths(self) -> Callable[[], Mapping[str, Depth]]:
        """Asks RabbitMQ for the depths of every queue, and of the rejects of each."""
        names = [name for queue in QUEUES for name in (queue, rejects_name(queue))]
        return partial(read_depths, self._url, names)

    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Publish them together and wait for their confirms."""
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
            elif confirm.exception() is not None:
                failed.append(message)
        return PublishResult(failed, unconfirmed)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Consume a queue; a process holds no more of it than it can run at once."""
        parameters = connection_parameters(
            self._url, name=f"mirt consumer {queue_name} {os.getpid()}"
        )
        return RabbitConsumer(
            parameters,
            queue_name,
            prefetch=min(prefetch, self._threads),
            timeout_ms=timeout,
            bury=self._bury_undecodable,
        )

    def close(self) -> None:
        """Close the publishing connection. What it has not confirmed is published by others."""
        with self._lock:
            if self._publisher is not None:
                self._publisher.close()
        self._late.finish(within_s=CLOSE_WITHIN_S)

    def drain(self, queue: str) -> None:
        """Empty the queue, and neither its rejects nor any other."""
        self._ask(partial(_purge, queue))

    def _connect(self) -> None:
        self._ask(lambda _channel: None)

    def _ask(self, question: Callable[[BlockingChannel], object]) -> None:
        parameters = connection_parameters(self._url, name=f"mirt probe {os.getpid()}")
        try:
            connection = BlockingConnection(parameters)
            question(connection.channel())
            connection.close()
        except UNREACHABLE as failed:
            raise BrokerUnavailableError(f"RabbitMQ: {reason(failed)}") from None

    def _bury_undecodable(self, queue: str, body: bytes) -> bool:
        return any(one.bury_undecodable(queue, body) for one in self._unread())

    def _find_lost_messages(self, ready: Counts) -> None:
        # Called by the publisher's own thread, which must not wait for a database.
        threading.Thread(
            target=self._republish_lost, args=(ready,), name="republish", daemon=True
        ).start()

    def _republish_lost(self, ready: Counts) -> None:
        try:
            for queue in QUEUES:
                self._republish_lost_of(queue, ready.get(queue, 0))
        except DatabaseError as failed:
            log.warning("lost_messages_not_sought", why=failed.message)

    def _republish_lost_of(self, queue: str, ready: int) -> None:
        now = self.clock()
        with self.database.transaction() as tx:
            # What workers have prefetched is not ready either, so a few are always missing.
            if outbox.count_queued(tx, tasks_of(queue)) <= 2 * ready:
                return
            lost = outbox.make_lost_due(
                tx, tasks_of(queue), published_before=now - JUST_PUBLISHED, now=now
            )
        if lost:
            log.warning("messages_lost_by_rabbitmq", queue=queue, published_again=lost)


def _purge(queue: str, channel: BlockingChannel) -> None:
    try:
        channel.queue_purge(queue)
    except ChannelClosedByBroker as refused:
        # A queue that nobody has declared yet is empty.
        if refused.reply_code != NOT_FOUND:
            raise


class LateConfirms:
    """Gives on what fails late, many at a time: a connection that is lost fails all it had.

    It hears of them in the publisher's own thread, which must not wait for a database, and gives
    them on in another.
    """

    def __init__(self, hand_over: Callable[[Sequence[Message[Any]]], None]) -> None:
        self._hand_on = hand_over
        self._failed: list[Message[Any]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, message: Message[Any], confirm: "Future[None]") -> None:
        """Give this message on if it fails."""
        confirm.add_done_callback(partial(self._ended, message))

    def finish(self, *, within_s: float) -> None:
        """Wait until what has failed is given on."""
        if self._thread is not None:
            self._thread.join(within_s)

    def _ended(self, message: Message[Any], confirm: "Future[None]") -> None:
        if confirm.exception() is None:
            return
        with self._lock:
            self._failed.append(message)
            if len(self._failed) == 1:
                self._thread = threading.Thread(target=self._hand_over, name="late", daemon=True)
                self._thread.start()

    def _hand_over(self) -> None:
        with self._lock:
            failed, self._failed = self._failed, []
        self._hand_on(failed)
