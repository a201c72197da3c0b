"""Declare a task now, bind it to a broker later.

An actor is declared when its module is imported; that opens nothing and needs no configuration.
``install`` binds all of them to a broker. Who sends without having installed one gets the one that
the environment describes.
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
from middleware.policy import LONGEST_TASK_S, TASKS, TaskPolicy
from mirt.store.queue.failure_handler import FailureHandlers
from mirt.store.queue.tasks import TaskOutcome

P = ParamSpec("P")
R = TypeVar("R")


class UnknownTaskError(Exception):
    """A task is declared that the policy table does not know."""


class TaskLimitsError(Exception):
    """A task is declared whose limits no worker can keep."""


class TaskRegistry:
    """Stands for the broker until there is one, and then for that one.

    It is also Dramatiq's global broker, so that ``dramatiq actors`` finds the tasks.
    """

    def __init__(self) -> None:
        self.actors: dict[str, Actor[Any, Any]] = {}
        self._broker: DurableBroker | None = None
        self._make: Callable[[], DurableBroker] | None = None
        self._failure_handlers: Callable[[], FailureHandlers] = dict
        self._lock = threading.RLock()

    def declare_actor(self, actor: Actor[Any, Any]) -> None:
        """Note it; it is bound with the others."""
        self.actors[actor.actor_name] = actor
        if self._broker is not None:
            self.bind(self._broker)

    def bind(self, broker: DurableBroker) -> None:
        """Declare every task on this broker, and send to it from now on."""
        with self._lock:
            self._broker = broker
            for actor in self.actors.values():
                if actor.actor_name not in broker.actors:
                    broker.declare_actor(actor)

    def set_factory(self, make: Callable[[], DurableBroker]) -> None:
        """Say how a broker is made when one is needed and none is bound."""
        self._make = make

    def set_failure_handlers(self, find: Callable[[], FailureHandlers]) -> None:
        """Say where the business's failure handlers are found; asked when a task fails."""
        self._failure_handlers = find

    def failure_handlers(self) -> FailureHandlers:
        """Return the failure handlers of the business that this process runs."""
        return self._failure_handlers()

    @property
    def broker(self) -> DurableBroker:
        """The broker that is bound; it is made now if there is none."""
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
        """Forget the broker that is bound."""
        with self._lock:
            self._broker = None

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Send to the broker that is bound."""
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
            TypeError: the arguments are not those of the task; before anything is sent.
        """
        try:
            named = inspect.signature(self.fn).bind(*args, **(kwargs or {})).arguments
        except TypeError as wrong:
            raise TypeError(f"{self.actor_name}: {wrong}") from None
        return super().message_with_options(kwargs=named, **options)


def task(function: Callable[P, R]) -> Actor[P, R]:
    """Declare a function as a task of that name. Its queue and limits stand in the policy table.

    Raises:
        UnknownTaskError: when the table has no line for it.
        TaskLimitsError: when it may run for too long, or its hard limit comes before the soft one.
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
    """Publish what a task leaves to be published, and return its result.

    Raises:
        SkipMessage: the task is parked and has no result yet.
    """
    registry.broker.publish(outcome.to_publish)
    if outcome.parked or outcome.result is None:
        raise SkipMessage("it waits until its turn comes")
    return outcome.result
