"""Every line logged inside a task says which task it was, for whom, and in which trace."""

from typing import Any

import structlog
from dramatiq import Broker, Middleware

from middleware.lifecycle import session_of


class LogContext(Middleware):
    """Binds trace, task and session at the start of a message; clears them at its end.

    The attempt is bound by who claims the task (``middleware.lifecycle.claimed``): nobody knows it
    before. A thread that works for the task has the lines of the task too, if it is given the
    context, as ``mirt.sync`` and the bulkheads do.
    """

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Bind what is known of the message."""
        structlog.contextvars.clear_contextvars()
        session_id = session_of(message)
        structlog.contextvars.bind_contextvars(
            trace_id=message.options.get("trace_id"),
            task_id=message.message_id,
            task=message.actor_name,
            **({"session_id": session_id} if session_id else {}),
        )

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Clear it: the next message in this thread is another one."""
        structlog.contextvars.clear_contextvars()

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """As after any other end."""
        self.after_process_message(broker, message)
