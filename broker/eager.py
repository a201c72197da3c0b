"""Runs each task in the thread that sends it, with the whole middleware and through JSON."""

import threading
from collections import deque
from collections.abc import Sequence
from queue import PriorityQueue
from typing import Any

from dramatiq import Message, MessageProxy, Middleware
from dramatiq.worker import WorkerThread

from broker.durable import DurableBroker, PublishResult
from middleware.envelopes import to_message
from mirt.clock import Clock
from mirt.store.engine.database import Database
from mirt.store.queue import outbox


class EagerBroker(DurableBroker):
    """The broker without workers, for tests and for TASKS_ENABLED=false.

    A message that a running task sends follows that task. Retries follow at once instead of after
    their pause; a message with a delay stays a row.
    """

    every_message_is_a_row = True

    def __init__(self, *, database: Database, clock: Clock, middleware: list[Middleware]) -> None:
        self.database = database
        self.clock = clock
        self._thread = threading.local()
        super().__init__(middleware=middleware)

    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Run the messages, and those that they send, before returning."""
        waiting: deque[bytes] | None = getattr(self._thread, "waiting", None)
        encoded = [message.encode() for message in messages]
        if waiting is not None:
            waiting.extend(encoded)
            return PublishResult()
        self._thread.waiting = waiting = deque(encoded)
        try:
            while waiting:
                self._run(Message.decode(waiting.popleft()))
        finally:
            self._thread.waiting = None
        return PublishResult()

    def _run(self, message: Message[Any]) -> None:
        consumer = _EagerConsumer(self)
        worker = WorkerThread(
            broker=self,
            consumers={message.queue_name: consumer},  # type: ignore[dict-item]
            work_queue=PriorityQueue(),
            worker_timeout=0,
        )
        worker.work_queue.put(None)  # type: ignore[arg-type]
        worker.process_message(MessageProxy(message))
        with self.database.transaction() as tx:
            retry = outbox.take_retry(tx, message.message_id, now=self.clock())
        if retry is not None:
            self.transmit([to_message(retry)], within_s=0)


class _EagerConsumer:
    """The signals that a consumer thread emits after the run of a message."""

    def __init__(self, broker: EagerBroker) -> None:
        self._broker = broker

    def post_process_message(self, message: MessageProxy) -> None:
        signal = "nack" if message.failed else "ack"
        self._broker.emit_before(signal, message)
        self._broker.emit_after(signal, message)
