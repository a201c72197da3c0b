"""Sends tasks durably: the outbox stores the row first, the transport only wakes a worker."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Final

import structlog
from dramatiq import Broker, Message
from dramatiq.middleware import MiddlewareError

from middleware.dead_letters import UnreadMessages
from middleware.envelopes import to_message, to_task
from middleware.execution import Execution
from middleware.policy import LONGEST_TASK_ID, TASKS
from middleware.run_state import run_state
from middleware.ticks import take_ticks
from middleware.time_limits import TimeLimits
from mirt.clock import Clock
from mirt.errors import BrokerUnavailableError, DatabaseError
from mirt.observe import metrics, traces
from mirt.store.engine.database import Database
from mirt.store.queue import holds, outbox, pauses
from mirt.store.queue.failure_handler import FailureHandlers
from mirt.store.queue.tasks import TaskMessage

log = structlog.get_logger(__name__)

SEND_S: Final = 3.0
"""Seconds to wait for the confirm of a message without a row: unconfirmed, it may be lost."""
CALL_S: Final = 0.5
"""Seconds to wait for the confirm of a message with a row. The row is safe, so a webhook, for
example, need not wait long."""

EARLY_TICK: Final = timedelta(seconds=1)
"""Time before a full minute in which a tick is already that of the minute: a scheduler that is a
little ahead of the database must not lose it."""


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as the transport sees it: messages that no consumer holds, and its consumers."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Messages that the transport may not have."""

    failed: Sequence[Message[Any]] = ()
    """Messages that were refused, or unconfirmed when the connection ended. Send them again."""
    unconfirmed: Sequence[Message[Any]] = ()
    """Messages without a confirm in time. The confirm usually comes later."""

    @property
    def ids(self) -> set[str]:
        """The ids of all these messages."""
        return {message.message_id for message in (*self.failed, *self.unconfirmed)}


@dataclass(frozen=True, slots=True)
class PublishRound:
    """Tasks that the transport took, whether more are due, and seconds until the next one is."""

    published: int
    is_full: bool
    next_due_s: float


class HookFailedError(MiddlewareError):
    """A middleware of the service failed before the task began."""


