"""Enforces the soft limit: waits inside a task end by it, and loops in Python are interrupted.

The deadline travels with the task in a context variable (``mirt.clock``). HTTP, the database and
``run_sync`` wait no longer than that, and then raise ``SoftTimeLimitExceeded``, an ``Exception``.
"""

from contextlib import ExitStack
from typing import Any

from dramatiq import Broker, Middleware
from typing_extensions import override

from middleware.execution import current_lease
from middleware.interruption import Interrupter
from middleware.policy import TASKS
from middleware.run_state import run_state
from mirt.clock import deadline_in
from mirt.errors import SoftTimeLimitExceeded, TaskCancelledError


class TimeLimits(Middleware):
    """Sets the deadline of each task from the policy table.

    The option ``soft_limit_s`` of a message, in seconds, can tighten the limit and never widen it.
    """

    def __init__(self, interrupter: Interrupter) -> None:
        self._interrupter = interrupter

    @override
    def before_process_message(self, broker: Broker, message: Any) -> None:
        own = TASKS[message.actor_name].soft_s
        limit = min(own, message.options.get("soft_limit_s", own))
        run_state(message).soft_limit = soft_limit = ExitStack()
        soft_limit.enter_context(deadline_in(limit))
        lease = current_lease()
        self._interrupter.arm(limit, (lease.task_id, lease.fence))

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Lift the deadline: the settlement is not part of the task's own time."""
        try:
            self._lift(message)
        except (SoftTimeLimitExceeded, TaskCancelledError):
            # The interruption came while it was cancelled. It comes once, so this call ends.
            self._lift(message)

    def _lift(self, message: Any) -> None:
        state = run_state(message)
        if state.soft_limit is not None:
            lease = current_lease()
            self._interrupter.disarm((lease.task_id, lease.fence))
            state.soft_limit.close()
            state.soft_limit = None

    def close(self) -> None:
        """End the thread that interrupts tasks past their deadline."""
        self._interrupter.close()

    @override
    def after_skip_message(self, broker: Broker, message: Any) -> None:
        self.after_process_message(broker, message)
