"""Every line logged inside a task says which task it was, for whom, and which attempt."""

import uuid
from typing import Any

import structlog
from dramatiq import Broker, Middleware

log = structlog.get_logger(__name__)


class LogContext(Middleware):
    """Binds trace, task, session and attempt at the start of a message; clears them at its end."""

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        """Let the message carry the trace it belongs to, or begin one."""
        bound = structlog.contextvars.get_contextvars().get("trace_id")
        message.options.setdefault("trace_id", bound or uuid.uuid4().hex)

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Bind what is known of the message."""
        structlog.contextvars.clear_contextvars()
        session_id = message.kwargs.get("session_id")
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