class DurableBroker(Broker):
    """A broker that stores tasks as rows and uses messages to wake workers.

    Three kinds of message are rows first and survive every failure: those with a delay, those with
    the option ``task_id``, and those that the business has put into the outbox. A plain ``send`` is
    as durable as the transport.
    """

    database: Database
    clock: Clock
    every_message_is_a_row = False
    open_holds: Collection[str] = frozenset()
    """The outside services that had a hold when the outbox was read last."""
    paused: Collection[str] | None = None
    """The subjects that were paused when the outbox was read last; None if it was not read yet."""
    takes_running = True
    """Whether a running task whose lease ran out is published. Otherwise its owner may renew it."""
    messaging_system: str = "memory"
    """The name of the transport in spans."""
    find_failure_handlers: Callable[[], FailureHandlers] = staticmethod(dict)

    @property
    def failure_handlers(self) -> FailureHandlers:
        """The handlers that settle rows of the business when a task fails for good."""
        return self.find_failure_handlers()

    @property
    def ready(self) -> bool:
        """Whether the transport accepts messages at this moment."""
        return True

    @property
    def probe(self) -> Callable[[], None] | None:
        """A function that probes the transport's server; None if there is no server.

        It raises BrokerUnavailableError if the server cannot be reached.
        """
        return None

    @property
    def depths(self) -> Callable[[], Mapping[str, Depth]] | None:
        """A function that reads the depth of each queue; None if there is no server.

        It raises BrokerUnavailableError if the server cannot be asked.
        """
        return None

    def problems(self) -> Mapping[str, str]:
        """Return why this process does not receive from a queue, or cannot publish; none in memory.

        A problem that passes within a few seconds is not reported.
        """
        return {}

    @abstractmethod
    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Hand messages to the transport and wait up to ``within_s`` seconds for the confirms.

        Never raises. A message that fails after that time has no waiting caller, so the transport
        itself arranges that it is published again.
        """

    def lost(self, waiting: Sequence[TaskMessage]) -> Sequence[TaskMessage]:
        """Return those tasks whose messages the transport may have lost; by default all.

        They were published before, and no worker has claimed them.
        """
        return waiting

    def drain(self, queue: str) -> None:
        """Empty a queue of the transport. Tasks with a row are published again later.

        Raises:
            BrokerUnavailableError: the transport cannot be reached.
        """

    def close(self) -> None:
        """Stop the threads of the middleware; a worker has to be stopped before."""
        for one in self.middleware:
            if isinstance(one, Execution | TimeLimits):
                one.close()

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the hooks of the middleware; a message runs only if every hook has succeeded.

        Dramatiq alone would run a message after a hook failed with any error of another class than
        ``MiddlewareError``.

        Raises:
            HookFailedError: a hook before the run of a message failed.
            MiddlewareError: a middleware refused the message.
        """
        if signal != "process_message":
            super().emit_before(signal, *args, **kwargs)
            return
        for middleware in self.middleware:
            try:
                middleware.before_process_message(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception as failed:
                log.exception("hook_failed", hook=type(middleware).__name__)
                # The settlement buries a task that is claimed already; if it is not, the message
                # returns to its queue.
                run_state(args[0]).give_back = True
                raise HookFailedError(f"{type(middleware).__name__}: {failed!r}") from failed

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue. There are no delay queues: a delay is a row."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self._add_queue(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Send a message after ``delay`` milliseconds, or at once.

        With the option ``task_id`` the message takes that id, and is sent only if no task of that
        id is queued, running or done. With ``scheduled_at``, the option of a scheduler, the call is
        a ``tick``. ``broker.task.TaskOptions`` lists all options.

        Raises:
            BrokerUnavailableError: the transport did not confirm in time; the message may arrive.
            DatabaseError: the message needs a row, and the row could not be written.
            TypeError: the arguments are not JSON.
            ValueError: the option ``task_id`` is no text of 1 to 500 characters.
        """
        message.encode()
        if tick := message.options.get("scheduled_at"):
            self._tick_by_its_machine(datetime.fromisoformat(tick))
            return message
        message = _under_its_task_id(message)
        named = message.options.pop("task_id", None) is not None
        self.emit_before("enqueue", message, delay)
        has_row = named or delay is not None or self.every_message_is_a_row
        if has_row and not self._add_row(message, delay):
            log.info("duplicate_not_sent", task_id=message.message_id)
            return message
        if named:
            log.info(
                "message_accepted",
                task=message.actor_name,
                task_id=message.message_id,
                trace_id=message.options.get("trace_id"),
            )
        if delay is None:
            result = self._transmit([message], within_s=CALL_S if has_row else SEND_S)
            if result.ids and not has_row:
                raise BrokerUnavailableError("RabbitMQ has not confirmed the message")
            self._reschedule(result.failed)
        self.emit_after("enqueue", message, delay)
        return message

    def tick(self, at: datetime) -> None:
        """Send the scheduled tasks of that time, each tick once, and the latest missed ticks.

        A failure of the database is logged, so a scheduler outlives it: the next tick catches up.
        """
        schedule = {
            name: actor.options["periodic"]
            for name, actor in self.actors.items()
            if "periodic" in actor.options
        }
        try:
            with self.database.transaction() as tx:
                due = take_ticks(tx, schedule, at=at, now=self.clock())
        except DatabaseError as failed:
            log.warning("ticks_missed", why=failed.message)
            return
        for task in due:
            metrics.TICKS.inc(task=task.actor)
        if due:
            log.info("ticked", tasks=[task.task_id for task in due])
        self.publish(due)

    def _tick_by_its_machine(self, at: datetime) -> None:
        """Send the ticks of a scheduler, whose machine may have another time than the database."""
        try:
            ahead_s = self.database.clock_ahead_s()
        except DatabaseError as failed:
            log.warning("ticks_missed", why=failed.message)
            return
        self.tick(at + EARLY_TICK - timedelta(seconds=ahead_s))

    def publish(self, tasks: Sequence[TaskMessage], *, within_s: float = CALL_S) -> int:
        """Wake workers for tasks with committed rows; return how many the transport took.

        A message that failed is due again at once, one without a confirm after a growing pause. A
        task that this version does not know becomes a dead letter, as its message would.
        """
        known = [to_message(task) for task in tasks if task.actor in TASKS]
        failed = self._transmit(known, within_s=within_s).failed
        self._reschedule(failed)
        for task in tasks:
            if task.actor not in TASKS:
                # A task that could not be buried becomes due again.
                any(unread.bury_unknown_task(task) for unread in self._unread())
        return len(known) - len(failed)

    def publish_all(self, batches: Iterable[Sequence[TaskMessage]]) -> int:
        """Publish batches, each committed before it comes; return the number of their tasks."""
        count = 0
        for batch in batches:
            self.publish(batch)
            count += len(batch)
        return count

    def publish_due(self, limit: int = 500) -> int:
        """Publish due tasks of the outbox (ended delays, lost messages); return their number.

        Raises:
            DatabaseError: the outbox cannot be read.
        """
        return self.publish_round(limit).published

    def publish_round(self, limit: int) -> PublishRound:
        """Publish due tasks, and the probe of each hold whose time has come.

        Raises:
            DatabaseError: the outbox cannot be read.
        """
        now = self.clock()
        with self.database.transaction() as tx:
            due = outbox.take_due_and_read(
                tx,
                [holds.reading_open(), pauses.reading_paused()],
                now=now,
                limit=limit,
                takes_running=self.takes_running,
            )
            open_holds, paused = due.found
            probes = [
                holds.take_probe(tx, hold.service, now=now)
                for hold in open_holds
                if hold.probe_at <= now
            ]
        self.open_holds = {hold.service for hold in open_holds}
        self.paused = {pause.subject for pause in paused}
        published = self.publish([*due.to_publish, *filter(None, probes)])
        if due.waiting:
            published += self.publish(self.lost(due.waiting))
        next_due_s = inf if due.next_due is None else (due.next_due - now).total_seconds()
        is_full = len(due.to_publish) + len(due.waiting) >= limit
        return PublishRound(published, is_full=is_full, next_due_s=next_due_s)

    def _transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        started = datetime.now(UTC)
        result = self.transmit(messages, within_s=within_s)
        if result.unconfirmed and within_s > 0:
            log.warning("not_confirmed_yet", tasks=len(result.unconfirmed))
        if traces.is_on():
            ended, uncertain = datetime.now(UTC), result.ids
            for message in messages:
                traces.record_span(
                    f"publish {message.queue_name}",
                    traces.extract(message.options, message.message_id),
                    started,
                    ended,
                    kind="producer",
                    attributes={
                        "messaging.system": self.messaging_system,
                        "messaging.operation.name": "publish",
                        "messaging.operation.type": "send",
                        "messaging.destination.name": message.queue_name,
                        "messaging.message.id": message.message_id,
                        "mirt.confirmed": message.message_id not in uncertain,
                    },
                )
        return result

    def _unread(self) -> Iterator[UnreadMessages]:
        return (found for found in self.middleware if isinstance(found, UnreadMessages))

    def _add_queue(self, queue_name: str) -> None:
        self.queues[queue_name] = None

    def _add_row(self, message: Message[Any], delay: int | None) -> bool:
        now = self.clock()
        due_at = None if delay is None else now + timedelta(milliseconds=delay)
        with self.database.transaction() as tx:
            return outbox.add(tx, to_task(message), now=now, due_at=due_at)

    def _reschedule(self, failed: Sequence[Message[Any]]) -> None:
        if not failed:
            return
        log.warning("not_published", tasks=len(failed))
        try:
            with self.database.transaction() as tx:
                outbox.make_due(tx, [message.message_id for message in failed], now=self.clock())
        except DatabaseError as unreachable:
            # Their rows become due without this, only later.
            log.warning("not_published_sooner", why=unreachable.message)


def _under_its_task_id(message: Message[Any]) -> Message[Any]:
    task_id = message.options.get("task_id")
    if task_id is None:
        return message
    if not isinstance(task_id, str) or not 0 < len(task_id) <= LONGEST_TASK_ID:
        raise ValueError(
            f"task_id: must be a text of 1 to {LONGEST_TASK_ID} characters, not {task_id!r}"
        )
    return message.copy(message_id=task_id)
