"""Logs: one line an event, with what the context has bound; JSON in production.

Secrets cannot be logged: whatever a line says, every secret of the settings is struck out of it.
Texts of customers and of the agent are logged only with LOG_TEXTS.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mirt.settings import Settings

STRUCK_OUT: Final = "[secret]"
QUIET_LIBRARIES: Final = ("pika", "httpx", "httpcore", "alembic", "waitress", "periodiq")
SHORTEST_SECRET: Final = 4
"""A shorter value stands in too many words to be struck out of them."""


def configure(settings: Settings) -> None:
    """Set up structlog and the standard library's loggers to write the same lines to stderr."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        strike_out(settings.secrets),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(settings.log_level)
        ),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(settings.log_level)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    # What happens to a message is logged by our middleware, once and without its arguments.
    logging.getLogger("dramatiq").setLevel(logging.CRITICAL)


def strike_out(secrets: list[str]) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    """A processor that replaces every one of these values wherever it stands in an event."""
    hidden = sorted((s for s in secrets if len(s) >= SHORTEST_SECRET), key=len, reverse=True)

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {clean(key): clean(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set):
            return [clean(inner) for inner in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        text = str(value)
        for secret in hidden:
            text = text.replace(secret, STRUCK_OUT)
        return text

    def process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        # What structlog passes along about itself is not part of the line.
        return {k: v if k.startswith("_") else clean(v) for k, v in event.items()}

    return process
