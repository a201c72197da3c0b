"""What all brokers share: the outbox comes first, the transport is a wake-up call."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from dramatiq import Broker, Message
from dramatiq.middleware import MiddlewareError

from middleware.dead_letters import UnreadMessages
from middleware.envelopes import to_message, to_task
from middleware.policy import LONGEST_TASK_ID, TASKS
from middleware.ticks import take_ticks
from mirt.clock import Clock
from mirt.errors import BrokerUnavailableError, DatabaseError
from mirt.observe import metrics, traces
from mirt.store.engine.database import Database
from mirt.store.queue import outbox
from mirt.store.queue.failure_handler import FailureHandlers
from mirt.store.queue.tasks import TaskMessage

log = structlog.get_logger(__name__)

SEND_S: Final = 3.0
"""A message that is not a row is lost unless it is confirmed: who sends it waits for that."""
CALL_S: Final = 0.5
"""The row is safe: whoever waits, a webhook among them, need not wait long for the fast path."""


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as the transport sees it: messages that nobody holds, and who takes from it."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Messages of which it is not certain that the transport has them."""

    failed: Sequence[Message[Any]] = ()
    """It did not take them, or was lost before it confirmed them: they are to be sent again."""
    unconfirmed: Sequence[Message[Any]] = ()
    """It has said nothing of them in time, and usually will."""

    @property
    def ids(self) -> set[str]:
        """All of them."""
        return {message.message_id for message in (*self.failed, *self.unconfirmed)}


class HookFailedError(MiddlewareError):
    """Something of ours has failed before a task was begun."""


class DurableBroker(Broker):
    """A broker whose delays, named tasks and outbox are rows, and whose messages are calls.

    Three kinds of message are rows first and survive everything: those with a delay, those with a
    ``task_id`` option, and those that the business has put into the outbox. A plain ``send`` is as
    durable as the transport.
    """

    database: Database
    clock: Clock
    every_message_is_a_row = False
    find_failure_handlers: Callable[[], FailureHandlers] = staticmethod(dict)

    @property
    def failure_handlers(self) -> FailureHandlers:
        """Who settles the business's rows when a task fails for good."""
        return self.find_failure_handlers()

    @property
    def ready(self) -> bool:
        """Whether the transport takes messages at this moment."""
        return True

    @property
    def probe(self) -> Callable[[], None] | None:
        """Asks the transport's server, and raises when it is not well; None where there is none."""
        return None

    @property
    def depths(self) -> Callable[[], Mapping[str, Depth]] | None:
        """Asks the transport's server how its queues are; None where there is none.

        It raises BrokerUnavailableError when the server does not say.
        """
        return None

    @abstractmethod
    def transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        """Hand messages to the transport, which has ``within_s`` seconds to confirm them.

        Never raises. One that was not confirmed in time and fails later is the broker's to have
        published again: nobody waits for it any more.
        """

    def drain(self, queue: str) -> None:
        """Empty a queue of the transport. What has a row comes back by itself.

        Raises:
            BrokerUnavailableError: it cannot be reached.
        """

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Ask the middleware; a message is not run unless each of them has agreed.

        Dramatiq runs it all the same when one fails with anything but an error of its own.

        Raises:
            HookFailedError: before a message that is to be run.
            MiddlewareError: of the middleware itself.
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
                # Whoever has claimed the task buries it; if nobody has, it returns to its queue.
                args[0].give_back = True
                raise HookFailedError(f"{type(middleware).__name__}: {failed!r}") from failed

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue known. There are no delay queues: a delay is a row."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self._add_queue(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Send a message, ``delay`` in milliseconds.

        With the option ``task_id`` it takes that id, and is sent only if no task of that id is
        queued, running or done. With ``scheduled_at``, which schedulers give, it is a ``tick``.

        Raises:
            BrokerUnavailableError: the transport has not confirmed it; it may arrive all the same.
            DatabaseError: it needs a row, and the row could not be written.
            TypeError: its arguments are not JSON.
        """
        message.encode()
        if tick := message.options.get("scheduled_at"):
            self.tick(datetime.fromisoformat(tick))
            return message
        message = _under_its_task_id(message)
        named = message.options.pop("task_id", None) is not None
        self.emit_before("enqueue", message, delay)
        kept = named or delay is not None or self.every_message_is_a_row
        if kept and not self._keep(message, delay):
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
            unsure = self._transmit([message], within_s=CALL_S if kept else SEND_S)
            if unsure.ids and not kept:
                raise BrokerUnavailableError("RabbitMQ has not confirmed the message")
            self._reschedule(unsure.failed)
        self.emit_after("enqueue", message, delay)
        return message

    def tick(self, at: datetime) -> None:
        """Send what the schedule has for that time, each tick once, and what was missed before.

        Never raises, so that a scheduler outlives the database: the next tick makes up for it.
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
        for one in due:
            metrics.TICKS.inc(task=one.actor)
        if due:
            log.info("ticked", tasks=[one.task_id for one in due])
        self.publish(due)

    def publish(self, tasks: Sequence[TaskMessage]) -> int:
        """Wake workers up for tasks whose rows are committed; how many were handed over.

        What fails is published again at once, what is not confirmed after its growing pause. A task
        that this version does not know is buried, as a message of it would be.
        """
        known = [to_message(task) for task in tasks if task.actor in TASKS]
        failed = self._transmit(known, within_s=CALL_S).failed
        self._reschedule(failed)
        for task in tasks:
            if task.actor not in TASKS:
                # What could not be buried comes due again.
                any(one.bury_unknown_task(task) for one in self._unread())
        return len(known) - len(failed)

    def publish_all(self, batches: Iterable[Sequence[TaskMessage]]) -> int:
        """Publish batches as they come, each committed before; how many tasks there were."""
        count = 0
        for batch in batches:
            self.publish(batch)
            count += len(batch)
        return count

    def publish_due(self, limit: int = 500) -> int:
        """Publish what the outbox has due: ended delays, lost messages; how many it could."""
        with self.database.transaction() as tx:
            due = outbox.take_due(tx, now=self.clock(), limit=limit)
        return self.publish(due)

    def _transmit(self, messages: Sequence[Message[Any]], *, within_s: float) -> PublishResult:
        started = datetime.now(UTC)
        unsure = self.transmit(messages, within_s=within_s)
        if unsure.unconfirmed:
            log.warning("not_confirmed_yet", tasks=len(unsure.unconfirmed))
        if traces.is_on():
            ended, doubtful = datetime.now(UTC), unsure.ids
            for message in messages:
                traces.record_span(
                    f"publish {message.queue_name}",
                    traces.extract(message.options, message.message_id),
                    started,
                    ended,
                    kind="producer",
                    attributes={
                        "messaging.operation.type": "send",
                        "messaging.destination.name": message.queue_name,
                        "messaging.message.id": message.message_id,
                        "mirt.confirmed": message.message_id not in doubtful,
                    },
                )
        return unsure

    def _unread(self) -> Iterator[UnreadMessages]:
        return (one for one in self.middleware if isinstance(one, UnreadMessages))

    def _add_queue(self, queue_name: str) -> None:
        self.queues[queue_name] = None

    def _keep(self, message: Message[Any], delay: int | None) -> bool:
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
                outbox.make_due(tx, [one.message_id for one in failed], now=self.clock())
        except DatabaseError as unreachable:
            # Their rows come up by themselves, only later.
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
