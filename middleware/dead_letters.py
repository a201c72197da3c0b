"""Replays dead letters, and writes them for messages that never ran."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from dramatiq import Broker, Message, Middleware
from sqlalchemy import Connection

from middleware.envelopes import to_task
from middleware.policy import TASKS
from middleware.run_state import run_state
from middleware.task_broker import TaskBroker
from mirt.clock import Clock
from mirt.errors import DatabaseError, ErrorCode
from mirt.observe import metrics
from mirt.store.engine.database import Database
from mirt.store.queue import dead_letters as store
from mirt.store.queue import outbox
from mirt.store.queue.audit import count_more, record_act
from mirt.store.queue.dead_letters import DeadLetter, DeadLetterFilter, write_dead_letter
from mirt.store.queue.events import EventKind, TaskEvent, add_events
from mirt.store.queue.failure_handler import UNKNOWN, FailureHandlers
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop.corrected import forget_arguments

log = structlog.get_logger(__name__)

BATCH: Final = 100
UNKNOWN_PATIENCE: Final = timedelta(minutes=10)
"""Time that an unknown task waits for a worker that knows it, as during a deploy."""
UNKNOWN_AGAIN: Final = timedelta(seconds=30)
NO_QUEUE: Final = "unknown"
"""The queue of a task from another version: its row does not name one."""


class UnreadMessages(Middleware):
    """Writes dead letters for messages that no worker can run.

    They are of an unknown task, which first waits in its row for ``UNKNOWN_PATIENCE`` because
    another worker may know it, or cannot be decoded, or RabbitMQ has dropped them.

    While the database is unreachable, such a message becomes a reject in RabbitMQ. Rejects do not
    expire, and come here again when the database is back.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        find_handlers: Callable[[], FailureHandlers] = dict,
    ) -> None:
        """``find_handlers`` returns the business's failure handlers; it is asked with each task."""
        self._database = database
        self._clock = clock
        self._find_handlers = find_handlers

    def before_nack(self, broker: Broker, message: Any) -> None:
        """Keep or bury a task that is unknown. The settlement has buried all others already."""
        if message.actor_name in broker.actors or run_state(message).buried:
            return
        run_state(message).buried = self.bury_unknown_task(
            to_task(message), queue=message.queue_name, sent_at=message.message_datetime
        )

    def bury_unknown_task(
        self, task: TaskMessage, *, queue: str = NO_QUEUE, sent_at: datetime | None = None
    ) -> bool:
        """Publish a task that this version does not know again later, or write its dead letter.

        Return False if the database could not store it. With a dead letter the task's row ends in
        the same transaction, so the task runs when it is replayed and not before. If it was the
        head of a conversation, the next message is the head. A row that another worker runs stays
        as it is: that worker knows the task.
        """
        now = self._clock()
        dead = DeadLetter(
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
                waits = store.wait_for_newer_version(
                    tx, task, patience=UNKNOWN_PATIENCE, now=now, due_at=now + UNKNOWN_AGAIN
                )
                buried = not waits and store.bury_unbegun(tx, dead, now=now)
                handler = self._find_handlers().get(UNKNOWN) if buried else None
                if handler is not None:
                    # The pump publishes what follows: this may be the end of a publication.
                    next_ids = [one.task_id for one in handler.failed(tx, task.task_id)]
                    outbox.make_due(tx, next_ids, now=now)
        except DatabaseError as failed:
            return _not_written(failed)
        if waits:
            log.warning("unknown_task_waits", task=task.actor, task_id=task.task_id)
        if buried:
            _report(dead)
        return True

    def bury_dropped(self, message: Message[Any], why: str) -> bool:
        """Write a dead letter for a message that RabbitMQ has dropped, if its task would be lost.

        A task with a row is not lost: the row decides when it is published again. Return False if
        the database cannot be asked.
        """
        task = to_task(message)
        if task.actor not in TASKS:
            return self.bury_unknown_task(
                task, queue=message.queue_name, sent_at=message.message_datetime
            )
        now = self._clock()
        dead = DeadLetter(
            task=task,
            queue=message.queue_name,
            error_code=ErrorCode.DROPPED,
            exception=f"RabbitMQ dropped the message before any worker could run it: {why}",
            traceback="",
            attempts=0,
            trace_id=task.options.get("trace_id"),
            sent_at=message.message_datetime,
        )
        try:
            with self._database.transaction() as tx:
                buried = store.bury_without_row(tx, dead, now=now)
        except DatabaseError as failed:
            return _not_written(failed)
        if buried:
            _report(dead)
        return True

    def bury_undecodable(self, queue: str, body: bytes) -> bool:
        """Write a dead letter with the body as it came; return False if it could not be stored."""
        dead = DeadLetter(
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
                write_dead_letter(tx, dead, now=dead.sent_at)
        except DatabaseError as failed:
            return _not_written(failed)
        _report(dead)
        return True


def replay(broker: TaskBroker, database: Database, wanted: DeadLetterFilter, clock: Clock) -> int:
    """Run the chosen dead letters again, each exactly once and with its trace; return their number.

    One transaction takes a dead letter and revives its task, so a second replay at the same time
    finds nothing. A task may have to wait for its turn (``FailureHandler.reopened``). Dead letters
    of tasks that this version does not know stay. So do those that are written during the replay:
    a task that fails again at once is not replayed for ever.

    Raises:
        DatabaseError: the batches before have been replayed, the rest is unchanged.
    """
    replayed, act_id = 0, None
    wanted = replace(wanted, until=wanted.until or clock())
    while True:
        may_run: set[str] = set()
        with database.transaction() as tx:
            batch = store.take_dead(tx, wanted, actors=broker.actors.keys(), limit=BATCH)
            # Each revival may lock a conversation; see ``mirt.store.shop.mailbox``.
            for dead in sorted(batch, key=lambda dead: dead.session_id or ""):
                if _revive(broker, tx, dead, clock):
                    may_run.add(dead.task.task_id)
                event = TaskEvent(dead.task.task_id, EventKind.REPLAYED, clock(), dead.attempts)
                add_events(tx, event)
            if act_id is None:
                act_id = record_act(
                    tx,
                    "replay",
                    target=wanted.in_words(),
                    session_id=wanted.session_id,
                    count=len(batch),
                    now=clock(),
                )
            else:
                count_more(tx, act_id, len(batch))
        for dead in batch:
            log.info(
                "message_replayed",
                task=dead.task.actor,
                task_id=dead.task.task_id,
                trace_id=dead.trace_id,
            )
        broker.publish([dead.task for dead in batch if dead.task.task_id in may_run])
        replayed += len(batch)
        if len(batch) < BATCH:
            return replayed


def replay_with(
    broker: TaskBroker,
    database: Database,
    task_id: str,
    arguments: Mapping[str, Any],
    clock: Clock,
) -> bool:
    """Run one dead letter again with other arguments; return False if there is no such dead letter.

    Raises:
        PermanentError: INVALID_INPUT, its arguments count no longer (``forget_arguments``).
        DatabaseError: nothing has changed.
    """
    wanted = DeadLetterFilter(task_ids=[task_id])
    with database.transaction() as tx:
        batch = store.take_dead(tx, wanted, actors=broker.actors.keys(), limit=1)
        if not batch:
            return False
        [dead] = batch
        forget_arguments(tx, dead.task)
        may_run = _revive(broker, tx, dead, clock)
        store.replace_arguments(tx, task_id, arguments)
        kind, why = EventKind.REPLAYED, "with other arguments"
        add_events(tx, TaskEvent(task_id, kind, clock(), dead.attempts, why=why))
        record_act(
            tx,
            "replay with other arguments",
            target=f"task {task_id}",
            session_id=dead.session_id,
            now=clock(),
        )
    task = replace(dead.task, args=(), kwargs=arguments)
    log.info(
        "message_replayed", task=task.actor, task_id=task_id, trace_id=dead.trace_id, edited=True
    )
    broker.publish([task] if may_run else [])
    return True


def _revive(broker: TaskBroker, tx: Connection, dead: DeadLetter, clock: Clock) -> bool:
    """Bring the task's row back; return whether the task may run now."""
    task_id = dead.task.task_id
    if not store.revive(tx, dead.task, now=clock()):
        return False
    handler = broker.failure_handlers.get(dead.task.actor)
    if handler is None or handler.reopened(tx, task_id):
        return True
    store.delete_revived(tx, task_id)
    return False


def _not_written(failed: DatabaseError) -> bool:
    log.warning("dead_letter_not_written", why=failed.message)
    return False


def _report(dead: DeadLetter) -> None:
    # Task names from outside are unbounded, so they must not become label values.
    metrics.BURIED.inc(task="unknown", code=dead.error_code)
    # This thread runs no task, so the log context does not name one.
    log.error(
        "message_failed",
        code=str(dead.error_code),
        why=dead.exception,
        task=dead.task.actor,
        task_id=dead.task.task_id,
        trace_id=dead.trace_id,
        queue=dead.queue,
        attempts=0,
    )
