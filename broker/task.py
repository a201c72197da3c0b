"""Declares tasks at import, and binds them to a broker later.

The import of an actor's module opens no connection and needs no configuration. ``install`` binds
all tasks to a broker. A process that sends without ``install`` gets the broker that its environment
describes.
"""

import inspect
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, ParamSpec, TypedDict, TypeVar, Unpack

import dramatiq
from dramatiq import Actor, Message
from dramatiq.middleware import SkipMessage
from periodiq import cron

from broker.durable import DurableBroker
from middleware.cron_line import CronLine, line_of
from middleware.execution import mark_finished
from middleware.policy import LONGEST_TASK_S, TASKS, ScheduleError, TaskPolicy
from mirt.store.queue.claim_hook import ClaimHooks
from mirt.store.queue.failure_handler import FailureHandlers
from mirt.store.queue.tasks import TaskOutcome

P = ParamSpec("P")
R = TypeVar("R")


class UnknownTaskError(Exception):
    """The policy table has no line for a declared task."""


class TaskLimitsError(Exception):
    """No worker can keep the limits of a declared task."""


class MissingActorError(Exception):
    """The policy table has a line for a task that no actor runs."""


class TaskOptions(TypedDict, total=False):
    """All options of ``send_with_options``. Limits and retries stand in the policy table.

    Example::

        ping.send_with_options(task_id="ping-42", delay=5_000, soft_limit_s=2)
    """

    task_id: str
    """Id of the task, 1 to 500 characters. The task is stored as a row, and is sent only if no task
    of that id is queued, running or done."""
    delay: int | timedelta
    """Milliseconds or a ``timedelta`` until the task may run. The task is stored as a row."""
    soft_limit_s: float
    """Soft limit in seconds. It can tighten the limit of the policy table, never widen it."""
    hard_limit_s: float
    """Hard limit in seconds. It can tighten the limit of the policy table, never widen it."""
    session_id: str
    """Conversation of the task for logs, if no argument names it."""
    trace_id: str
    """Trace of the task; without it the trace of the sender, or a new one."""
    traceparent: str
    """W3C header of the span that sends the task."""
    tracestate: str
    """W3C header that goes with ``traceparent``."""
    no_result: bool
    """Store no result: no caller waits for one."""
    scheduled_at: str
    """Moment of a tick in ISO 8601, the option of a scheduler: ticks are sent instead of this task.
    """


DRAMATIQ_OPTIONS: Final = frozenset(
    {"eta", "group_completion_callbacks", "group_completion_uuid", "pipe_ignore", "pipe_target"}
)
"""Options that Dramatiq sets by itself."""
LEAP_CYCLE_DAYS: Final = 4 * 365 + 1
_KNOWN_OPTIONS: Final = frozenset(TaskOptions.__annotations__) | DRAMATIQ_OPTIONS


