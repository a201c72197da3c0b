"""Configures logs: one line for each event, with the bound context; JSON in production.

No secret reaches a log. Every secret of the settings is redacted in every line: in our own, in
those of libraries, in warnings and in uncaught exceptions. Texts of customers and of the LLM are
logged only with LOG_TEXTS. No control character from outside reaches a log either.
"""

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mirt.observe import secrets, texts
from mirt.observe.printable import printable, printable_block, printable_json
from mirt.settings import Settings

QUIET_LIBRARIES: Final = (
    *("pika", "httpx", "httpcore", "alembic", "uvicorn", "periodiq"),
    *("urllib3", "opentelemetry"),
)

_BLOCKS: Final = ("exception", "stack")
"""Values that the console shows in lines of their own."""

log = structlog.get_logger(__name__)


def configure(settings: Settings) -> None:
    """Let structlog and the standard library's loggers write the same lines to stderr."""
    secrets.use(settings.secrets)
    texts.use(are_logged=settings.log_texts)
    shared, renderers = _shared(), _renderers(settings)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(settings.log_level)
        ),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    lines = _Lines(sys.stderr)
    lines.setFormatter(
        _WithoutSecrets(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(settings.log_level)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Our middleware logs each event of a message, once and without its arguments.
    logging.getLogger("dramatiq").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def configure_ours(settings: Settings) -> None:
    """Configure only our own lines, in a host program that has not configured structlog itself."""
    texts.use(are_logged=settings.log_texts)
    if structlog.is_configured():
        return
    secrets.use(settings.secrets)

    def write(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
        return secrets.redact(str(line))

    structlog.configure(
        processors=[*_shared(), *_renderers(settings), write],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(settings.log_level)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redacting_processor(secrets.redact),
    ]


def _renderers(settings: Settings) -> list[Processor]:
    if settings.log_format == "json":
        return [structlog.processors.JSONRenderer(ensure_ascii=False), _escape_json]
    # Before the renderer, which adds control characters of its own: the colours.
    return [_make_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _escape_json(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return printable_json(str(line))


def _make_printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {clean(key): clean(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [clean(inner) for inner in value]
        return printable(value) if isinstance(value, str) else value

    return {
        printable(key): printable_block(value)
        if key in _BLOCKS and isinstance(value, str)
        else clean(value)
        for key, value in event.items()
    }


def redacting_processor(
    redact: Callable[[str], str],
) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    """Return a processor that turns the values of an event into plain ones and redacts them."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {clean(key): clean(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(inner) for inner in value]
        if value is None or isinstance(value, bool):
            return value
        text = _text(value)
        redacted = redact(text)
        # Numbers too: a token may be all digits.
        return value if isinstance(value, int | float) and redacted == text else redacted

    def process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        # Keys with an underscore are structlog's own, not part of the line.
        return {k: v if k.startswith("_") else clean(v) for k, v in event.items()}

    return process


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as failed:  # noqa: BLE001 - a log line must not fail its task
        return f"<{type(value).__name__} that cannot be shown: {type(failed).__name__}>"


class _WithoutSecrets(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line once more, since a renderer may change values."""

    def format(self, record: logging.LogRecord) -> str:
        return secrets.redact(super().format(record))


class _Lines(logging.StreamHandler[Any]):
    """Writes lines; instead of a line that cannot be formatted, an error without its arguments.

    The standard library would print the arguments with their secrets.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        text = f"{record.name}: a line could not be made of {_text(record.msg)}"
        line = logging.LogRecord(
            record.name, logging.ERROR, record.pathname, record.lineno, text, None, None
        )
        # If the stream itself fails, there is no other place for a report.
        with suppress(OSError, ValueError):
            self.stream.write(self.format(line) + self.terminator)
            self.flush()


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("crashed", error=kind.__name__, exc_info=(kind, error, trace))


def _uncaught_in_thread(args: Any) -> None:
    if args.exc_type is SystemExit:
        return
    thread = args.thread.name if args.thread else None
    error = (args.exc_type, args.exc_value, args.exc_traceback)
    log.critical("thread_crashed", thread=thread, error=args.exc_type.__name__, exc_info=error)


def _unraisable(args: Any) -> None:
    error = (args.exc_type, args.exc_value, args.exc_traceback)
    log.error("unraisable", error=args.exc_type.__name__, exc_info=error)
