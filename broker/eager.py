"""Runs each task in the thread that sends it, with the whole middleware and through JSON."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from dramatiq import Message, Middleware

from broker.durable import DurableBroker, PublishResult
from broker.run_here import run_here
from middleware.envelopes import to_message
from mirt.clock import Clock
from mirt.store.engine.database import Database
from mirt.store.queue import outbox
from mirt.store.queue.outbox import Retry


class EagerBroker(DurableBroker):
    """The broker without workers, for tests and for TASKS_ENABLED=false.

    A message that a running task sends follows that task. Retries follow at once instead of after
    their pause; with ``waits`` only those that the other side did not ask to wait. A message with a
    delay stays a row.
    """

    every_message_is_a_row = True

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        middleware: list[Middleware],
        waits: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.database = database
        self.clock = clock
        self._waits = waits
        self._sleep = sleep
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
        self._thread.waited_s = {}
        try:
            while waiting:
                self._run(Message.decode(waiting.popleft()))
        finally:
            self._thread.waiting = None
        return PublishResult()

    def _run(self, message: Message[Any]) -> None:
        run_here(self, message)
        with self.database.transaction() as tx:
            retry = outbox.take_retry(tx, message.message_id, now=self.clock())
        if retry is not None:
            if self._waits:
                self._wait_as_asked(retry)
            self.transmit([to_message(retry.task)], within_s=0)

    def _wait_as_asked(self, retry: Retry) -> None:
        waited_s: dict[str, int] = self._thread.waited_s
        task_id = retry.task.task_id
        if retry.waited_s > waited_s.get(task_id, 0):
            waited_s[task_id] = retry.waited_s
            self._sleep(max(0.0, (retry.due_at - self.clock()).total_seconds()))