class TaskRegistry:
    """The declared tasks, and the broker to which they are bound.

    The registry is also Dramatiq's global broker, so that ``dramatiq actors`` finds the tasks.
    """

    def __init__(self) -> None:
        self.actors: dict[str, Actor[Any, Any]] = {}
        self._broker: DurableBroker | None = None
        self._make: Callable[[], DurableBroker] | None = None
        self._failure_handlers: Callable[[], FailureHandlers] = dict
        self._claim_hooks: Callable[[], ClaimHooks] = dict
        self._is_complete = False
        self._lock = threading.RLock()

    def declare_actor(self, actor: Actor[Any, Any]) -> None:
        """Register a task, and bind it if a broker is bound."""
        self.actors[actor.actor_name] = actor
        if self._broker is not None:
            self.bind(self._broker)

    def bind(self, broker: DurableBroker) -> None:
        """Declare every task on this broker, and send to this broker from now on."""
        with self._lock:
            self._broker = broker
            for actor in self.actors.values():
                if actor.actor_name not in broker.actors:
                    broker.declare_actor(actor)

    def complete(self) -> None:
        """Record that all actors are declared, and ``check`` them if a broker is bound.

        Raises:
            MissingActorError: as ``check``.
        """
        self._is_complete = True
        if self._broker is not None:
            self.check()

    def check(self) -> None:
        """Compare the policy table with the actors, once all of them are declared.

        Raises:
            MissingActorError: the table has a line for a task without an actor.
        """
        missing = sorted(TASKS.keys() - self.actors.keys()) if self._is_complete else []
        if missing:
            raise MissingActorError(
                f"{', '.join(missing)}: middleware/policy.py has a line, but there is no actor; "
                "add it to a module that actors/__init__.py imports, or remove the line"
            )

    def set_factory(self, make: Callable[[], DurableBroker]) -> None:
        """Set the function that makes a broker when a process needs one and none is bound."""
        self._make = make

    def set_failure_handlers(self, find: Callable[[], FailureHandlers]) -> None:
        """Set the function that finds the business's failure handlers when a task fails."""
        self._failure_handlers = find

    def failure_handlers(self) -> FailureHandlers:
        """Return the failure handlers of the business that this process runs."""
        return self._failure_handlers()

    def set_claim_hooks(self, find: Callable[[], ClaimHooks]) -> None:
        """Set the function that returns the business's claim hooks; called at each claim."""
        self._claim_hooks = find

    def claim_hooks(self) -> ClaimHooks:
        """Return the claim hooks of the business that this process runs."""
        return self._claim_hooks()

    @property
    def broker(self) -> DurableBroker:
        """The broker that is bound; the factory makes one if there is none.

        Raises:
            RuntimeError: there is neither a broker nor a factory.
        """
        with self._lock:
            if self._broker is None:
                if self._make is None:
                    raise RuntimeError("no broker: import broker.stack, or call install(settings)")
                self.bind(self._make())
        broker = self._broker
        if broker is None:
            raise RuntimeError("no broker was bound")
        return broker

    def release(self) -> None:
        """Unbind the broker."""
        with self._lock:
            self._broker = None

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Send a message to the bound broker; ``delay`` is in milliseconds."""
        return self.broker.enqueue(message, delay=delay)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)


registry = TaskRegistry()
dramatiq.set_broker(registry)  # type: ignore[arg-type]


_signature: Final = cache(inspect.signature)


class Task(Actor[P, R]):
    """An actor whose arguments travel by name, so that logs and dead letters can name them."""

    def message_with_options(
        self,
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Message[R]:
        """Build a message.

        Raises:
            TypeError: the arguments do not fit the signature of the task, or an option is unknown.
        """
        if unknown := sorted(options.keys() - _KNOWN_OPTIONS):
            raise TypeError(
                f"{self.actor_name}: unknown option {', '.join(unknown)}; broker.task.TaskOptions "
                "lists all options, and middleware/policy.py has the limits and retries of a task"
            )
        try:
            named = _signature(self.fn).bind(*args, **(kwargs or {})).arguments
        except TypeError as wrong:
            raise TypeError(f"{self.actor_name}: {wrong}") from None
        return super().message_with_options(kwargs=named, **options)

    def send_with_options(  # type: ignore[override]
        self,
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Message[R]:
        """Send a message with the options of ``TaskOptions``.

        Raises:
            TypeError: the arguments do not fit the signature of the task, or an option is unknown.
            BrokerUnavailableError, DatabaseError, ValueError: as ``DurableBroker.enqueue``.
        """
        return super().send_with_options(args=args, kwargs=kwargs, **options)


def task(function: Callable[P, R]) -> Task[P, R]:
    """Declare a function as the task of its name. The policy table has its queue and limits.

    Example::

        @task
        def greet(session_id: str) -> dict[str, Any]:
            return current_runtime().greetings.send(current_lease(), session_id)

        greet.send("42")
        greet.send_with_options(args=("42",), task_id="greet-42", delay=60_000)

    Raises:
        UnknownTaskError: the table has no line for the task.
        TaskLimitsError: the hard limit is too long, or comes before the soft limit.
        ScheduleError: the cron line is invalid, or never matches.
    """
    name = function.__name__
    if name not in TASKS:
        raise UnknownTaskError(f"{name}: add a line for it to middleware/policy.py")
    policy = TASKS[name]
    _check_limits(policy)
    return Task(
        function,
        broker=registry,  # type: ignore[arg-type]
        actor_name=name,
        queue_name=policy.queue,
        priority=0,
        options={"periodic": _parse_schedule(policy)} if policy.schedule else {},
    )


def _check_limits(policy: TaskPolicy) -> None:
    if policy.hard_s > LONGEST_TASK_S:
        raise TaskLimitsError(
            f"{policy.name}: a hard limit of {policy.hard_s:g} s; a task holds its message while "
            f"it runs, and may do so for {LONGEST_TASK_S:g} s at most. Cut it into steps: each "
            "sends the next, with a delay= if it is to wait"
        )
    if not 0 < policy.soft_s < policy.hard_s:
        raise TaskLimitsError(
            f"{policy.name}: soft limit {policy.soft_s:g} s, hard limit {policy.hard_s:g} s; "
            "the soft one must come first"
        )


def _parse_schedule(policy: TaskPolicy) -> CronLine:
    cron_line = policy.schedule or ""
    # periodiq itself accepts further fields and numbers out of range, and then never runs the task.
    try:
        parsed = cron(cron_line)
        is_valid = (cron_line.startswith("@") or len(cron_line.split()) == 5) and (
            set(parsed.minute) <= set(range(60))
            and set(parsed.hour) <= set(range(24))
            and set(parsed.month) <= set(range(1, 13))
            and set(parsed.dow) <= set(range(8))
        )
    except (ValueError, LookupError):
        is_valid = False
    if not is_valid:
        raise ScheduleError(
            f"{policy.name}: {cron_line!r} is no cron line; the policy table takes five fields "
            "(minute, hour, day, month, weekday), in UTC or in the zone of tz="
        )
    first = datetime(2024, 1, 1, parsed.hour[0], parsed.minute[0], tzinfo=UTC)
    if not any(parsed.validate(first + timedelta(days=day)) for day in range(LEAP_CYCLE_DAYS)):
        raise ScheduleError(
            f"{policy.name}: {cron_line!r} never matches: no month has such a day, or Sunday is "
            "written as 0 (write 7)"
        )
    return line_of(policy)


def publish_and_return(outcome: TaskOutcome) -> dict[str, Any]:
    """Publish the tasks that follow from this one, and return its result.

    Raises:
        SkipMessage: the task is parked and has no result yet.
    """
    if outcome.finished:
        mark_finished()
    # The rows are safe, so the run does not wait for confirms.
    registry.broker.publish(outcome.to_publish, within_s=0)
    if outcome.parked or outcome.result is None:
        raise SkipMessage("it waits until its turn comes")
    return outcome.result
