"""Declares tasks at import, and binds them to a broker later.

The import of an actor's module opens no connection and needs no configuration. ``install`` binds
all tasks to a broker. A process that sends without ``install`` gets the broker that its environment
describes.
"""

import inspect
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import dramatiq
from dramatiq import Actor, Message
from dramatiq.middleware import SkipMessage
from periodiq import cron

from broker.durable import DurableBroker
from middleware.execution import mark_finished
from middleware.policy import LONGEST_TASK_S, TASKS, TaskPolicy
from mirt.store.queue.claim_hook import ClaimHooks
from mirt.store.queue.failure_handler import FailureHandlers
from mirt.store.queue.tasks import TaskOutcome

P = ParamSpec("P")
R = TypeVar("R")


class UnknownTaskError(Exception):
    """The policy table has no line for a declared task."""


class TaskLimitsError(Exception):
    """No worker can keep the limits of a declared task."""


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
            TypeError: the arguments do not fit the signature of the task.
        """
        try:
            named = inspect.signature(self.fn).bind(*args, **(kwargs or {})).arguments
        except TypeError as wrong:
            raise TypeError(f"{self.actor_name}: {wrong}") from None
        return super().message_with_options(kwargs=named, **options)


def task(function: Callable[P, R]) -> Actor[P, R]:
    """Declare a function as the task of its name. The policy table has its queue and limits.

    Raises:
        UnknownTaskError: the table has no line for the task.
        TaskLimitsError: the hard limit is too long, or comes before the soft limit.
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
        options={"periodic": cron(policy.schedule)} if policy.schedule else {},
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


def publish_and_return(outcome: TaskOutcome) -> dict[str, Any]:
    """Publish the tasks that follow from this one, and return its result.

    Raises:
        SkipMessage: the task is parked and has no result yet.
    """
    if outcome.finished:
        mark_finished()
    registry.broker.publish(outcome.to_publish)
    if outcome.parked or outcome.result is None:
        raise SkipMessage("it waits until its turn comes")
    return outcome.result
