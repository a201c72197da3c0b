"""Configures logs: one line for each event, with the bound context; JSON in production.

No secret reaches a log. Every secret of the settings is redacted in every line: in our own, in
those of libraries, in warnings and in uncaught exceptions. Texts of customers and of the LLM are
logged only with LOG_TEXTS. No control character from outside reaches a log either.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mirt.observe import secrets, texts
from mirt.observe.ecs import EcsLayout
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
    renderers = _renderers(settings)
    lines = _Lines(sys.stderr)
    lines.setFormatter(
        _WithoutSecrets(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                *_facts(),
                redacting_processor(secrets.redact),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    _configure_structlog(settings, renderers, lines.write_line)
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
    _configure_structlog(settings, _renderers(settings), _Lines(sys.stderr).write_line)


def _configure_structlog(
    settings: Settings, renderers: Sequence[Processor], write: Callable[[str], None]
) -> None:
    """Let our own lines go to ``write`` at once: a logger of the library costs as much again."""
    structlog.configure(
        processors=[*_facts(), _rendering(renderers)],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(settings.log_level)
        ),
        logger_factory=lambda *_: _OwnLogger(write),
        cache_logger_on_first_use=False,
    )


class _OwnLogger:
    """The end of the chain: writes finished lines, whatever their level."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = write


def _facts() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _rendering(renderers: Sequence[Processor]) -> Processor:
    """Return the processor that makes a line without secrets.

    The line of nearly every event has no sign of a secret and is done. For the others each value is
    redacted, and then the line once more, since a renderer may change values.
    """
    redacted = redacting_processor(secrets.redact)

    def line_of(make_plain: Processor, logger: WrappedLogger, method: str, event: Any) -> str:
        for step in (make_plain, *renderers):
            event = step(logger, method, event)
        return str(event)

    def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
        try:
            line = line_of(_make_plain, logger, method, event)
            if secrets.may_be_in(line):
                line = line_of(redacted, logger, method, event)
        except Exception as failed:  # noqa: BLE001 - a log line must not fail its task
            line = f"a line could not be made of {_text(event.get('event'))!r}: {type(failed)}"
        return secrets.redact(line)

    return render


def _make_plain(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    others = {key: value for key, value in event.items() if type(value) not in _PLAIN}
    return {**event, **_PLAINLY(logger, method, others)}


def _renderers(settings: Settings) -> list[Processor]:
    if settings.log_format == "json":
        return [_make_json]
    if settings.log_format == "ecs":
        layout = EcsLayout()
        return [lambda _logger, _method, event: printable_json(_TO_JSON(layout(event)))]
    # Before the renderer, which adds control characters of its own: the colours.
    return [_make_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


_TO_JSON: Final = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def _make_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return printable_json(_TO_JSON(event))


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
        if isinstance(value, str):
            return redact(str(value))
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


_PLAINLY: Final = redacting_processor(str)
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


class _WithoutSecrets(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line once more, since a renderer may change values."""

    def format(self, record: logging.LogRecord) -> str:
        return secrets.redact(super().format(record))


class _Lines(logging.StreamHandler[Any]):
    """Writes lines; instead of a line that cannot be formatted, an error without its arguments.

    The standard library would print the arguments with their secrets.
    """

    def write_line(self, line: str) -> None:
        """Write a finished line. If the stream itself fails, no other place takes a report."""
        self.acquire()
        try:
            with suppress(OSError, ValueError):
                self.stream.write(line + self.terminator)
                self.flush()
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        text = f"{record.name}: a line could not be made of {_text(record.msg)}"
        line = logging.LogRecord(
            record.name, logging.ERROR, record.pathname, record.lineno, text, None, None
        )
        self.write_line(self.format(line))


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
