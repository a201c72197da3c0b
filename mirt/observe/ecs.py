"""Lay out log lines by the Elastic Common Schema, for LOG_FORMAT=ecs.

https://www.elastic.co/docs/reference/ecs
"""

import os
import socket
from typing import Any, Final

from structlog.typing import EventDict

from mirt.observe import traces
from mirt.observe.version import VERSION

ECS_VERSION: Final = "8.17.0"
FIELDS: Final = {
    "timestamp": "@timestamp",
    "level": "log.level",
    "event": "message",
    "logger": "log.logger",
    "trace_id": "trace.id",
    "error": "error.type",
    "exception": "error.stack_trace",
    "stack": "error.stack_trace",
    "method": "http.request.method",
    "path": "url.path",
    "status": "http.response.status_code",
}
"""Our names of fields, and those of the schema. All other fields stand below ``mirt``."""


class EcsLayout:
    """Lays out the lines of one process, and adds where they come from."""

    def __init__(self) -> None:
        self._origin: dict[str, Any] = {
            "ecs.version": ECS_VERSION,
            "service.name": "mirt",
            "service.version": VERSION,
            "host.name": socket.gethostname(),
        }

    def __call__(self, event: EventDict) -> dict[str, Any]:
        """Return the fields of a line, with the process and the current span.

        The time, the level and the message come first, as readers of raw lines expect.
        """
        known = {FIELDS[name]: event[name] for name in FIELDS if name in event}
        ours = {name: value for name, value in event.items() if name not in FIELDS}
        span = traces.current_context()
        return {
            **known,
            **self._origin,
            # Asked for each time: a fork has another id.
            "process.pid": os.getpid(),
            **({"span.id": span.span_id} if span is not None and span.span_id else {}),
            **({"mirt": ours} if ours else {}),
        }
