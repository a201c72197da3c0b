"""Each message belongs to a trace, and each run of it is a span in there."""

from typing import Any

from dramatiq import Broker, Middleware

from middleware.lifecycle import session_of
from mirt.observe import traces


class TaskTracing(Middleware):
    """Works on a message at the place in the trace that the message carries.

    A message that is sent carries the place where its sender works, or begins a trace. A copy that
    nobody has claimed leaves no span.
    """

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        """Let the message carry its place, unless its sender has said which, and its session."""
        if "trace_id" not in message.options:
            with traces.start_or_join(f"send {message.actor_name}") as place:
                message.options.update(place.options)
        elif "traceparent" not in message.options:
            message.options.update(traces.context_of(message.options["trace_id"]))
        if "session_id" not in message.kwargs and (session_id := session_of(message)):
            message.options["session_id"] = session_id

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Go to that place, and begin a span."""
        place = traces.extract(message.options, message.message_id)
        message.options.setdefault("trace_id", place.trace_id)
        message.span = traces.begin(
            message.actor_name,
            place,
            "consumer",
            {
                "messaging.operation.type": "process",
                "messaging.destination.name": message.queue_name,
                "messaging.message.id": message.message_id,
                "mirt.session_id": session_of(message),
            },
        )
        message.span.enter()

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Go back; if the message was claimed, the span is over."""
        span: traces.Span | None = message.__dict__.pop("span", None)
        if span is None:
            return
        span.leave()
        if "claimed" in message.__dict__:
            span.end()

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        """As after any other end."""
        self.after_process_message(broker, message)
