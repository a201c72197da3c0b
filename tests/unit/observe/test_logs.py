"""A log line is one event, with what its context has bound, and without any secret."""

import json
import logging
import os
import socket
from collections.abc import Callable
from importlib.metadata import version

import pytest
import structlog
from structlog.typing import FilteringBoundLogger

from mirt.observe import traces
from mirt.observe.logs import redacting_processor
from mirt.observe.secrets import REDACTED, SHORTEST_SECRET, Secrets
from mirt.observe.trace_context import SpanContext
from tests.unit.observe.conftest import SECRET, Configure


def fails() -> None:
    local = f"Bearer {SECRET}"
    raise ValueError(f"401 for {local}")


def leaks() -> dict[str, Callable[[FilteringBoundLogger], object]]:
    class Asks:
        def __repr__(self) -> str:
            return f"<request with {SECRET}>"

    def traceback(log: FilteringBoundLogger) -> None:
        try:
            fails()
        except ValueError as error:
            raise_from = RuntimeError("outer")
            raise_from.__cause__ = error
            log.error("failed", exc_info=raise_from)

    def foreign(log: FilteringBoundLogger) -> None:
        try:
            fails()
        except ValueError:
            logging.getLogger("library").exception("with %s", {"token": SECRET})

    return {
        "message": lambda log: log.info(f"using {SECRET}"),
        "value": lambda log: log.info("using", token=SECRET),
        "inside a value": lambda log: log.info("using", url=f"https://x/bot{SECRET}/send"),
        "nested": lambda log: log.info("using", all=[{"a": ({"b": SECRET},)}]),
        "nested name": lambda log: log.info("using", all={SECRET: 1}),
        "set": lambda log: log.info("using", all={SECRET}),
        "bytes": lambda log: log.info("using", body=SECRET.encode()),
        "exception": lambda log: log.info("failed", why=ValueError(SECRET)),
        "object": lambda log: log.info("failed", request=Asks()),
        "bound": lambda log: log.bind(token=SECRET).info("using"),
        "traceback": traceback,
        "a library's": foreign,
        "a library's arguments": lambda log: logging.getLogger("library").error("%s", SECRET),
    }


@pytest.mark.parametrize("log_format", ["json", "ecs", "console"])
@pytest.mark.parametrize("where", leaks())
def test_a_secret_is_struck_out(
    configured: Configure, capsys: pytest.CaptureFixture[str], log_format: str, where: str
) -> None:
    leaks()[where](configured(log_format=log_format))
    written = capsys.readouterr().err
    assert SECRET not in written
    assert REDACTED in written


def test_a_secret_that_the_context_has_bound_is_redacted_too(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    log = configured()
    with structlog.contextvars.bound_contextvars(header=f"Bearer {SECRET}"):
        log.info("using")
    assert json.loads(capsys.readouterr().err)["header"] == f"Bearer {REDACTED}"


def test_a_secret_that_is_part_of_another_leaves_nothing_of_either() -> None:
    event = redacting_processor(Secrets(["abcd", "abcdefgh"]).redact)(
        None, "info", {"event": "abcdefgh and abcd"}
    )
    assert event == {"event": f"{REDACTED} and {REDACTED}"}


def test_a_value_that_is_too_short_for_a_secret_leaves_words_alone() -> None:
    short = "a" * (SHORTEST_SECRET - 1)
    assert redacting_processor(Secrets([short, ""]).redact)(None, "info", {"event": "a baaa"}) == {
        "event": "a baaa"
    }


def test_numbers_and_nothing_stay_what_they_are() -> None:
    event = {"event": "done", "n": 1, "s": 0.5, "ok": True, "none": None, "all": [1, None]}
    assert redacting_processor(Secrets([SECRET]).redact)(None, "info", dict(event)) == event


def test_a_line_is_json_with_its_level_and_time(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configured().warning("щось сталося", chat="7")
    line = capsys.readouterr().err
    assert "щось сталося" in line
    found = json.loads(line)
    assert (found["event"], found["level"], found["chat"]) == ("щось сталося", "warning", "7")
    assert found["timestamp"].endswith("Z")


def test_a_line_by_the_common_schema_says_what_happened_where(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    log = configured(log_format="ecs")
    with structlog.contextvars.bound_contextvars(trace_id="4bf9", task_id="t1"):
        log.warning("щось сталося", chat="7", status=503)
    line = json.loads(capsys.readouterr().err)
    assert list(line)[:3] == ["@timestamp", "log.level", "message"]
    assert (line["log.level"], line["message"]) == ("warning", "щось сталося")
    assert (line["trace.id"], line["http.response.status_code"]) == ("4bf9", 503)
    assert line["mirt"] == {"chat": "7", "task_id": "t1"}
    assert (line["service.name"], line["service.version"]) == ("mirt", version("mirt-worker"))
    assert (line["host.name"], line["process.pid"]) == (socket.gethostname(), os.getpid())
    assert "span.id" not in line


def test_a_line_by_the_common_schema_names_the_span_that_wrote_it(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    log = configured(log_format="ecs")
    with traces.Span(SpanContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")):
        log.info("within")
    assert json.loads(capsys.readouterr().err)["span.id"] == "00f067aa0ba902b7"


def test_an_error_by_the_common_schema_has_its_class_and_traceback(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    log = configured(log_format="ecs")
    try:
        fails()
    except ValueError as error:
        log.exception("failed", error=type(error).__name__)
    line = json.loads(capsys.readouterr().err)
    assert line["error.type"] == "ValueError"
    assert "Traceback" in line["error.stack_trace"]
    assert "mirt" not in line


@pytest.mark.parametrize("least", ["INFO", "WARNING"])
def test_an_event_below_the_level_is_not_written(
    configured: Configure, capsys: pytest.CaptureFixture[str], least: str
) -> None:
    log = configured(log_level=least)
    for write in (log.debug, log.info, log.warning):
        write(write.__name__)
    lines = [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()]
    assert lines == {"INFO": ["info", "warning"], "WARNING": ["warning"]}[least]


def test_configuring_twice_writes_each_line_once(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configured()
    configured().info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
