"""Adds the trace, the task and the conversation to every log line inside a task."""

from typing import Any

import structlog
from dramatiq import Broker, Middleware
from typing_extensions import override

from middleware.lifecycle import session_of


class LogContext(Middleware):
    """Binds trace, task and conversation at the start of a message; clears them at its end.

    The attempt is known only after the claim, so ``middleware.lifecycle.claimed`` binds it. Another
    thread that works for the task logs the same fields if it gets a copy of the context, as
    ``mirt.sync`` and the bulkheads make it.
    """

    @override
    def before_process_message(self, broker: Broker, message: Any) -> None:
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
        """Clear the context: this thread takes another message next."""
        structlog.contextvars.clear_contextvars()

    @override
    def after_skip_message(self, broker: Broker, message: Any) -> None:
        self.after_process_message(broker, message)
