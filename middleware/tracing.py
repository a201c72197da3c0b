"""Carries the trace in each message, and records each run of a message as a span."""

from typing import Any

from dramatiq import Broker, Middleware
from typing_extensions import override

from middleware.lifecycle import session_of
from middleware.run_state import run_state
from mirt.observe import traces


class TaskTracing(Middleware):
    """Runs a message under the span context that the message carries.

    A message gets the span context of its sender, or begins a trace. A copy that was not claimed
    leaves no span.
    """

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        """Add the span context, unless the sender has given one, and the conversation."""
        if "trace_id" not in message.options:
            with traces.start_or_join(f"send {message.actor_name}") as context:
                message.options.update(context.options)
        elif "traceparent" not in message.options:
            message.options.update(traces.context_of(message.options["trace_id"]))
        if "session_id" not in message.kwargs and (session_id := session_of(message)):
            message.options["session_id"] = session_id

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Begin a span under the context of the message."""
        context = traces.extract(message.options, message.message_id)
        message.options.setdefault("trace_id", context.trace_id)
        span = traces.begin(
            message.actor_name,
            context,
            "consumer",
            {
                "messaging.system": getattr(broker, "messaging_system", None),
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": message.queue_name,
                "messaging.message.id": message.message_id,
                "mirt.session_id": session_of(message),
            },
        )
        span.enter()
        run_state(message).span = span

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Leave the span, and end it if the message was claimed."""
        state = run_state(message)
        if state.span is None:
            return
        state.span.leave()
        if state.claimed_at is not None:
            state.span.end()
        state.span = None

    @override
    def after_skip_message(self, broker: Broker, message: Any) -> None:
        self.after_process_message(broker, message)
