"""Dead letters: what an operator can do with them, and those of messages that never ran."""

import base64
import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import structlog
from dramatiq import Broker, Middleware
from sqlalchemy import Connection

from middleware.envelopes import to_task
from middleware.task_broker import TaskBroker
from mirt.clock import Clock
from mirt.errors import DatabaseError, ErrorCode
from mirt.observe import metrics
from mirt.store.engine.database import Database
from mirt.store.queue import dead_letters as store
from mirt.store.queue.dead_letters import DeadLetter, DeadLetterFilter, write_dead_letter
from mirt.store.queue.events import EventKind, TaskEvent, add_events
from mirt.store.queue.tasks import TaskMessage

log = structlog.get_logger(__name__)

BATCH: Final = 100
NO_QUEUE: Final = "unknown"
"""What a row does not say, and only the version knows that made it."""


class UnreadMessages(Middleware):
    """Writes dead letters for what this version knows no task for, or cannot even read.

    When the database cannot be asked, the message goes among RabbitMQ's rejects instead, where
    nothing expires either.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def before_nack(self, broker: Broker, message: Any) -> None:
        """Bury a message whose actor is unknown; all others are buried already."""
        if message.actor_name in broker.actors or getattr(message, "buried", False):
            return
        message.buried = self.bury_unknown_task(
            to_task(message), queue=message.queue_name, sent_at=message.message_datetime
        )

    def bury_unknown_task(
        self, task: TaskMessage, *, queue: str = NO_QUEUE, sent_at: datetime | None = None
    ) -> bool:
        """Bury a task that this version does not know; False if that could not be written.

        Its row ends with it, so that it runs when it is replayed and not before. A row that another
        worker has, who knows the task, is left alone.
        """
        now = self._clock()
        letter = DeadLetter(
            task=task,
            queue=queue,
            error_code=ErrorCode.UNKNOWN_ACTOR,
            exception=f"no task {task.actor}: this version does not know it",
            traceback="",
            attempts=0,
            trace_id=task.options.get("trace_id"),
            sent_at=sent_at or now,
        )
        try:
            with self._database.transaction() as tx:
                buried = store.bury_unbegun(tx, letter, now=now)
        except DatabaseError as failed:
            return _not_written(failed)
        if buried:
            _tell(letter)
        return True

    def bury_undecodable(self, queue: str, body: bytes) -> bool:
        """Bury a body that is no message, as it came; whether that could be written."""
        letter = DeadLetter(
            task=TaskMessage(
                f"undecodable:{hashlib.sha256(body).hexdigest()[:32]}",
                "",
                kwargs={"body_base64": base64.b64encode(body).decode()},
            ),
            queue=queue,
            error_code=ErrorCode.UNDECODABLE,
            exception=f"{len(body)} bytes that are no message",
            traceback="",
            attempts=0,
            trace_id=None,
            sent_at=self._clock(),
        )
        try:
            with self._database.transaction() as tx:
                write_dead_letter(tx, letter, now=letter.sent_at)
        except DatabaseError as failed:
            return _not_written(failed)
        _tell(letter)
        return True


def replay(broker: TaskBroker, database: Database, choice: DeadLetterFilter, clock: Clock) -> int:
    """Run the chosen dead letters once more, each exactly once, with its trace; return how many.

    A dead letter is taken and its task revived in one transaction, so a second replay at the same
    time finds nothing. A task may have to wait for its turn (``FailureHandler.reopened``). Messages
    that this version does not know stay. So do tasks that die during the replay: a task that fails
    again at once is not replayed for ever.
    """
    replayed = 0
    choice = replace(choice, until=choice.until or clock())
    while True:
        to_publish: list[TaskMessage] = []
        taken: list[DeadLetter] = []
        with database.transaction() as tx:
            letters = store.take_dead(tx, choice, actors=broker.actors.keys(), limit=BATCH)
            for letter in letters:
                taken.append(letter)
                if _revive(broker, tx, letter, clock):
                    to_publish.append(letter.task)
                now = clock()
                add_events(
                    tx, TaskEvent(letter.task.task_id, EventKind.REPLAYED, now, letter.attempts)
                )
        for letter in taken:
            log.info(
                "message_replayed",
                task=letter.task.actor,
                task_id=letter.task.task_id,
                trace_id=letter.trace_id,
            )
        broker.publish(to_publish)
        replayed += len(taken)
        if len(letters) < BATCH:
            return replayed


def _revive(broker: TaskBroker, tx: Connection, letter: DeadLetter, clock: Clock) -> bool:
    """Whether the task may run now."""
    task_id = letter.task.task_id
    if not store.revive(tx, letter.task, now=clock()):
        return False
    handler = broker.failure_handlers.get(letter.task.actor)
    if handler is None or handler.reopened(tx, task_id):
        return True
    store.delete_revived(tx, task_id)
    return False


def _not_written(failed: DatabaseError) -> bool:
    log.warning("dead_letter_not_written", why=failed.message)
    return False


def _tell(letter: DeadLetter) -> None:
    # A name that no version knows is a stranger's word.
    metrics.BURIED.inc(task="unknown", code=letter.error_code)
    # Logged by a thread that works for no task: the line says itself what it is about.
    log.error(
        "message_failed",
        code=str(letter.error_code),
        why=letter.exception,
        task=letter.task.actor,
        task_id=letter.task.task_id,
        trace_id=letter.trace_id,
        queue=letter.queue,
        attempts=0,
    )
