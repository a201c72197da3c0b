"""Enforces the soft limit: waits inside a task end by it, and loops in Python are interrupted.

The deadline travels with the task in a context variable (``mirt.clock``). HTTP, the database and
``run_sync`` wait no longer than that, and then raise ``SoftTimeLimitExceeded``, an ``Exception``.
"""

import threading
from contextlib import ExitStack
from typing import Any

from dramatiq import Broker, Middleware
from typing_extensions import override

from middleware.interruption import Interrupter
from middleware.policy import TASKS
from mirt.clock import deadline_in


class TimeLimits(Middleware):
    """Sets the deadline of each task from the policy table.

    The option ``soft_limit_s`` of a message, in seconds, can tighten the limit and never widen it.
    """

    def __init__(self) -> None:
        self._thread = threading.local()
        self._interrupter = Interrupter()

    @override
    def before_process_message(self, broker: Broker, message: Any) -> None:
        own = TASKS[message.actor_name].soft_s
        limit = min(own, message.options.get("soft_limit_s", own))
        self._thread.deadline = ExitStack()
        self._thread.deadline.enter_context(deadline_in(limit))
        self._interrupter.arm(limit)

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Lift the deadline: the settlement is not part of the task's own time."""
        if deadline := getattr(self._thread, "deadline", None):
            self._interrupter.disarm()
            deadline.close()
            self._thread.deadline = None

    def close(self) -> None:
        """End the thread that interrupts tasks past their deadline."""
        self._interrupter.close()

    @override
    def after_skip_message(self, broker: Broker, message: Any) -> None:
        self.after_process_message(broker, message)
