"""Group commit: store the messages of concurrent webhooks in one transaction.

One thread writes. It stores all messages that have arrived while it was busy, so that batches grow
with the load and a single message never waits for another. After the commit the webhooks are
answered, and then the new heads are published: the rows are safe, so no answer waits for RabbitMQ.

A message that spoils its batch, or meets a locked conversation, is stored alone, by other threads.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Final

import structlog

from mirt.conversations import Accepted
from mirt.errors import RetryableError
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.mailbox import Mail
from service.web.bulkhead import NoAnswerInTimeError

log = structlog.get_logger(__name__)

ANSWER_WITHIN_S: Final = 0.9
"""Seconds in which a webhook is answered; a message that is not stored by then is asked for again.

It may still be stored. That is safe: the second copy is a duplicate.
"""
LONGEST_BATCH: Final = 200
LONGEST_QUEUE: Final = 2000
"""Messages that may wait for the writer; more than it stores in ``ANSWER_WITHIN_S``."""
ALONE_THREADS: Final = 4


@dataclass(slots=True)
class _Waiting:
    """A message that is not stored yet, and the webhook that waits for it."""

    mail: Mail
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Accepted]"
    arrived: float = field(default_factory=time.monotonic)


class Intake:
    """Stores messages for webhooks on an event loop. Its threads start with the first message."""

    def __init__(
        self,
        *,
        admit: Callable[[], None],
        accept_together: Callable[[Sequence[Mail]], list[Accepted | None]],
        accept: Callable[[Mail], Accepted],
        publish: Callable[[Sequence[TaskMessage]], object],
    ) -> None:
        """Take the steps: ``admit`` raises when too much is waiting, the others as their names."""
        self._admit = admit
        self._accept_together = accept_together
        self._accept = accept
        self._publish = publish
        self._queue: list[_Waiting] = []
        self._changed = threading.Condition()
        self._alone: ThreadPoolExecutor | None = None

    async def accept(self, mail: Mail) -> Accepted:
        """Store a message; return when its transaction is committed.

        Raises:
            RetryableError: it was not stored in time, the backlog is full or the database is away.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(mail, loop, loop.create_future())
        self._enqueue(waiting)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await waiting.answer
        except TimeoutError:
            raise NoAnswerInTimeError(f"not stored within {ANSWER_WITHIN_S:g} s") from None

    def _enqueue(self, waiting: _Waiting) -> None:
        with self._changed:
            if len(self._queue) >= LONGEST_QUEUE:
                raise NoAnswerInTimeError(f"{LONGEST_QUEUE} messages wait for the database")
            if self._alone is None:
                self._alone = ThreadPoolExecutor(ALONE_THREADS, thread_name_prefix="accept")
                threading.Thread(target=self._run, name="intake", daemon=True).start()
            self._queue.append(waiting)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                batch = self._queue[:LONGEST_BATCH]
                del self._queue[:LONGEST_BATCH]
            # The webhooks of old messages were answered 503, and their senders send them again.
            oldest = time.monotonic() - ANSWER_WITHIN_S
            self._store([waiting for waiting in batch if waiting.arrived > oldest])

    def _store(self, batch: list[_Waiting]) -> None:
        try:
            self._admit()
            stored = self._accept_together([waiting.mail for waiting in batch])
        except RetryableError as away:
            _answer([(waiting, away) for waiting in batch])
            return
        except Exception as failed:
            # The thread lives on: without it the process would accept no message.
            log.exception("intake_failed")
            _answer([(waiting, failed) for waiting in batch])
            return
        pairs = list(zip(batch, stored, strict=True))
        _answer([(waiting, accepted) for waiting, accepted in pairs if accepted is not None])
        for waiting, accepted in pairs:
            if accepted is None and self._alone is not None:
                self._alone.submit(copy_context().run, self._store_alone, waiting)
        self._publish_heads([accepted for accepted in stored if accepted is not None])

    def _store_alone(self, waiting: _Waiting) -> None:
        try:
            accepted = self._accept(waiting.mail)
        except Exception as failed:  # noqa: BLE001 - the webhook raises it
            _answer([(waiting, failed)])
            return
        _answer([(waiting, accepted)])
        self._publish_heads([accepted])

    def _publish_heads(self, stored: Sequence[Accepted]) -> None:
        heads = [accepted.publication for accepted in stored if accepted.publication is not None]
        try:
            if heads:
                self._publish(heads)
        except Exception:
            # The rows are safe: the outbox publishes them.
            log.exception("heads_not_published", tasks=len(heads))


def _answer(answers: Sequence[tuple[_Waiting, Accepted | Exception]]) -> None:
    """Wake up the webhooks; those of one event loop together."""
    loops = {waiting.loop for waiting, _ in answers}
    for loop in loops:
        own = [(waiting.answer, given) for waiting, given in answers if waiting.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle, own)
        except RuntimeError:
            log.warning("webhooks_gone", messages=len(own))


def _settle(answers: Sequence[tuple["asyncio.Future[Accepted]", Accepted | Exception]]) -> None:
    for future, given in answers:
        if future.done():
            continue
        if isinstance(given, Exception):
            future.set_exception(given)
        else:
            future.set_result(given)
